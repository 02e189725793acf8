"""Laws of depth: numbers of more than 8 bits are kept, or their upper 8 are taken."""

import struct

import cv2
import numpy as np
import pytest
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import SampleBroken

PIXELS = photo(1, 41, 57)
ALPHA = photo(4, 41, 57)[..., :1]


def decoded(data, color="keep", depth="keep"):
    pixels, header = decode_image(data, limits=ImageLimits(), color=color, depth=depth)
    assert pixels.ndim == 3
    assert pixels.flags.c_contiguous
    assert pixels.shape[1::-1] == header.upright
    return pixels


def luma(pixels):
    if pixels.shape[2] < 3:
        return pixels[..., :1].astype(float)
    return pixels[..., :3].astype(float) @ [[0.299], [0.587], [0.114]]


DEEP = (PIXELS.astype(np.uint16) << 8) | photo(5, 41, 57)


def tiff_of(pixels, *, kind=1, photometric=None, extra=None, bits=None, order="<"):
    """Return a TIFF of pixels [H, W, C] that is written without any library."""
    height, width, many = pixels.shape
    bits = pixels.dtype.itemsize * 8 if bits is None else bits
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    colour = (1 if many < 3 else 2) if photometric is None else photometric
    tags = {256: [width], 257: [height], 258: [bits] * many, 259: [1], 262: [colour],
            273: [0], 277: [many], 278: [height], 279: [len(body)]}  # fmt: skip
    tags |= {} if extra is None else {338: [extra]}
    tags |= {} if kind == 1 else {339: [kind] * many}
    start = 8 + 2 + 12 * len(tags) + 4
    lists = {t: struct.pack(f"{order}{len(v)}H", *v) for t, v in tags.items()
             if len(v) > 2}  # fmt: skip
    tags[273] = [start + sum(map(len, lists.values()))]
    entries, blob = b"", b""
    for tag, values in sorted(tags.items()):
        entries += struct.pack(
            order + "HHI", tag, 3 if tag in lists else 4, len(values)
        )
        entries += struct.pack(
            order + "I", start + len(blob) if tag in lists else values[0]
        )
        blob += lists.get(tag, b"")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + blob + body


def ppm_of(pixels, most):
    head = f"P{5 if pixels.shape[2] == 1 else 6}\n# {most}\n57 41\n{most}\n".encode()
    return head + pixels.astype(">u2" if most > 255 else "u1").tobytes()


def png16(pixels):
    order = [2, 1, 0, 3][: pixels.shape[2]] if pixels.shape[2] > 1 else [0]
    return cv2.imencode(".png", pixels[..., order])[1].tobytes()


ALPHA16 = ALPHA.astype(np.uint16) * 257
DEEP_FILES = {
    "png gray": (png16(DEEP[..., :1]), DEEP[..., :1]),
    "png rgb": (png16(DEEP), DEEP),
    "png rgba": (png16(np.dstack([DEEP, ALPHA16])), np.dstack([DEEP, ALPHA16])),
    "tiff gray": (tiff_of(DEEP[..., :1]), DEEP[..., :1]),
    "tiff gray >": (tiff_of(DEEP[..., :1], order=">"), DEEP[..., :1]),
    "tiff white 0": (tiff_of(~DEEP[..., :1], photometric=0), DEEP[..., :1]),
    "tiff rgb": (tiff_of(DEEP), DEEP),
    "tiff rgb >": (tiff_of(DEEP, order=">"), DEEP),
    "tiff rgba": (tiff_of(np.dstack([DEEP, ALPHA16]), extra=2),
                  np.dstack([DEEP, ALPHA16])),
    "tiff rgbx": (tiff_of(np.dstack([DEEP, ALPHA16]), extra=0), DEEP),
    "pgm": (ppm_of(DEEP[..., :1], 65_535), DEEP[..., :1]),
    "ppm": (ppm_of(DEEP, 65_535), DEEP),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP_FILES)
def test_16_bits_are_kept_or_their_upper_8_are_taken(name):
    data, truth = DEEP_FILES[name]
    colour = truth[..., :3] if truth.shape[2] >= 3 else truth.repeat(3, 2)

    for color, pixels in (("keep", truth), ("rgb", colour)):
        found = decoded(data, color)
        assert found.dtype == np.uint16
        assert np.array_equal(found, pixels)
        assert np.array_equal(decoded(data, color, "uint8"), pixels >> 8)
    assert np.abs(decoded(data, "gray") - luma(truth)).max() <= 2  # fixed point
    assert np.abs(decoded(data, "gray", "uint8") - luma(truth >> 8)).max() <= 0.51


