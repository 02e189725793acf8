"""A generator that fails is told of, is started again, and hangs nobody."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from functools import partial

import pytest
from onlines import (
    CLASSES,
    Broken,
    Renamed,
    make,
    no_generator,
    no_weights,
    processes,
    right,
)  # fmt: skip

from fiberaug.errors import UsageError
from fiberaug.synthetic.online import OnlineGenerator


@pytest.fixture
def online(tmp_path):
    """A function that starts an online generator, closed at the end of the test."""
    made = []

    def start(factory, **options):
        options = {"classes": CLASSES, "wait": 3600.0, "restarts": 0, **options}
        made.append(OnlineGenerator(factory, tmp_path / "buffer", **options))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (partial(Broken, "few"), "got 7 images for 8 seeds"),
        (partial(Broken, "nan"), "6144 values NaN or infinite"),
        (partial(Broken, "sizes", calls=1), "of [16, 16, 3] and of [8, 16, 3]"),
        (no_generator, "builtins.object has no method generate"),
        (Renamed, "classes are ['disc', 'square', 'bar'], but those of the generator"),
        (no_weights, "FileNotFoundError: weights.safetensors"),
        (partial(Broken, "raises"), "ValueError: the colours have run out"),
        (partial(Broken, "exits"), "ended with exit code 7"),
        (partial(Broken, "killed"), "ended by signal 9"),
    ],
)  # fmt: skip
def test_a_failure_is_told_to_whoever_waits(online, factory, said):
    source = online(factory, ahead=8)
    late = [source.take(0, 0)].count(None)
    while not source.failed():  # it may have made this one before
        late += source.take(1, 5000) is None

    assert said in source.why()
    assert source.take(1, 5) is None  # at once
    assert source.stats()["late"] == late + 1


def test_where_memory_is_short_batches_become_smaller(online):
    source = online(partial(Broken, "memory"), ahead=8)

    assert all(right(source.take(0, i), 0, i) for i in range(30))
    assert not source.failed()


@pytest.mark.parametrize("how", ["sleeps", "holds_the_interpreter"])
def test_a_generator_that_hangs_is_ended_and_its_stack_told(online, how):
    source = online(partial(Broken, how), hang=2.0)

    assert source.take(0, 0) is None
    assert "made no progress for 2 s" in source.why()
    assert f"in _{how}" in source.why()
    assert processes() == []


@pytest.mark.parametrize("how", ["raises", "exits", "killed", "sleeps"])
def test_a_failure_that_passes_costs_a_restart_and_nothing_else(online, tmp_path, how):
    factory = partial(Broken, how, calls=1, marker=tmp_path / "done")
    source = online(factory, restarts=1, hang=2.0)

    assert all(right(source.take(0, i), 0, i) for i in range(80))
    stats = source.stats()
    assert stats["restarts"] == 1
    assert (stats["taken"], stats["late"]) == (80, 0)
    assert source.why() == ""


def test_it_is_started_as_often_as_said_then_the_error_stays(online, tmp_path):
    log = tmp_path / "log"

    source = online(partial(_logged, log), restarts=2)
    assert source.take(0, 0) is None
    assert source.failed()
    assert log.read_text() == "started\n" * 3
    assert "it was started 3 times" in source.why()


def _logged(log):
    with log.open("a") as file:
        file.write("started\n")
    raise OSError("the weights are not there")


def test_with_samples_in_between_it_is_started_again_and_again(online, tmp_path):
    source = online(make, restarts=1)
    for kills in range(3):
        assert right(source.take(0, 1000 * kills), 0, 1000 * kills)
        (tmp_path / f"buffer/ready/0/.{kills}.part").touch()  # of the killed one
        os.kill(source.pid, signal.SIGKILL)

    assert right(source.take(0, 9000), 0, 9000)
    assert source.stats()["restarts"] == 3
    assert list(tmp_path.rglob(".[012].part")) == []


def test_what_starting_again_cannot_help_is_not_started_again(online, tmp_path):
    log = tmp_path / "log"
    source = online(partial(_refused, log), restarts=5)

    assert source.take(0, 0) is None
    assert log.read_text() == "started\n"


def _refused(log):
    with log.open("a") as file:
        file.write("started\n")
    raise UsageError("guidance must be >= 0, got -1")


def test_a_failure_is_forgotten_by_the_next_start(online):
    bad = online(partial(Broken, "raises"))
    assert bad.take(0, 0) is None
    bad.close()
    good = online(make)

    assert right(good.take(0, 0), 0, 0)
    assert not good.failed()


def test_a_wait_ends_in_time_while_the_generator_hangs(online, tmp_path):
    source = online(partial(Broken, "sleeps"), hang=100.0)
    began = time.monotonic()

    assert source.take(0, 0, wait=0.5) is None
    assert 0.5 <= time.monotonic() - began < 30
    assert source.stats()["late"] == 1
    assert source.stats()["waited_s"] >= 0.5
    while source.stats()["heartbeat_age_s"] < 0.5:  # until it hangs
        time.sleep(0.05)
    part = tmp_path / "buffer/ready/.0.part"  # as if it were killed while it writes
    part.touch()
    source.close(timeout=0.2)
    assert processes() == []
    assert not part.exists()


def test_without_a_process_it_says_so(tmp_path):
    source = OnlineGenerator(make, tmp_path / "buffer", classes=CLASSES)

    assert source.take(0, 0, wait=0.05) is None
    assert "start() it" in source.why()


def test_nobody_is_told_to_start_what_was_started(online):
    source = online(make)
    copy = pickle.loads(pickle.dumps(source))  # as a spawned worker has it

    assert "start() it" not in source.why()
    assert "start() it" not in copy.why()
    source.close()
    assert "start() it" in source.why()


@pytest.mark.parametrize(("how", "code"), [("exits", 7), ("ends_as_refused", 3)])
def test_a_process_that_ends_itself_is_told_of_with_its_code(online, how, code):
    source = online(partial(Broken, how))

    assert source.take(0, 0) is None
    assert f"ended with exit code {code}" in source.why()


def test_a_stopped_process_is_killed_and_replaced(online, monkeypatch):
    monkeypatch.setattr("fiberaug.synthetic.online_watch._GRACE_S", 0.5)
    source = online(make, hang=2.0, restarts=3)
    assert right(source.take(0, 0), 0, 0)
    os.kill(processes()[0].pid, signal.SIGSTOP)

    assert right(source.take(0, 7000), 0, 7000)
    assert source.stats()["restarts"] == 1


def test_an_interrupt_from_the_keyboard_is_the_main_processs_to_handle(online):
    source = online(make)
    assert right(source.take(0, 0), 0, 0)
    os.kill(source.pid, signal.SIGINT)

    assert right(source.take(0, 6000), 0, 6000)
    assert source.stats()["restarts"] == 0


def test_a_damaged_file_is_made_again_and_never_given(online, tmp_path):
    source = online(make)
    whole = source.take(0, 0)
    path = tmp_path / "buffer/ready/0/0"
    data = path.read_bytes()
    for damaged in (data[:-1], b"", data[:50] + b"\xff" + data[51:]):
        path.write_bytes(damaged)
        assert source.take(0, 0) == whole


def test_a_folder_that_was_emptied_while_it_runs_fills_again(online, tmp_path):
    source = online(make)
    source.take(0, 0)
    for path in sorted((tmp_path / "buffer/takers").iterdir()):
        path.unlink()
    for path in sorted((tmp_path / "buffer/ready").glob("*/*")):
        path.unlink()

    assert right(source.take(0, 0), 0, 0)
    assert right(source.take(1, 3), 1, 3)


def test_a_worker_of_a_loader_cannot_start_it(tmp_path):
    def run(results):
        try:
            OnlineGenerator(make, tmp_path, classes=CLASSES).start()
        except UsageError as error:
            results.put(str(error))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    worker = context.Process(target=run, args=(results,), daemon=True)
    worker.start()

    assert "belongs into the main process" in results.get()
    worker.join()


def test_a_forked_worker_that_closes_it_does_not_end_it_for_others(online):
    source = online(make)
    assert right(source.take(0, 0), 0, 0)
    worker = multiprocessing.get_context("fork").Process(target=source.close)
    worker.start()
    worker.join()

    assert worker.exitcode == 0
    assert right(source.take(0, 4000), 0, 4000)


def test_a_wait_that_is_under_way_ends_when_the_generator_fails_for_good(online):
    source = online(partial(Broken, "raises", calls=1))
    waiting = threading.Thread(target=source.take, args=(2, 100_000))
    assert source.take(0, 0) is not None or source.failed()
    waiting.start()
    waiting.join(30)

    assert not waiting.is_alive()
