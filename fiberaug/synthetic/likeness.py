"""Training samples that a synthetic one may be a copy of."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.copies import Fingerprint, fingerprint_of
from fiberaug.jobs.crew import Done, check_wanted, count, run_jobs
from fiberaug.jobs.describing import image_extension
from fiberaug.jobs.plain import resolve_any
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.truth import pixels_sha256

__all__ = ["MOST_BITS", "MOST_LEVELS", "Likeness", "Original", "look_at"]

MOST_BITS = 6
"""Bits of the hash in which near-copies may differ."""

MOST_LEVELS = 6.0
"""Levels by which their thumbnails, scaled to a deviation of 50, may differ."""

_CONTRAST, _FAINT, _PLAIN, _PLAIN_LEVELS = 50.0, 3.0, 5.0, 2.0
_BITS_SET = np.array([byte.bit_count() for byte in range(256)], np.uint8)


class Original(NamedTuple):
    """A training sample that a synthetic one is like."""

    how: str
    """``copy``: the same pixels; ``near_copy``: it looks the same."""

    key: str
    shard: str
    split: str | None


class _Looks(NamedTuple):
    keys: list[str]
    pixels: list[str]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    broken: int


@dataclass(frozen=True)
class Likeness:
    """What training samples look like; made by :func:`look_at`."""

    fingerprint: str
    """Of the data set."""

    names: list[tuple[str, str, str | None]]
    """Key, shard and split of each."""

    broken: int
    """Samples that could not be decoded, and are compared with nothing."""

    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    """Gray levels [N, 256]."""

    pixels: dict[str, int] = field(repr=False)
    """Row of each hash of RGB pixels."""

    spread: NDArray[np.float64]
    """Standard deviation of each thumbnail: without it the hash says nothing."""

    def find(self, rgb: str, looks: Fingerprint) -> Original | None:
        """Return the first training sample that a synthetic one is a copy of.

        The rule is that of :func:`fiberaug.jobs.copies.near_copies`, for one image
        against many.

        Args:
            rgb: Hash of its RGB pixels.
            looks: Its fingerprint.
        """
        same = self.pixels.get(rgb)
        if same is not None:
            return Original("copy", *self.names[same])
        own, found = looks.thumbnail.reshape(1, -1), list[int]()
        spread = float(_spread(own)[0])
        if spread < _PLAIN:
            rows = np.flatnonzero(self.spread < _PLAIN)
            found += self._near(rows, own, scaled=False, most=_PLAIN_LEVELS)
        if spread >= _FAINT:
            rows = _close(np.bitwise_xor(self.hashes, np.uint64(looks.hash)))
            rows = rows[self.spread[rows] >= _FAINT]
            found += self._near(rows, own, scaled=True, most=MOST_LEVELS)
        return Original("near_copy", *self.names[min(found)]) if found else None

    def _near(
        self,
        rows: NDArray[np.int64],
        own: NDArray[np.uint8],
        *,
        scaled: bool,
        most: float,
    ) -> list[int]:
        theirs = _scaled(self.thumbnails[rows], scaled=scaled)
        apart = np.abs(theirs - _scaled(own, scaled=scaled)).mean(1)
        return [int(row) for row in rows[apart <= most]]


def _close(other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where at most ``MOST_BITS`` bits are set."""
    bits = np.zeros(len(other), np.uint8)
    for byte in other.view(np.uint8).reshape(-1, 8).T:
        bits += _BITS_SET[byte]
    return np.flatnonzero(bits <= MOST_BITS)


def _spread(cells: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(cells.astype(np.float64).std(1))


def _scaled(cells: NDArray[np.uint8], *, scaled: bool) -> NDArray[np.float32]:
    rows = cells.astype(np.float32)
    if not scaled:
        return rows
    gain = (_CONTRAST / np.maximum(_spread(cells), 1)).astype(np.float32)
    return np.asarray((rows - rows.mean(1, keepdims=True)) * gain[:, None], np.float32)


def look_at(
    shards: object,
    *,
    processes: int = 1,
    told: Callable[[Done], None] = lambda _: None,
) -> Likeness:
    """Return what the samples of a data set look like: 350 bytes of memory each.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        processes: Of this machine.
        told: Is told how far they are.

    Raises:
        UsageError: ``shards`` names nothing, or no sample has an image.
        StoreError: A shard cannot be read.
        ShardDamaged: A shard or an index is broken.
    """
    found = resolve_any(shards)
    parts = found.manifest.splits if found.manifest is not None else {}
    split_of = {name: part for part, names in parts.items() for name in names}
    all_looks: list[_Looks] = []
    names: list[tuple[str, str, str | None]] = []
    jobs = ((ref, found.cache) for ref in found.refs)
    workers = min(processes, len(found.refs))
    with closing(run_jobs(_look, jobs, workers=workers, told=told)) as results:
        for ref, looks in zip(found.refs, results, strict=True):
            all_looks.append(looks)
            names += [(key, ref.name, split_of.get(ref.name)) for key in looks.keys]
    if not names:
        raise UsageError(f"no image of {shards!r:.200} can be compared with")
    pixels: dict[str, int] = {}
    for row, digest in enumerate(d for looks in all_looks for d in looks.pixels):
        pixels.setdefault(digest, row)
    thumbnails = np.concatenate([looks.thumbnails for looks in all_looks])
    return Likeness(
        fingerprint=found.fingerprint, names=names,
        broken=sum(looks.broken for looks in all_looks),
        hashes=np.concatenate([looks.hashes for looks in all_looks]),
        thumbnails=thumbnails, pixels=pixels,
        spread=_spread(thumbnails),
    )  # fmt: skip


def _look(ref: ShardRef, cache: ShardCache | None) -> _Looks:
    shard = open_shard(ref, cache)
    keys, pixels, hashes, thumbnails, broken = list[str](), list[str](), [], [], 0
    for i in range(len(shard.index)):
        check_wanted()
        try:
            members = shard.read(i)
            extension = image_extension(members)
            if extension is None:
                continue
            data = bytes(members[extension])
            rgb, _ = decode_image(data, limits=ImageLimits())
            looks = fingerprint_of(data)
        except DataRefused:
            broken += 1
            continue
        keys.append(shard.index.key(i))
        pixels.append(pixels_sha256(rgb))
        hashes.append(looks.hash)
        thumbnails.append(looks.thumbnail.reshape(-1))
        count(1, len(data), 0)
    return _Looks(
        keys, pixels, np.array(hashes, np.uint64),
        np.array(thumbnails, np.uint8).reshape(-1, 256), broken,
    )  # fmt: skip
