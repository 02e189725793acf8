"""What all tests share: no news from the package index, and small data sets."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Threads of several processes on few cores wait for each other, not for work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from sets import samples

import fiberaug

WriteSet = Callable[..., str]


@pytest.fixture
def write_set(tmp_path: Path) -> WriteSet:
    """A function (samples, name=, shard_size=) that writes shards, gives the folder."""

    def write(
        content: Iterator[Mapping[str, Any]] | int,
        name: str = "set",
        shard_size: str = "60kB",
    ) -> str:
        content = samples(content) if isinstance(content, int) else content
        fiberaug.convert(
            content, tmp_path / name, shard_size=shard_size, progress=False
        )
        return str(tmp_path / name)

    return write
