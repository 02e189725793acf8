"""A small /dev/shm is no limit; where it is one, it is an error, never a bus error."""

import subprocess
import sys
import textwrap

import pytest
from namespaces import needs_mount, with_own_shm
from sets import photo

import fiberaug

READ = textwrap.dedent("""
    import os, sys
    if sys.argv[2:]:  # a system without memory that has no name
        del os.memfd_create
    import fiberaug
    dataset = fiberaug.StreamingDataset(sys.argv[1])
    loader = fiberaug.DataLoader(
        dataset, 16, num_workers=2, multiprocessing_context="fork"
    )
    print(len(list(loader)))
""")


def read(folder, size, *without):
    return subprocess.run(
        with_own_shm(size, [sys.executable, "-c", READ, folder, *without]),
        check=False, capture_output=True, text=True, timeout=160,
    )  # fmt: skip


@pytest.fixture
def large(tmp_path):
    """48 pictures of 2.4 MB: a batch of 16 has 38 MB."""
    rows = ({"__key__": f"k{i:02d}", "image": photo(i, 900, 900)} for i in range(48))
    fiberaug.convert(rows, tmp_path / "set", progress=False)
    return str(tmp_path / "set")


@pytest.mark.timeout(180)
@needs_mount
def test_eight_megabytes_of_shared_memory_name_the_option_that_gives_more(large):
    answer = read(large, "8m", "without")
    assert answer.returncode == 1, (answer.returncode, answer.stderr)
    assert "--shm-size" in answer.stderr
    assert answer.stdout == ""


@pytest.mark.timeout(180)
@needs_mount
@pytest.mark.parametrize("given", [["8m"], ["1g"], ["1g", "without"]])
def test_where_there_is_enough_nothing_is_said(large, given):
    answer = read(large, *given)
    assert answer.stdout == "3\n"
    assert "--shm-size" not in answer.stderr
