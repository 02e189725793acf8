"""Data sets of many shards of which only the first exists, and processes measured."""

import contextlib
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

import fiberaug
from fiberaug.shards.index import read_head
from fiberaug.shards.manifest import FILE, Manifest, ShardEntry

__all__ = ["list_shards", "tiny", "until", "uss_mib", "write_sparse_shards"]


def tiny(count: int) -> list[dict[str, object]]:
    """Samples of 8 x 8 pixels."""
    return [
        {"__key__": f"t{i}", "image": np.full((8, 8, 3), i % 251, np.uint8), "label": 0}
        for i in range(count)
    ]


def list_shards(folder: Path, shards: int, samples: int) -> str:
    """Write one shard of 8 samples and a ``dataset.json`` that lists ``shards``."""
    fiberaug.convert(iter(tiny(8)), folder, progress=False)
    written = Manifest.read(folder)
    rest = (
        ShardEntry(
            name=f"s-{i:06d}.tar", bytes=10**9, samples=samples, sha256=f"{i:064x}",
            index_crc32=f"{i:08x}", counts={"0": samples},
        )
        for i in range(1, shards)
    )  # fmt: skip
    listed = replace(written, shards=(*written.shards, *rest))
    (folder / FILE).write_bytes(listed.to_bytes())
    return str(folder)


def write_sparse_shards(folder: Path, shards: int) -> str:
    """Write ``shards`` shards with side-cars, and no ``dataset.json``.

    The first is whole. The others are holes of its size, with its side-car's header
    alone: opening a set reads no more.
    """
    fiberaug.convert(iter(tiny(8)), folder, progress=False)
    first = next(folder.glob("*.tar"))
    side_car = first.with_name(first.name + ".idx")
    size = read_head(side_car, shard=first.name).shard_bytes
    head = side_car.read_bytes()[:64]
    for i in range(1, shards):
        shard = folder / f"z-{i:06d}.tar"  # after the first
        with shard.open("wb") as file:
            file.truncate(size)
        shard.with_name(shard.name + ".idx").write_bytes(head)
    (folder / FILE).unlink()
    return str(folder)


def uss_mib(pid: int | None = None) -> float:
    """Return the memory that a process alone has, MiB."""
    if pid is None:
        gc.collect()
    return psutil.Process(pid).memory_full_info().uss / 2**20


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Return whether something comes true within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psutil.NoSuchProcess):
            if holds():
                return True
        time.sleep(0.05)
    return holds()
