"""A worker that dies is named, with what it was at; asked for, the pass goes on."""

import ctypes
import logging
import os
import re
import signal
import time
from pathlib import Path

import pytest
from sets import photo, samples

import fiberaug

pytestmark = pytest.mark.timeout(60)
FORK = {"multiprocessing_context": "fork"}


class Dies:
    """A transform that ends its process at the given sample, as often as asked.

    Args:
        how: What ends it.
        key: At which sample.
        folder: Where each death is counted.
        times: How often.
    """

    def __init__(self, how, key, folder, times=99):
        self.how, self.key, self.folder, self.times = how, key, Path(folder), times

    def __call__(self, sample):
        dead = len(list(self.folder.glob("death-*")))
        if sample.key == self.key and dead < self.times:
            (self.folder / f"death-{os.getpid()}").touch()
            WAYS[self.how]()
        return sample


WAYS = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGBUS": lambda: os.kill(os.getpid(), signal.SIGBUS),
    "exit code 3": lambda: os._exit(3),
    "exit code 0": lambda: os._exit(0),
}


def loader_of(shards, transform=None, batch_size=4, num_workers=2, **options):
    dataset = fiberaug.StreamingDataset(shards, transform=transform)
    return fiberaug.DataLoader(
        dataset, batch_size, num_workers=num_workers, **{**FORK, **options}
    )


def content(batches):
    return [
        (key, record.to_json(), image.numpy().tobytes())
        for batch in batches
        for key, record, image in zip(
            batch["__key__"], batch["record"], batch["image"], strict=True
        )
    ]


@pytest.mark.parametrize("how", WAYS)
def test_a_death_is_named_within_ten_seconds_with_the_sample_and_its_stage(
    write_set, tmp_path, how
):
    loader = loader_of(write_set(60), Dies(how, "k017", tmp_path))
    running = iter(loader)
    started = time.monotonic()
    with pytest.raises(fiberaug.WorkerDied) as caught:
        list(running)
    error = caught.value

    assert time.monotonic() - started < 10
    assert how in str(error)
    assert re.search(r"worker [01] of 2 \(pid \d+\)", str(error))
    assert (error.key, error.stage) == ("k017", "augment")
    assert re.fullmatch(r"shard-\d+\.tar", error.shard)
    assert "augment of sample 'k017' in shard-" in str(error)
    assert "In flight: the batches at positions" in str(error)
    assert not loader._workers  # all of them are ended


def test_a_crash_of_a_library_shows_the_users_own_call(write_set, tmp_path):
    loader = loader_of(write_set(20), Dies("SIGSEGV", "k003", tmp_path))
    with pytest.raises(fiberaug.WorkerDied) as caught:
        list(loader)

    assert "test_workers.py" in "\n".join(caught.value.__notes__)


def test_the_remedy_fits_the_signal(write_set, tmp_path):
    with pytest.raises(fiberaug.WorkerDied, match="--shm-size"):
        list(loader_of(write_set(20), Dies("SIGBUS", "k003", tmp_path)))


def test_a_failed_pass_stays_failed_and_a_new_one_works(write_set, tmp_path):
    shards = write_set(40)
    dies = Dies("SIGKILL", "k009", tmp_path, times=1)
    loader, reference = loader_of(shards, dies), loader_of(shards)
    epochs = [[b["__key__"] for b in reference] for _ in range(2)]
    running, seen = iter(loader), []
    with pytest.raises(fiberaug.WorkerDied) as first:
        seen.extend(batch["__key__"] for batch in running)
    for _ in range(3):
        with pytest.raises(fiberaug.WorkerDied) as again:
            next(running)
        assert again.value is first.value
    with pytest.raises(fiberaug.WorkerDied):
        list(running)
    state = loader.state_dict()
    loader.load_state_dict(state)

    assert [b["__key__"] for b in loader] == epochs[0][state["position"] // 4 :]
    assert [b["__key__"] for b in loader] == epochs[1]


def test_a_worker_that_is_killed_while_idle_is_an_error_of_the_pass(write_set):
    loader = loader_of(write_set(60), num_workers=2, prefetch_factor=1)
    running = iter(loader)
    next(running)
    time.sleep(0.5)  # both have made what they were asked for
    os.kill(loader._workers._messages._workers[1].pid, signal.SIGKILL)
    with pytest.raises(
        fiberaug.WorkerDied, match=r"worker 1 of 2 .* killed by SIGKILL"
    ):
        list(running)


def test_a_death_while_the_loop_works_does_not_disturb_the_loop(write_set):
    """In torch the error comes in whatever the main thread does; here with a batch."""
    loader = loader_of(write_set(60))
    running = iter(loader)
    next(running)
    pid = loader._workers._messages._workers[0].pid
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(1000))
    with pytest.raises(fiberaug.WorkerDied):
        list(running)


