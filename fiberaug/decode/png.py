"""The chunks of a PNG: whole or cut, with which channels, and without its animation."""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from fiberaug.errors import SampleBroken

__all__ = ["StillPng", "still_png"]

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_CHECK = struct.Struct(">I")
_CHUNK = struct.Struct(">I4s")
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})


class StillPng(NamedTuple):
    """A PNG without animation."""

    data: bytes | memoryview
    """The file; only an animated one is written anew."""

    channels: int
    """Of the pixels as ``keep`` has them: a palette is RGB or RGBA."""


def still_png(data: bytes | memoryview) -> StillPng:
    """Return the picture of a PNG that readers show who know no animation.

    In an animated PNG this is the first frame, unless the file keeps another picture
    for such readers. Decoders disagree on frames, and not on this picture.

    Raises:
        SampleBroken: The file ends before its last chunk does, or a check sum of what
            a picture needs is wrong; libpng would print its refusal.
    """
    transparent, at = False, 8
    left_out = []
    while True:
        end = at + 12
        if end <= len(data):
            length, kind = _CHUNK.unpack_from(data, at)
            end += length
        if end > len(data):
            raise SampleBroken(
                f"the PNG of {len(data)} bytes is cut: it ends before its last chunk",
                stage="decode",
            )
        if kind in _CRITICAL:
            (check,) = _CHECK.unpack_from(data, end - 4)
            if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != check:
                raise SampleBroken(
                    f"the PNG is damaged: chunk {kind.decode()} at byte {at} has"
                    " another check sum",
                    stage="decode",
                )
        if kind in _ANIMATION:
            left_out.append((at, end))
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"IEND":
            break
        at = end
    channels = {0: 1, 3: 3 + transparent, 4: 2, 6: 4}.get(data[25], 3)
    return StillPng(_without(data, left_out) if left_out else data, channels)


def _without(
    data: bytes | memoryview, left_out: Sequence[tuple[int, int]]
) -> bytes | memoryview:
    ends = [0, *(end for _, end in left_out)]
    starts = [*(start for start, _ in left_out), len(data)]
    return b"".join(data[a:b] for a, b in zip(ends, starts, strict=True))
