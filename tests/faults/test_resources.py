"""Too little shared memory, memory or open files is said at the start: the remedy."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sets import photo, samples

pytestmark = pytest.mark.timeout(60)

RUN = """
import logging, resource, sys
logging.basicConfig(level=logging.WARNING)
import fiberaug
shards, files = sys.argv[1], int(sys.argv[2])
if sys.argv[4:]:  # a system without memory that has no name
    import os
    del os.memfd_create
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, files), files))
loader = fiberaug.DataLoader(
    fiberaug.StreamingDataset(shards), 16, num_workers=2,
    multiprocessing_context="fork", prefetch_factor=int(sys.argv[3]),
)
seen = []
try:
    for batch in loader:
        seen.append(batch)
except fiberaug.errors.FiberAugError as error:
    print("ERROR", type(error).__name__, error)
print("batches", len(seen))
print("soft limit", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.fixture
def shards(write_set):
    """Sixty-four pictures of 1.4 MB."""
    return write_set(
        ({**s, "image": photo(i, 600, 800)} for i, s in enumerate(samples(64))),
        shard_size="100MB",
    )


def run(shards, *, files=0, prefetch=2, before="", without=False):
    command = [sys.executable, "-c", RUN, shards, str(files), str(prefetch)]
    command += ["without"] * without
    if before:
        command = [
            "unshare",
            "-m",
            "sh",
            "-c",
            f'{before} && exec "$@"',
            "sh",
            *command,
        ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=50
    )
    return done.stdout, done.stderr


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(shards):
    out, errors = run(shards, files=900)

    assert "batches 4" in out
    assert "soft limit 900" in out
    assert "open files" not in errors


def test_a_hard_limit_that_will_not_do_is_said_with_its_remedy(shards):
    _, errors = run(shards, files=150)

    assert "WARNING:fiberaug:a process needs up to" in errors
    assert "ulimit -Hn" in errors
    assert errors.count("a process needs up to") == 1


def small_shm() -> str:
    """Return the command that gives a process 24 MiB of shared memory, if it may."""
    mount = "mount -t tmpfs -o size=24m tmpfs /dev/shm"
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount],  # noqa: S607  # wherever it is
            capture_output=True,
            check=False,
        )
    except OSError:
        return ""
    return "" if done.returncode else mount


def test_a_container_s_little_shared_memory_is_no_limit(shards):
    """A batch has 23 MB; there are 24 MiB."""
    mount = small_shm()
    if not mount:
        pytest.skip("a mount namespace is not allowed here")
    out, errors = run(shards, before=mount)

    assert "batches 4" in out
    assert "WARNING" not in errors


def test_too_little_shared_memory_is_said_and_then_an_error_with_the_remedy(shards):
    """A batch has 23 MB; three do not fit, and nothing hangs."""
    mount = small_shm()
    if not mount:
        pytest.skip("a mount namespace is not allowed here")
    out, errors = run(shards, before=mount, without=True)

    assert "ERROR" in out
    assert "--shm-size" in out
    assert "StoreError" in out or "WorkerDied" in out
    assert errors.count("start the container with --shm-size") <= 1


def test_what_fits_is_not_warned_of(shards):
    out, errors = run(shards)

    assert "batches 4" in out
    assert "WARNING" not in errors


def test_cuda_in_a_forked_worker_is_explained(write_set):
    """The error is torch's own; it is raised here as a forked worker would see it."""
    import torch

    import fiberaug

    def transform(sample):
        # What torch raises: torch/cuda/__init__.py, _lazy_init.
        if os.getpid() != main:
            raise RuntimeError(
                "Cannot re-initialize CUDA in forked subprocess. To use CUDA with"
                " multiprocessing, you must use the 'spawn' start method"
            )
        return sample

    main = os.getpid()
    said = Path(torch.cuda.__file__).read_text(encoding="utf-8")
    assert "Cannot re-initialize CUDA in forked subprocess" in said
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(write_set(8), transform=transform), 4,
        num_workers=1, multiprocessing_context="fork",
    )  # fmt: skip
    with pytest.raises(fiberaug.UsageError, match="uses CUDA in a forked worker"):
        list(loader)


def test_memory_that_will_not_do_is_said_once_after_the_first_batch(
    shards, monkeypatch, caplog
):
    """The machine's own figures, of a machine with 8 MB."""
    import fiberaug
    from fiberaug import machine

    small = machine.Machine(
        memory=8_000_000, available=8_000_000, grouped=True, cpus=1.0,
        files=(4096, 4096), shm=None,
    )  # fmt: skip
    monkeypatch.setattr(machine, "look", lambda: small)
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards), 8, num_workers=1,
        multiprocessing_context="fork", persistent_workers=True,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            list(loader)
    loader.close()

    assert caplog.text.count("the control group has 8.0 MB left") == 1
