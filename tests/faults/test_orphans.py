"""Nothing is left of a run: no process, no shared memory, no tracebacks of workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sets import photo, samples

pytestmark = pytest.mark.timeout(60)

SHARED = Path("/dev/shm")  # noqa: S108  # where Linux has shared memory

MAIN = """
import os, sys, time
import fiberaug
from torch.utils.data import DataLoader as TorchLoader

class Slow:
    def __call__(self, sample):
        with open(os.path.join(sys.argv[2], str(os.getpid())), "w"):
            pass
        time.sleep(float(sys.argv[4]))
        return sample

def main():
    dataset = fiberaug.StreamingDataset(sys.argv[1], transform=Slow(), batch_size=2)
    if sys.argv[3] == "plain":
        loader = TorchLoader(dataset, batch_size=2, num_workers=2)
    else:
        loader = fiberaug.DataLoader(dataset, 2, num_workers=2, prefetch_factor=4)
    for number, batch in enumerate(loader):
        print(number, flush=True)
        time.sleep(0.01)

main()
"""


@pytest.fixture
def shards(write_set):
    """Sixty samples of 180 kB: their batches travel in shared memory."""
    return write_set(
        {**s, "image": photo(i, 200, 300)} for i, s in enumerate(samples(60))
    )


@pytest.fixture
def start(shards, tmp_path):
    """Start a run in a group of its own; return it and where workers say their pid."""
    pids = tmp_path / "pids"
    pids.mkdir()
    started = []

    def begin(kind, sleep_s):
        command = [sys.executable, "-c", MAIN, shards, str(pids), kind, str(sleep_s)]
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(run)
        return run, pids

    yield begin
    for run in started:
        if run.poll() is None:
            run.kill()
        run.communicate()


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def alive(pid: str) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("sleep_s", [0.0, 30.0], ids=["full pipes", "in a transform"])
def test_no_worker_outlives_a_main_process_that_is_killed(start, kind, sleep_s):
    """Five seconds, also where workers are in the middle of a sample."""
    shared = set(SHARED.iterdir())
    run, pids = start(kind, sleep_s)
    wait_for(lambda: len(list(pids.iterdir())) == 2, 40)
    if not sleep_s:
        run.stdout.readline()
    workers = [path.name for path in pids.iterdir()]
    assert all(map(alive, workers))
    run.kill()
    run.wait()
    wait_for(lambda: not any(map(alive, workers)), 5)
    pids = [*workers, str(run.pid)]
    left = {
        path.name
        for path in set(SHARED.iterdir()) - shared
        if any(f"_{pid}_" in path.name for pid in pids)
    }

    assert not left


@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_ctrl_c_ends_all_of_it_without_tracebacks_of_workers(start, kind):
    run, pids = start(kind, 0.05)
    run.stdout.readline()
    workers = [path.name for path in pids.iterdir()]
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = run.communicate(timeout=20)
    wait_for(lambda: not any(map(alive, workers)), 5)

    assert run.returncode in {-signal.SIGINT, 1, 130}
    assert errors.count("Traceback (most recent call last)") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "Process " not in errors


def test_a_pass_that_was_interrupted_is_over_and_the_next_one_works(shards):
    """In a notebook the loader lives on after Ctrl-C."""
    import fiberaug

    class Interrupted:
        def __init__(self):
            self.key = "k010"

        def __call__(self, sample):
            if sample.key == self.key:
                raise KeyboardInterrupt
            return sample

    transform = Interrupted()
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, transform=transform), 4
    )
    running = iter(loader)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(key for batch in running for key in batch["__key__"])
    with pytest.raises(fiberaug.UsageError, match="this pass is over"):
        next(running)
    transform.key = ""
    state = loader.state_dict()
    loader.load_state_dict(state)
    rest = [key for batch in loader for key in batch["__key__"]]

    assert len(seen) == state["position"]
    assert sorted(seen + rest) == [f"k{i:03d}" for i in range(60)]
