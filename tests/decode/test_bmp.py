"""Laws of BMP: 5 bits fill the range, and a run that leaves the picture breaks it."""

import struct

import numpy as np
import pytest

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import SampleBroken


def bmp_of(width, height, bits, body, *, compression=0, palette=b""):
    start = 14 + 40 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0,
        len(palette) // 4, 0,
    )  # fmt: skip
    head = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start)
    return head + info + palette + body


def decoded(data, **options):
    return decode_image(data, limits=ImageLimits(), **options)[0]


def test_5_bits_fill_the_range():
    levels = np.arange(32, dtype="<u2")
    data = bmp_of(32, 1, 16, (levels << 10 | levels << 5 | levels).tobytes())

    for color in ("rgb", "keep"):
        pixels = decoded(data, color=color)
        assert np.abs(pixels[0] - levels[:, None] * (255 / 31)).max() < 1
        assert pixels.max() == 255


GRAYS = b"".join(bytes([i, i, i, 0]) for i in range(256))


@pytest.mark.parametrize("color", ["rgb", "gray", "keep"])
def test_run_lengths_are_unpacked_and_their_errors_are_refused(color):
    good = bytes([4, 7, 0, 0, 4, 9, 0, 0, 0, 1])
    bad = bytes([4, 7, 0, 0, 200, 9, 0, 0, 0, 1])

    def file(runs):
        return bmp_of(4, 2, 8, runs, compression=1, palette=GRAYS)

    assert decoded(file(good), color=color)[..., 0].tolist() == [[9] * 4, [7] * 4]
    for runs in (bad, good[:5]):
        with pytest.raises(SampleBroken, match="cut or damaged"):
            decoded(file(runs), color=color)
