"""Batches that are kept hold descriptors: the limit of open files is raised."""

import subprocess
import sys
import textwrap

import pytest
from sets import photo

import fiberaug

KEEP = textwrap.dedent("""
    import resource, sys
    soft, hard = (int(word) for word in sys.argv[2:])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    import fiberaug
    dataset = fiberaug.StreamingDataset(sys.argv[1], shuffle=False)
    with fiberaug.DataLoader(
        dataset, 1, num_workers=2, multiprocessing_context="fork"
    ) as loader:
        kept = list(loader)
    keys = [batch["__key__"][0] for batch in kept]
    assert keys == [f"k{i:03d}" for i in range(400)], keys
    assert all(batch["image"].nbytes >= 65_536 for batch in kept)
    print(len(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
""")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """400 pictures that travel in shared memory: 150 x 150 pixels are 67,500 bytes."""
    folder = tmp_path_factory.mktemp("large") / "set"
    rows = ({"__key__": f"k{i:03d}", "image": photo(i, 150, 150)} for i in range(400))
    fiberaug.convert(rows, folder, progress=False)
    return str(folder)


def keep(folder, soft, hard):
    return subprocess.run(
        [sys.executable, "-c", KEEP, folder, str(soft), str(hard)],
        check=False, capture_output=True, text=True, timeout=160,
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_four_hundred_kept_batches_fit_where_the_soft_limit_is_256(large):
    answer = keep(large, 256, 4096)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["400", "4096"]


@pytest.mark.timeout(180)
def test_a_hard_limit_that_is_too_low_is_an_error_that_says_which(large):
    answer = keep(large, 256, 256)
    assert answer.returncode == 1, answer.stderr
    assert "open files" in answer.stderr
    assert "ulimit" in answer.stderr
