"""Which photos are held out of a training, and which are looked at for figures."""

import hashlib
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.order import keyed_permutation

__all__ = ["FEWEST", "MOST", "content_numbers", "held_share", "spread_rows"]

FEWEST = 200
"""Photos below which none is held out."""

MOST = 2_000
"""Photos that are held out at most: figures do not gain by more."""

_SPREAD = 31  # what a permutation is for


def held_share(share: float, photos: int) -> float:
    """Return the share of photos that is held out, in [0, 1).

    Args:
        share: What was asked for, in [0, 0.5].
        photos: Photos that there are; below :data:`FEWEST` none is held out, and never
            many more than :data:`MOST`.

    Raises:
        UsageError: ``share`` is out of its range.
    """
    known = isinstance(share, Real) and not isinstance(share, bool)
    if not known or not 0 <= share <= 0.5:
        raise UsageError(
            "held_out must be the share of photos that are kept for figures, from 0 to"
            f" 0.5, got {share!r}"
        )
    if photos < FEWEST:
        return 0.0
    return min(float(share), MOST / photos)


def content_numbers(photos: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each photo, a hash of its pixels, float64 [N].

    Photos that are added or moved change nothing, and a photo that is there twice is on
    one side.

    Args:
        photos: uint8 [N, H, W, C].
    """
    digests = (
        hashlib.blake2b(photo.tobytes(), digest_size=8, person=b"held out").digest()
        for photo in photos
    )
    numbers = np.frombuffer(b"".join(digests), "<u8")
    return (numbers >> np.uint64(11)).astype(np.float64) / 2.0**53


def spread_rows(
    labels: NDArray[np.int64], count: int, *, again: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows, visits) of at most ``count`` photos, int64 [n] each.

    The same ones at every call, in an order that mixes the classes; of each class as
    many as it has by its share, but for one.

    Args:
        labels: int64 [N].
        count: Photos that are wanted, >= 1.
        again: Whether photos come again, with visits 1, 2, ..., where there are too
            few: windows differ from visit to visit.

    Raises:
        UsageError: ``count`` is below 1.
    """
    if count < 1:
        raise UsageError(f"count must be >= 1, got {count}")
    total = len(labels)
    mixed = keyed_permutation(total, _SPREAD)
    if count < total:
        # Every (N / count)-th of the photos by class: no class gains or loses one.
        by_class = mixed[np.argsort(labels[mixed], kind="stable")]
        chosen = by_class[(2 * np.arange(count) + 1) * total // (2 * count)]
        mixed = mixed[np.isin(mixed, chosen)]
    if not again or count <= total or not total:
        return mixed, np.zeros(len(mixed), np.int64)
    turns = np.arange(count)
    return mixed[turns % total], turns // total
