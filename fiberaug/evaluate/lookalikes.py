"""Does a generator give its training samples back? Detectors on pixels."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from fiberaug.bars import ProgressBar
from fiberaug.errors import UsageError
from fiberaug.evaluate.copies import Copies
from fiberaug.jobs import copies
from fiberaug.jobs.encoding import encode_image

__all__ = ["Images", "equal_pixels", "look_alikes", "pixels_of"]

Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""uint8 [N, H, W] or [N, H, W, C], or images [H, W] or [H, W, C] of any sizes."""


def equal_pixels(synthetic: Images, train: Images) -> Copies:
    """Return the synthetic images whose pixels are those of a training image.

    Args:
        synthetic: Images; [H, W] and [H, W, 1] are the same.
        train: What the generator was trained on.

    Raises:
        UsageError: A set is empty or is no images.
    """
    of_train: dict[bytes, int] = {}
    for number, image in enumerate(pixels_of(train, "train")):
        of_train.setdefault(_digest(image), number)
    found = [_digest(image) for image in pixels_of(synthetic, "synthetic")]
    same = [(i, of_train[own]) for i, own in enumerate(found) if own in of_train]
    return Copies(
        indices=np.asarray([i for i, _ in same], np.int64),
        parents=np.asarray([parent for _, parent in same], np.int64),
        distances=np.zeros(len(same)), threshold=0, total=len(found),
    )  # fmt: skip


def look_alikes(
    synthetic: Images,
    train: Images,
    *,
    most_bits: int = 6,
    most_levels: float = 6.0,
    progress: bool | None = None,
) -> Copies:
    """Return the synthetic images that look like a training image at 16 x 16 pixels.

    Other sizes, codecs and slight changes of light do not hide a copy. The rule is that
    of :func:`fiberaug.jobs.copies.near_copies`, whose clusters are chains: an image
    that is like a copy can be found along with it. Distances are bits of 64 in which
    the perceptual hashes differ. Small plain pictures, such as digits, are often alike
    without being copies: compare with the share that held-out images have.

    Args:
        synthetic: Images.
        train: What the generator was trained on.
        most_bits: Bits in which the hashes of copies may differ, 0 to 16.
        most_levels: Levels by which their thumbnails may differ.
        progress: Show a bar; None: where a terminal is.

    Raises:
        UsageError: A set is empty or is no images, or a bound does not fit.
    """
    samples, reference = pixels_of(synthetic, "synthetic"), pixels_of(train, "train")
    both: Iterable[NDArray[np.uint8]] = ProgressBar(
        [*reference, *samples], unit="img", desc="look-alikes",
        disable=None if progress is None else not progress,
    )  # fmt: skip
    looks = [
        copies.fingerprint_of(
            encode_image(image[:, :, 0] if image.shape[2] == 1 else image, "png")
        )
        for image in both
    ]
    hashes = np.asarray([look.hash for look in looks], np.uint64)
    cluster = copies.near_copies(
        hashes, np.stack([look.thumbnail for look in looks]),
        most_bits=most_bits, most_levels=most_levels,
    )  # fmt: skip
    first = len(reference)
    members: dict[int, list[int]] = {}
    for number, own in enumerate(cluster[:first].tolist()):
        members.setdefault(own, []).append(number)
    indices, parents, bits = [], [], []
    for number, own in enumerate(cluster[first:].tolist()):
        if own in members:
            rows = np.asarray(members[own])
            apart = np.bitwise_count(hashes[rows] ^ hashes[first + number])
            indices.append(number)
            parents.append(rows[apart.argmin()])
            bits.append(apart.min())
    return Copies(
        indices=np.asarray(indices, np.int64), parents=np.asarray(parents, np.int64),
        distances=np.asarray(bits, np.float64), threshold=most_bits, total=len(samples),
    )  # fmt: skip


def pixels_of(images: object, name: str) -> list[NDArray[np.uint8]]:
    """Return images as [H, W, 1] or [H, W, 3], one by one.

    Args:
        images: See :data:`Images`.
        name: What an error calls them.

    Raises:
        UsageError: There are none, or they are no images.
    """
    found: list[NDArray[np.uint8]] = []
    for number, image in enumerate(
        images if isinstance(images, Iterable) else [images]
    ):
        fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size
        if fits and image.ndim == 2:
            found.append(image[:, :, None])
        elif fits and image.ndim == 3 and image.shape[2] in {1, 3}:
            found.append(image)
        else:
            kind = getattr(image, "dtype", type(image).__name__)
            raise UsageError(
                f"{name} must be uint8 images [H, W], [H, W, 1] or [H, W, 3], number"
                f" {number} is {kind} {list(getattr(image, 'shape', ()))}"
            )
    if not found:
        raise UsageError(f"{name} has no images")
    return found


def _digest(image: NDArray[np.uint8]) -> bytes:
    return sha256(f"{image.shape}".encode() + image.tobytes()).digest()
