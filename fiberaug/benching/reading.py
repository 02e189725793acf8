"""Reading alone: for the first time, from a disk or a store, and from memory."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fiberaug.benching.opened import Opened, Photo
from fiberaug.errors import DataRefused
from fiberaug.shards.pool import ShardPool

__all__ = ["Reading", "read_again", "read_first"]

_FETCHED_S = 0.01  # what comes faster was in the cache
_TIMES = 5


class Reading(NamedTuple):
    """Samples that were read for the first time here."""

    photos: list[Photo]
    """Those that could be read."""

    seconds: float
    """Of a sample, without the time that other programs had the CPU; opening or
    fetching a shard is parted among its samples."""

    store_bytes_per_s: float | None
    """What the store delivers. None: the set is local, or the cache had it."""

    bytes: float
    """Mean size of a sample."""

    broken: int


def read_first(
    opened: Opened, pool: ShardPool, samples: int, seconds: float
) -> Reading:
    """Read samples in the order of the set, and return how long that took.

    Args:
        opened: The set.
        pool: Its shards, none of them open yet.
        samples: How many, at most.
        seconds: How long, at most, s; a batch is read in any case.
    """
    done: list[Photo] = []
    shards: set[int] = set()
    refs = opened.dataset.setup.refs
    open_s, size, broken = 0.0, 0, 0
    fetched, fetched_s = 0, 0.0
    photos = opened.photos(samples)  # without an index this opens shards to count them
    ends, started = time.perf_counter() + seconds, _clock()
    for photo in photos:
        if len(done) >= opened.batch_size and time.perf_counter() > ends:
            break
        if photo.shard not in shards:
            asked = _clock()
            shards.add(photo.shard)
            len(pool[photo.shard].index)
            spent = _clock() - asked
            open_s += spent
            if refs[photo.shard].remote and spent > _FETCHED_S:
                fetched += refs[photo.shard].bytes or 0
                fetched_s += spent
        try:
            members = pool[photo.shard].read(photo.number)
        except DataRefused:
            broken += 1
            continue
        size += sum(map(len, members.values()))
        done.append(photo)
    read_s = max(0.0, _clock() - started - open_s)
    held = sum(len(pool[shard].index) for shard in shards)
    count = max(1, len(done))
    return Reading(
        photos=done, seconds=read_s / count + open_s / max(1, held),
        store_bytes_per_s=fetched / fetched_s if fetched else None, bytes=size / count,
        broken=broken,
    )  # fmt: skip


def read_again(pool: ShardPool, photos: Sequence[Photo]) -> float:
    """Return the CPU seconds of reading a sample that is in memory."""
    spent = []
    for _ in range(_TIMES):
        started = time.process_time()
        for photo in photos:
            pool[photo.shard].read(photo.number)
        spent.append(time.process_time() - started)
    return min(spent) / max(1, len(photos))


def _clock() -> float:
    """Return the time less what this thread has waited for a CPU, s.

    Source: the kernel's Documentation/scheduler/sched-stats.rst.
    """
    try:
        text = Path("/proc/thread-self/schedstat").read_text(encoding="ascii")
    except OSError:  # no Linux, or it does not count
        return time.perf_counter()
    return time.perf_counter() - int(text.split()[1]) / 1e9
