"""Batches that are kept hold no descriptors, however they travelled."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sets import photo

import fiberaug

KEEP = textwrap.dedent("""
    import os, resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    if sys.argv[2:]:  # a system without memory that has no name
        del os.memfd_create
    import fiberaug
    dataset = fiberaug.StreamingDataset(sys.argv[1], shuffle=False)
    with fiberaug.DataLoader(
        dataset, 1, num_workers=2, multiprocessing_context="fork"
    ) as loader:
        kept = list(loader)
    keys = [batch["__key__"][0] for batch in kept]
    assert keys == [f"k{i:03d}" for i in range(400)], keys
    assert all(batch["image"].nbytes >= 65_536 for batch in kept)
    for number, batch in enumerate(kept):
        assert (batch["mask"] == number % 200).all()
    print(len(kept), len(os.listdir("/proc/self/fd")) < 100)
""")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """400 pictures with masks: 300 x 300 pixels are 90,000 bytes of mask."""
    folder = tmp_path_factory.mktemp("large") / "set"
    rows = (
        {
            "__key__": f"k{i:03d}",
            "image": photo(i, 300, 300),
            "mask": np.full((300, 300), i % 200, np.uint8),
        }
        for i in range(400)
    )
    fiberaug.convert(rows, folder, progress=False)
    return str(folder)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("without", [[], ["without"]], ids=["slots", "none"])
def test_four_hundred_kept_batches_fit_where_256_files_may_be_open(large, without):
    answer = subprocess.run(
        [sys.executable, "-c", KEEP, large, *without],
        check=False, capture_output=True, text=True, timeout=160,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["400", "True"]
