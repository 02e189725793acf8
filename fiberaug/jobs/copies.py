"""Near-copies of photos, found by what they look like.

Sources: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions
(2010), section 3.2, with the bits of the ImageHash library: the lowest 8 x 8 of 32 x 32
DCT coefficients against their median; G. Manku, A. Jain and A. Das Sarma, Detecting
Near-Duplicates for Web Crawling (WWW 2007), section 3: blocks of bits that agree.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import UsageError
from fiberaug.jobs.thumbnails import CELLS, Thumbnails

__all__ = ["Fingerprint", "fingerprint_of", "near_copies"]

_CONTRAST = 50.0  # standard deviation that thumbnails are scaled to, levels
_FAINT, _PLAIN = 3.0, 5.0  # standard deviation: no hash below, no scaling below
_PLAIN_LEVELS, _PLAIN_TOTAL = 2, 2 * CELLS
_WINDOW = 32  # neighbours in a run that a photo is compared with
_SHARED = 3  # bands that agree in a candidate pair
_BITS_SET = np.array([byte.bit_count() for byte in range(256)], np.uint8)
_BLOCK = 4096  # thumbnails that are in memory as numbers

_Cells: TypeAlias = NDArray[np.uint8] | Thumbnails  # [N, 256]


class Fingerprint(NamedTuple):
    """What an image looks like, in 264 bytes."""

    hash: int
    """DCT hash, 64 bits, the constant in the highest."""

    thumbnail: NDArray[np.uint8]
    """Gray levels [16, 16], averaged over the whole upright image."""


def fingerprint_of(data: bytes | memoryview) -> Fingerprint:
    """Return the fingerprint of an image file, a function of its upright gray pixels.

    Raises:
        SampleBroken: The bytes are no image of 8 or 16 bits.
        LimitExceeded: The image is too large.
    """
    pixels, _ = decode_image(data, limits=ImageLimits(), color="gray")
    gray = pixels[:, :, 0]
    small, thumbnail = (
        np.asarray(cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA), "u1")
        for side in (32, 16)
    )
    waves = cv2.dct(small.astype(np.float64))[:8, :8].round(3)  # zeros are noise
    bits = np.packbits(waves > np.median(waves))
    return Fingerprint(int.from_bytes(bits.tobytes()), thumbnail)


def near_copies(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8] | Thumbnails,
    *,
    most_bits: int = 6,
    most_levels: float = 6.0,
) -> NDArray[np.int64]:
    """Return the cluster of each photo, int64 [N], numbered by first appearance.

    Two photos are copies where their hashes differ in at most ``most_bits`` bits and
    their thumbnails, scaled to mean 0 and a standard deviation of 50 levels, by at most
    ``most_levels`` levels on average. Of flat images (below 5 levels of standard
    deviation) the thumbnails as they are decide, by 2 levels. A cluster is a chain of
    copies. The partition does not depend on the order of the photos. A mark that fills
    a corner, such as an opaque box of 5 percent, hides a copy; letters mostly do not.

    Candidates agree in 3 of ``most_bits + 3`` bands of the hash, which no pair within
    ``most_bits`` can avoid. Given up: where more than 33 photos agree in the same bands
    they are sorted by hash and thumbnail, and those over 32 places apart are compared
    through other bands, or not at all; flat images of one brightness likewise.

    Args:
        hashes: Hashes [N].
        thumbnails: Gray levels [N, 16, 16], here or in a file.
        most_bits: Bits in which the hashes of copies may differ, 0 to 16.
        most_levels: Levels by which their scaled thumbnails may differ.

    Raises:
        UsageError: The shapes or a bound do not fit.
    """
    count = len(hashes)
    fit = hashes.shape == (count,) and thumbnails.shape == (count, 16, 16)
    if not (fit and 0 <= most_bits <= 16 and most_levels >= 0):
        raise UsageError(
            "near copies need hashes [N], thumbnails [N, 16, 16], most_bits in 0..16"
            f" and most_levels >= 0, got {list(hashes.shape)},"
            f" {list(thumbnails.shape)}, {most_bits} and {most_levels}"
        )
    cells: _Cells = thumbnails
    if not isinstance(thumbnails, Thumbnails):
        cells = thumbnails.reshape(count, CELLS)
    total, spread, slope, digest = _looks(cells)
    gain = (_CONTRAST / np.maximum(spread, 1)).astype(np.float32)
    order = np.lexsort((digest, slope, hashes))
    new = ~_as_before(order, hashes, cells)
    one = order[new]  # of exact copies one is compared
    bits, spread = hashes[one], spread[one]
    root = np.arange(len(one))
    plain = np.flatnonzero(spread < _PLAIN)
    plain = plain[np.argsort(total[one[plain]], kind="stable")]
    for a, b in _neighbours(root, plain, total[one[plain]], _PLAIN_TOTAL):
        near = _distances(cells, one[a], one[b], None) <= _PLAIN_LEVELS
        _join(root, a[near], b[near])
    rich = np.flatnonzero(spread >= _FAINT)
    for least, mask in enumerate(_masks(most_bits)):
        key = bits[rich] & mask
        by = np.argsort(key, kind="stable")
        for i, j in _neighbours(root, rich[by], key[by], 0):
            other = _BITS_SET[(bits[i] ^ bits[j])[:, None].view(np.uint8)].sum(1)
            # Equal hashes lie side by side in every run: once is enough.
            near = (other <= most_bits) & (other >= min(least, 1))
            a, b = i[near], j[near]
            near = _distances(cells, one[a], one[b], gain) <= most_levels
            _join(root, a[near], b[near])
    found = root[np.cumsum(new) - 1][np.argsort(order)]
    _, first, label = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[label]


def _looks(cells: _Cells) -> tuple[NDArray[Any], ...]:
    """Return sum, standard deviation, slope and digest, of whole numbers: exact."""
    across = np.tile(np.arange(-15, 16, 2), 16)
    mixed = np.random.default_rng(0).integers(1, 2**55, CELLS)
    count = cells.shape[0]
    sums = np.empty((4, count), np.int64)
    for at in range(0, count, _BLOCK):
        rows = cells[at : at + _BLOCK].astype(np.int64)
        found = rows.sum(1), (rows * rows).sum(1), rows @ across, rows @ mixed
        sums[:, at : at + _BLOCK] = found
    total, squares, slope, digest = sums
    spread = np.sqrt(squares * CELLS - total * total) / CELLS
    return total, spread, slope / np.maximum(spread, 1), digest


def _as_before(
    order: NDArray[np.intp], hashes: NDArray[np.uint64], cells: _Cells
) -> NDArray[np.bool_]:
    """Return where a photo equals the one before it in the order, bit by bit."""
    same = np.zeros(len(order), bool)
    same[1:] = hashes[order[1:]] == hashes[order[:-1]]
    maybe = np.flatnonzero(same)
    for at in range(0, len(maybe), _BLOCK):
        i = maybe[at : at + _BLOCK]
        same[i] = (cells[order[i]] == cells[order[i - 1]]).all(1)
    return same


def _masks(most_bits: int) -> Iterator[np.uint64]:
    """Yield every choice of bands; copies agree in all bits of at least one."""
    edges = [64 * i // (most_bits + _SHARED) for i in range(most_bits + _SHARED + 1)]
    bands = [(1 << b) - (1 << a) for a, b in pairwise(edges)]
    return (np.uint64(sum(chosen)) for chosen in combinations(bands, _SHARED))


def _neighbours(
    root: NDArray[np.int64], photos: NDArray[np.intp], key: NDArray[Any], reach: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield pairs of photos, sorted by key, of near keys and not in one cluster yet."""
    left = np.arange(len(key))
    for step in range(1, _WINDOW + 1):
        left = left[: np.searchsorted(left, len(key) - step)]
        left = left[key[left + step] - key[left] <= reach]
        if not len(left):
            return
        a, b = photos[left], photos[left + step]
        apart = root[a] != root[b]
        yield a[apart], b[apart]


def _join(root: NDArray[np.int64], a: NDArray[np.intp], b: NDArray[np.intp]) -> None:
    """Make the first photo of its cluster the root of each, in place."""
    while (apart := root[a] != root[b]).any():
        a, b = a[apart], b[apart]
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while (root[root] != root).any():
            root[:] = root[root]


def _distances(
    cells: _Cells,
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    gain: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Return mean absolute differences, with a gain of thumbnails of mean 0."""
    pairs, found = np.stack([a, b]), np.empty(len(a), np.float32)
    for at in range(0, len(a), _BLOCK):
        photos = pairs[:, at : at + _BLOCK]
        rows = cells[photos].astype(np.float32)
        if gain is not None:
            rows = (rows - rows.mean(2, keepdims=True)) * gain[photos][:, :, None]
        found[at : at + _BLOCK] = np.abs(rows[0] - rows[1]).mean(1)
    return found
