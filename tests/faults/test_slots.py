"""Whoever is killed: the pixels are right, and no memory and no file is left."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from sets import photo, samples

import fiberaug

pytestmark = pytest.mark.timeout(120)

SHARED = Path("/dev/shm")  # noqa: S108  # where Linux has shared memory


@pytest.fixture
def shards(write_set):
    return write_set(
        {**s, "image": photo(i, 160, 200)} for i, s in enumerate(samples(60))
    )


def memory_files(pid):
    """The files in memory that a process has open, by their numbers."""
    found = set()
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if "memfd:fiberaug" in str(link.readlink()):
                    found.add(link.stat().st_ino)
    return found


def everywhere():
    names = [path.name for path in Path("/proc").iterdir()]
    return set().union(*(memory_files(name) for name in names if name.isdecimal()))


@pytest.mark.parametrize("persistent", [True, False])
def test_workers_that_are_killed_at_any_moment_write_into_no_batch_of_others(
    shards, persistent
):
    others = memory_files("self")  # of loaders that nobody has closed yet
    reference = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 3)
    expected = [list(reference) for _ in range(2)]
    draw, kills = random.Random(5), 0
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 3, num_workers=2, worker_restarts=100,
        persistent_workers=persistent, multiprocessing_context="fork",
    ) as loader:  # fmt: skip
        for epoch in expected:
            got = []
            for batch in loader:
                got.append(batch)
                messages = loader._workers._messages
                if draw.random() < 0.3 and messages is not None:
                    time.sleep(draw.random() * 0.02)
                    with contextlib.suppress(ProcessLookupError):  # it was, before
                        pid = messages._workers[draw.randrange(2)].pid
                        os.kill(pid, signal.SIGKILL)
                        kills += 1
                assert len(memory_files("self") - others) <= 1
            assert [b["__key__"] for b in got] == [b["__key__"] for b in epoch]
            for a, b in zip(got, epoch, strict=True):
                assert (a["image"] == b["image"]).all()
    assert kills >= 3
    assert not memory_files("self") - others


MAIN = textwrap.dedent("""
    import multiprocessing, sys, time
    import fiberaug

    def main():
        options = {"num_workers": 2, "multiprocessing_context": sys.argv[2]}
        dataset = fiberaug.StreamingDataset(sys.argv[1])
        loaders = [fiberaug.DataLoader(dataset, 3, **options) for _ in range(2)]
        running = [iter(loader) for loader in loaders]
        for one in running:
            next(one)
        print(*(c.pid for c in multiprocessing.active_children()), flush=True)
        while True:
            for loader in loaders:
                for batch in loader:
                    pass

    if __name__ == "__main__":
        main()
""")


SLOW = pytest.mark.slow
METHODS = ["fork", *(pytest.param(m, marks=SLOW) for m in ("spawn", "forkserver"))]


@pytest.mark.parametrize("method", METHODS)
def test_of_a_main_process_that_is_killed_nothing_is_left(shards, tmp_path, method):
    """Whoever lives on has none of its memory."""
    shared = set(SHARED.iterdir())
    script = tmp_path / "main.py"
    script.write_text(MAIN)
    main = subprocess.Popen(
        [sys.executable, str(script), shards, method],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    pids = main.stdout.readline().split()
    files = memory_files(main.pid)
    time.sleep(0.5)
    main.kill()
    main.communicate()
    assert len(pids) >= 4
    assert len(files) == 2
    family = [str(main.pid), *pids]
    end = time.monotonic() + 10
    while any(memory_files(pid) for pid in family):
        assert time.monotonic() < end, "a worker holds memory"
        time.sleep(0.05)
    time.sleep(0.3)
    ours = {
        path.name
        for path in set(SHARED.iterdir()) - shared
        if any(f"_{pid}_" in path.name for pid in family)
    }
    assert not files & everywhere()
    assert not ours
