"""Near-copies in a source: every image is looked at before anything is written."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused
from fiberaug.jobs.copies import fingerprint_of, near_copies
from fiberaug.jobs.crew import Done, check_wanted, count, run_jobs
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.thumbnails import Thumbnails

__all__ = ["Copies", "find_copies", "joined"]

_CHUNK = 256  # images of a job


@dataclass(frozen=True)
class Copies:
    """Which samples of a source are near-copies of each other."""

    clusters: NDArray[np.int64]
    """Number of each sample's cluster, int64 [N]; one that cannot be read is alone."""

    first: NDArray[np.int64]
    """Row of the sample that stands for its cluster, int64 [N]: that of least key."""

    @property
    def spare(self) -> NDArray[np.bool_]:
        """Samples that another stands for."""
        return np.not_equal(self.first, np.arange(len(self.first)))


class _Chunk(NamedTuple):
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    read: NDArray[np.bool_]


def find_copies(
    source: Source, *, workers: int, told: Callable[[Done], None] = lambda _: None
) -> Copies:
    """Return the near-copies among a source's images.

    Args:
        source: The source.
        workers: Processes.
        told: Is told how far they are.

    Raises:
        WorkerDied: A worker was ended from outside.
    """
    total = len(source.items)
    jobs = (
        (source.reader, source.items.take(np.arange(at, min(at + _CHUNK, total))))
        for at in range(0, total, _CHUNK)
    )
    read = np.zeros(total, np.bool_)
    hashes = np.zeros(total, np.uint64)
    with Thumbnails() as thumbnails:
        with closing(run_jobs(_look, jobs, workers=workers, told=told)) as results:
            for number, chunk in enumerate(results):
                rows = slice(number * _CHUNK, number * _CHUNK + len(chunk.read))
                read[rows], hashes[rows] = chunk.read, chunk.hashes
                thumbnails.append(chunk.thumbnails[chunk.read])
        found = near_copies(hashes[read], thumbnails)
    clusters = np.arange(total)
    clusters[read] = total + found
    clusters = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    return Copies(clusters, _first(source.items, clusters))


def _look(reader: Callable[[Item], Raw], items: Items) -> _Chunk:
    hashes = np.zeros(len(items), np.uint64)
    thumbnails = np.zeros((len(items), 16, 16), np.uint8)
    read = np.zeros(len(items), np.bool_)
    for i, item in enumerate(items):
        check_wanted()
        try:
            hashes[i], thumbnails[i] = fingerprint_of(reader(item).image)
            read[i] = True
        except (DataRefused, OSError, ValueError):
            pass  # the conversion says what is wrong with it
        count(1, item.size, 0)
    return _Chunk(hashes, thumbnails, read)


def _first(items: Items, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each sample the row of least key in its cluster."""
    first = np.arange(len(clusters))
    order = np.argsort(clusters, kind="stable")
    ends = np.cumsum(np.bincount(clusters))
    for rows in _several(order, ends):
        least = min(rows.tolist(), key=lambda row: items[row].key)
        first[rows] = least
    return first


def _several(
    order: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    begins = np.concatenate([[0], ends[:-1]])
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if end - begin > 1:
            yield order[begin:end]


def joined(
    groups: NDArray[np.uint64], clusters: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return groups so large that neither a group nor a cluster is torn.

    Args:
        groups: A hash of each sample's group, uint64 [N].
        clusters: Its cluster, int64 [N].
    """
    found = np.unique(groups, return_inverse=True)[1].reshape(-1)
    names = groups.copy()
    while True:
        before = names
        for parts in (clusters, found):
            least = np.full(int(parts.max(initial=-1)) + 1, np.iinfo(np.uint64).max)
            np.minimum.at(least, parts, names)
            names = least[parts]
        if (names == before).all():
            return names
