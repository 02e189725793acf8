"""Real and mixed-in images made alike, and what tells them apart where they are not."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import open_shard, read_index
from fiberaug.shards.reader import ShardRef

__all__ = ["Kind", "Matcher", "compare_images", "kind_of", "make_matcher"]

_log = logging.getLogger("fiberaug")
_ENLARGED = 1.25
_LOOKED_AT = 4  # shards
_QUALITY = 90
_SUM_50 = 3688  # of the luminance table of quality 50, ITU-T T.81 annex K.1
_FIRST_50 = 105  # of its first eight values, in zigzag order
_CODED = (1, 3)
_SPATIAL = ("mask", "masks", "bboxes", "keypoints", "polygons")


class Kind(NamedTuple):
    """What the images of a set are like."""

    side: float
    """Square root of the median area, px; 0 where no index says it."""

    codec: str
    """``jpeg``, ``webp``, or ``png`` for all that lose nothing."""

    quality: int = 0
    """1 to 100, where something is lost."""


@dataclass(frozen=True)
class Matcher:
    """Brings images to the size and the codec of the other side."""

    what: str
    """``pool``: real images are changed; ``real``: those that are mixed in."""

    kind: Kind
    """What they become."""

    def __call__(self, image: NDArray[Any], *, real: bool) -> NDArray[Any]:
        """Return an image [H, W, C] as the other side's would be.

        Args:
            image: A decoded image; only uint8 is changed.
            real: Whether it is the data set's own.
        """
        if real != (self.what == "pool") or image.dtype != np.uint8:
            return image
        side, codec, quality = self.kind
        height, width, channels = image.shape
        scale = side / (height * width) ** 0.5 if side else 1.0
        if real:
            scale = min(1.0, scale)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if size != (width, height):
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            image = np.asarray(cv2.resize(image, size, interpolation=way))
            image = image.reshape(size[1], size[0], channels)
        if codec != "png" and channels in _CODED:
            plain = image if channels == 3 else image[:, :, 0]
            data = encode_image(plain, codec, quality=quality)
            color = "rgb" if channels == 3 else "gray"
            image, _ = decode_image(data, limits=ImageLimits(), color=color)
        return np.ascontiguousarray(image)


def kind_of(refs: Sequence[ShardRef], cache: ShardCache | None) -> Kind:
    """Return what the images of a set are like: a few indexes, and one image."""
    areas: list[NDArray[np.float64]] = []
    codec, quality = "", 0
    for ref in refs[:: max(1, len(refs) // _LOOKED_AT)][:_LOOKED_AT]:
        index = read_index(ref, cache)
        columns = index.columns
        areas.append(columns["width"].astype(np.float64) * columns["height"])
        if len(index) and not codec:
            with suppress(DataRefused):  # a broken sample is met where it is dealt
                codec, quality = _codec(open_shard(ref, cache).read(0))
    known = np.concatenate([np.zeros(1), *areas])
    sides = np.sqrt(known[known > 0])
    side = float(np.median(sides)) if len(sides) else 0.0
    return Kind(side, codec or "png", quality)


def _codec(members: Mapping[str, bytes | memoryview]) -> tuple[str, int]:
    """Return the codec of a sample's image and its quality, 0 where nothing is lost."""
    for extension in ("jpg", "jpeg", "webp"):
        data = bytes(members.get(extension, b""))
        if data[:2] == b"\xff\xd8":
            return "jpeg", jpeg_quality(data)
        if data[12:16] == b"VP8 ":
            return "webp", _QUALITY
    return "png", 0


def jpeg_quality(data: bytes) -> int:
    """Return the quality, 1 to 100, at which libjpeg has these tables; 90 if none.

    Source: jcparam.c of the Independent JPEG Group: a table is that of quality 50 times
    (200 - 2 quality) or (5,000 / quality) per cent; its sum tells which.
    """
    at = data.find(b"\xff\xdb")
    table = data[at + 5 : at + 69]
    if at < 0 or len(table) < 64 or data[at + 4] & 0xF0:
        return _QUALITY
    # At low qualities large values are cut off at 255, the first eight are not.
    whole = max(table) < 255
    scale = 100 * sum(table) / _SUM_50 if whole else 100 * sum(table[:8]) / _FIRST_50
    quality = 100 - scale / 2 if scale <= 100 else 5000 / scale
    return max(1, min(100, round(quality)))


def compare_images(name: str, theirs: Kind, real: Kind) -> None:
    """Warn where a source's images can be told from real ones by size or codec."""
    if theirs.side and real.side > _ENLARGED * theirs.side:
        _log.warning(
            "images of source %r are %.0f px on a side, real ones %.0f: brought to one"
            " size they are enlarged %.1f times, and a classifier can learn the blur;"
            ' match="pool" shrinks real ones to the same',
            name, theirs.side, real.side, real.side / theirs.side,
        )  # fmt: skip
    if theirs.codec != real.codec:
        _log.warning(
            "images of source %r are %s, real ones %s: a classifier can learn the marks"
            ' of the codec; match="real" puts the same on both',
            name, theirs.codec, real.codec,
        )  # fmt: skip


def make_matcher(
    what: str, kinds: Sequence[Kind], real: Kind, fields: Sequence[str]
) -> Matcher:
    """Return what makes images alike.

    Args:
        what: ``pool`` or ``real``, whose images stay.
        kinds: What the images of each source are like.
        real: What real ones are like.
        fields: Names of the data set's fields.

    Raises:
        UsageError: Samples have annotations in pixels, which would have to move.
    """
    spatial = [name for name in fields if name in _SPATIAL]
    if spatial:
        raise UsageError(
            f"match={what!r} resizes images, and the data set has {spatial}; leave it"
            " out, and make the pool in the real images' size and codec"
        )
    if what == "real":
        return Matcher(what, real)
    return Matcher(what, min(kinds, key=lambda kind: kind.side))