def test_persistent_workers_that_die_between_passes_are_started_again(
    write_set, caplog
):
    shards = write_set(24)
    reference = loader_of(shards)
    epochs = [[b["__key__"] for b in reference] for _ in range(2)]
    loader = loader_of(shards, persistent_workers=True)
    assert [b["__key__"] for b in loader] == epochs[0]
    watch = loader._workers._watch
    os.kill(loader._workers._messages._workers[0].pid, signal.SIGKILL)
    assert watch.found(10) is not None

    assert [b["__key__"] for b in loader] == epochs[1]
    assert "between two passes" in caplog.text
    loader.close()


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("how", "context", "deaths"),
    [
        ("SIGKILL", "fork", 2),
        ("exit code 0", "fork", 2),
        pytest.param("SIGKILL", "spawn", 1, marks=pytest.mark.slow),
    ],
)
def test_with_restarts_nothing_is_lost_and_nothing_comes_twice(
    write_set, tmp_path, caplog, how, context, deaths
):
    """Work is a pure function of the request: the same pixels, records and order."""
    shards = write_set(
        {**s, "image": photo(i, 160, 200)} for i, s in enumerate(samples(40))
    )
    dies = Dies(how, "k021", tmp_path)
    plain = fiberaug.DataLoader(fiberaug.StreamingDataset(shards, transform=dies), 4)
    dies.times = 0
    expected = content(plain)
    dies.times = deaths
    loader = loader_of(shards, dies, worker_restarts=2, multiprocessing_context=context)
    with caplog.at_level(logging.WARNING):
        got = content(loader)

    assert [key for key, *_ in got] == [key for key, *_ in expected]
    assert [pixels for *_, pixels in got] == [pixels for *_, pixels in expected]
    assert len(list(tmp_path.glob("death-*"))) == deaths
    assert caplog.text.count("the workers start again") == deaths


def test_more_deaths_than_restarts_end_the_pass(write_set, tmp_path):
    loader = loader_of(
        write_set(40), Dies("SIGKILL", "k011", tmp_path), worker_restarts=1
    )
    with pytest.raises(fiberaug.WorkerDied, match="'k011'"):
        list(loader)
    assert len(list(tmp_path.glob("death-*"))) == 2


def test_random_kills_at_any_moment_lose_and_repeat_nothing(write_set):
    """Also in the middle of a message, whose rest then never comes."""
    shards = write_set(
        {**s, "image": photo(i, 200, 300)} for i, s in enumerate(samples(60))
    )
    expected = [key for b in loader_of(shards) for key in b["__key__"]]
    loader = loader_of(shards, worker_restarts=100, collate="list", prefetch_factor=4)
    got, kills = [], 0
    for number, batch in enumerate(loader):
        got += batch["__key__"]
        messages = loader._workers._messages
        if number % 3 == 1 and messages is not None:
            os.kill(messages._workers[number % 2].pid, signal.SIGKILL)
            kills += 1

    assert got == expected
    assert kills >= 3


def test_restarts_need_workers(write_set):
    with pytest.raises(fiberaug.UsageError, match="worker_restarts"):
        fiberaug.DataLoader(
            fiberaug.StreamingDataset(write_set(5)), 2, worker_restarts=1
        )
