"""A worker that hangs is ended and named; one that is slow is left alone."""

import logging
import os
import signal
import time

import pytest

import fiberaug

pytestmark = pytest.mark.timeout(60)
FORK = {"multiprocessing_context": "fork"}


class Hangs:
    """A transform that never returns for one sample."""

    def __init__(self, key):
        self.key = key

    def __call__(self, sample):
        if sample.key == self.key:
            self.wait_for_ever()
        return sample

    def wait_for_ever(self):
        time.sleep(3600)


class Dawdles:
    """A transform that takes its time for every sample."""

    def __call__(self, sample):
        time.sleep(0.4)
        return sample


class StopsItself:
    """A transform that stops its whole process, once."""

    def __init__(self, path):
        self.path = path

    def __call__(self, sample):
        if sample.key == "k003" and not self.path.exists():
            self.path.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return sample


def loader_of(shards, transform, batch_size=4, **options):
    dataset = fiberaug.StreamingDataset(shards, transform=transform)
    return fiberaug.DataLoader(dataset, batch_size, **options)


def test_a_worker_that_hangs_is_ended_and_named_with_its_stack(write_set):
    loader = loader_of(
        write_set(40), Hangs("k006"), num_workers=2, watchdog=1.5, **FORK
    )
    with pytest.raises(fiberaug.WorkerDied, match=r"no progress for 1\.5 s") as caught:
        list(loader)
    error = caught.value

    assert (error.key, error.stage) == ("k006", "augment")
    assert error.shard.startswith("shard-")
    assert "in wait_for_ever" in "\n".join(error.__notes__)
    assert not loader._workers


def test_a_process_that_was_stopped_is_started_again_where_that_is_asked_for(
    write_set, tmp_path, caplog
):
    shards = write_set(24)
    expected = [k for b in loader_of(shards, None) for k in b["__key__"]]
    loader = loader_of(
        shards, StopsItself(tmp_path / "stopped"), num_workers=2, watchdog=1.5,
        worker_restarts=1, **FORK,
    )  # fmt: skip

    assert [k for b in loader for k in b["__key__"]] == expected
    assert "no progress" in caplog.text


def test_a_worker_that_is_slow_but_makes_progress_is_left_alone(write_set):
    """A batch takes four times as long as the watchdog waits for a sample."""
    loader = loader_of(write_set(16), Dawdles(), 8, num_workers=1, watchdog=0.8, **FORK)

    assert sum(len(b["__key__"]) for b in loader) == 16


def test_a_loop_that_is_slow_is_no_hang(write_set):
    loader = loader_of(write_set(24), None, num_workers=2, watchdog=0.5, **FORK)
    seen = 0
    for batch in loader:
        seen += len(batch["__key__"])
        time.sleep(0.8 if seen < 16 else 0)

    assert seen == 24


def test_without_workers_it_is_a_warning_with_the_sample_and_the_stack(
    write_set, caplog
):
    class Waits:
        def __call__(self, sample):
            if sample.key == "k005":
                self.a_long_wait()
            return sample

        def a_long_wait(self):
            end = time.monotonic() + 20
            while time.monotonic() < end and "no progress" not in caplog.text:
                time.sleep(0.05)

    loader = loader_of(write_set(12), Waits(), watchdog=0.4)
    with caplog.at_level(logging.WARNING):
        assert sum(len(b["__key__"]) for b in loader) == 12

    assert "no progress for 0.4 s, at: augment of sample 'k005'" in caplog.text
    assert "in a_long_wait" in caplog.text
    assert caplog.text.count("no progress") == 1


@pytest.mark.parametrize("watchdog", [-1, float("nan")])
def test_a_watchdog_out_of_range_is_refused(write_set, watchdog):
    with pytest.raises(fiberaug.UsageError, match="watchdog must be >= 0"):
        loader_of(write_set(5), None, watchdog=watchdog)