@pytest.mark.parametrize("most", [1023, 4095, 100])
@pytest.mark.parametrize("many", [1, 3])
def test_a_ppm_of_another_maximum_fills_the_range(most, many):
    full = 65_535 if most > 255 else 255
    pixels = (DEEP[..., :many] % (most + 1)).astype(np.uint16)
    data = ppm_of(pixels, most)

    found = decoded(data)

    assert found.dtype == (np.uint16 if most > 255 else np.uint8)
    assert np.abs(found - pixels * (full / most)).max() < 0.501
    assert np.array_equal(decoded(data, depth="uint8"), found >> (8 * (most > 255)))


def test_12_bits_of_a_tiff_fill_the_range():
    pairs = np.arange(0, 4096, 3)[: 40 * 20].reshape(-1, 2)
    packed = [(a >> 4, (a & 15) << 4 | b >> 8, b & 255) for a, b in pairs.tolist()]
    body = np.array(packed, np.uint8).reshape(20, 60, 1)
    data = bytearray(tiff_of(body, bits=12))
    data[data.index(struct.pack("<HHII", 256, 4, 1, 60)) + 8] = 40
    truth = pairs.reshape(20, 40)

    assert np.array_equal(decoded(bytes(data))[..., 0] >> 4, truth)
    assert decoded(bytes(data)).max() == (truth.max() << 4 | truth.max() >> 8)
    assert np.array_equal(decoded(bytes(data), depth="uint8")[..., 0], truth >> 4)


NUMBERS = (DEEP[..., :1].astype(np.int64) - 30_000) * 7


@pytest.mark.parametrize(
    ("kind", "dtype"), [(3, "float32"), (2, "int32"), (1, "uint32"), (2, "int16"),
                        (2, "int8")],
)  # fmt: skip
def test_numbers_of_a_tiff_without_a_range_are_kept_and_never_guessed(kind, dtype):
    info = np.iinfo(dtype) if kind != 3 else None
    pixels = NUMBERS / 3 if info is None else NUMBERS % 100 + max(info.min, -50)
    pixels = pixels.astype(dtype)
    data = tiff_of(pixels, kind=kind)

    kept = decoded(data)

    assert kept.dtype == np.float32
    assert np.array_equal(kept, pixels)
    assert np.array_equal(decoded(data, "rgb"), pixels.repeat(3, 2).astype(np.float32))
    for color in ("rgb", "gray", "keep"):
        with pytest.raises(SampleBroken, match="'depth': 'keep'"):
            decoded(data, color, "uint8")


def test_unsigned_numbers_are_not_taken_for_negative_ones():
    for value, words in ((2**24 - 1, None), (2**32 - 1, "cannot hold exactly")):
        data = tiff_of(np.full((41, 57, 1), value, np.uint32))
        if words is None:
            assert (decoded(data) == value).all()
            continue
        with pytest.raises(SampleBroken, match=words):
            decoded(data)


def test_a_float_map_is_kept():
    values = np.linspace(-1, 2, 41 * 57, dtype="<f4").reshape(41, 57)
    data = b"Pf\n57 41\n-1.0\n" + values[::-1].tobytes()

    assert np.array_equal(decoded(data)[..., 0], values)
    with pytest.raises(SampleBroken, match="float32 pixels"):
        decoded(data, "rgb", "uint8")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_floats_that_no_decoder_knows_are_refused(dtype):
    with pytest.raises(SampleBroken, match="no image"):
        decoded(tiff_of(PIXELS[..., :1].astype(dtype), kind=3))


def test_colours_multiplied_by_alpha_are_undone_or_refused():
    alpha = np.full((41, 57, 1), 128, np.uint8)
    stored = (PIXELS * (128 / 255)).round().astype(np.uint8)
    eight = tiff_of(np.dstack([stored, alpha]), extra=1)
    deep = tiff_of(np.dstack([stored, alpha]).astype(np.uint16) * 257, extra=1)

    assert np.abs(decoded(eight)[..., :3].astype(int) - PIXELS).max() <= 2
    assert np.abs(decoded(deep, "rgb", "uint8").astype(int) - PIXELS).max() <= 2
    with pytest.raises(SampleBroken, match="multiplied by their alpha"):
        decoded(deep)
