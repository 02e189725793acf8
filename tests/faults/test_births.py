"""A worker forked while a lock was held never begins: others take its place."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

import fiberaug
from fiberaug.births import LIMIT_S, Births
from fiberaug.progress import Progress

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
FORK = {"multiprocessing_context": "fork"}


class HeldAtFork:
    """Some of the processes that this one forks wait for a lock that it holds.

    They wait where the interpreter itself would: in the fork, before any of their work.
    """

    def __init__(self):
        self.lock, self.stuck, self.number = threading.Lock(), set(), 0
        self.lock.acquire()
        os.register_at_fork(after_in_child=self._child, after_in_parent=self._parent)

    def _child(self):
        if self.number in self.stuck:
            self.lock.acquire()

    def _parent(self):
        self.number += 1

    def let_stick(self, *forks):
        """Let these of the forks to come, counted from 0, never return."""
        self.stuck = {self.number + fork for fork in forks}


@pytest.fixture(scope="module")
def held_once():
    return HeldAtFork()


@pytest.fixture
def held(held_once):
    yield held_once
    held_once.stuck = set()


def loader_of(shards, **options):
    return fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 4, num_workers=2, **FORK, **options
    )


def keys(loader):
    return [key for batch in loader for key in batch["__key__"]]


@pytest.mark.parametrize(
    ("forks", "watchdog"),
    [((0,), 0), ((1,), 120.0), ((1,), 1.0), ((0, 2, 5), 1.0)],
    ids=str,
)
def test_a_worker_that_never_begins_is_replaced_and_nothing_is_lost(
    write_set, held, caplog, forks, watchdog
):
    """No restart was asked for: it had done nothing, so it is no death that counts."""
    shards = write_set(24)
    expected = keys(fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 4))
    held.let_stick(*forks)
    loader = loader_of(shards, watchdog=watchdog)

    assert keys(loader) == expected
    assert caplog.text.count("did not begin within") == len(forks)


def test_workers_that_never_begin_are_an_error_in_the_end(write_set, held):
    loader = loader_of(write_set(8), watchdog=1.0)
    held.let_stick(*range(100))
    with pytest.raises(fiberaug.WorkerDied, match="did not begin within") as caught:
        list(loader)

    assert "forkserver" in str(caught.value)
    assert not loader._workers


def test_the_user_s_own_start_may_take_its_time(write_set, caplog):
    """It sleeps for longer than a worker that does not begin is given."""
    seconds = LIMIT_S + 1
    loader = loader_of(write_set(8), worker_init_fn=lambda _: time.sleep(seconds))

    assert len(keys(loader)) == 8
    assert not caplog.text


@pytest.fixture
def sleeper():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    yield process
    process.kill()
    process.join()


def test_only_one_that_sleeps_and_has_not_begun_is_stuck(sleeper):
    time.sleep(0.5)  # it falls asleep
    new, begun = Progress(), Progress()
    begun.enter(0)
    births = Births([sleeper], limit_s=2.0)
    assert births.due
    assert births.stuck([new.see()], 1.0) is None
    assert births.stuck([new.see()], 1.0) == 0
    assert births.stuck([begun.see()], 1.0) is None
    assert not births.due


def test_one_that_is_stopped_or_gets_no_processor_is_not_stuck(sleeper):
    os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(0.2)
    births = Births([sleeper], limit_s=1.0)
    assert [births.stuck([Progress().see()], 1.0) for _ in range(3)] == [None] * 3

    def spin():
        while True:
            pass

    busy = multiprocessing.get_context("fork").Process(target=spin)
    busy.start()
    births = Births([busy], limit_s=1.0)
    try:
        assert [births.stuck([Progress().see()], 1.0) for _ in range(3)] == [None] * 3
    finally:
        busy.kill()
        busy.join()


def test_spawned_workers_are_not_looked_at():
    process = multiprocessing.get_context("spawn").Process(target=time.sleep)
    assert not Births([process]).due
