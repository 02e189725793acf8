"""Laws of PNG chunks: whole or refused, and a still picture of every animation."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.decode.png import still_png
from fiberaug.errors import LimitExceeded, SampleBroken

PIXELS = photo(3, 20, 30)


def chunk(kind, data):
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_of(pixels, color, bits=8, before=b"", after=b""):
    """Return a PNG of pixels [H, W, C] written without any library."""
    rows = pixels.astype(f">u{bits // 8}")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(
        ">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, color, 0, 0, 0
    )
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before
        + chunk(b"IDAT", zlib.compress(raw)) + after + chunk(b"IEND", b"")
    )  # fmt: skip


def animated(first, second, **options):
    buffer = io.BytesIO()
    Image.fromarray(first).save(
        buffer, "PNG", save_all=True, append_images=[Image.fromarray(second)], **options
    )
    return buffer.getvalue()


def decoded(data, **options):
    return decode_image(data, limits=ImageLimits(), **options)[0]


def test_a_file_without_animation_is_handed_on_as_it_is():
    data = png_of(PIXELS, 2)

    assert still_png(data).data is data


def test_an_animation_gives_its_first_frame():
    data = animated(PIXELS, 255 - PIXELS)
    still = bytes(still_png(memoryview(data)).data)

    assert b"acTL" in data
    assert not any(kind in still for kind in (b"acTL", b"fcTL", b"fdAT"))
    assert np.array_equal(decoded(data), PIXELS)


def test_an_animation_with_another_picture_for_old_readers_gives_that():
    data = animated(PIXELS, 255 - PIXELS, default_image=True)

    assert np.array_equal(decoded(data), PIXELS)


def test_frames_of_16_bits_give_the_same_upper_8_as_a_still():
    """OpenCV rounds them in animations."""
    deep = np.arange(20 * 30 * 4, dtype=np.uint16).reshape(20, 30, 4) * 27
    frame = struct.pack(">IIIIIHHBB", 0, 30, 20, 0, 0, 1, 10, 0, 0)
    before = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", frame)
    data = png_of(deep, 6, 16, before)

    assert np.array_equal(decoded(data), deep[..., :3] >> 8)
    assert np.array_equal(decoded(data, color="keep", depth="keep"), deep)


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("bits", [8, 16])
def test_channels_and_bits_are_kept_as_they_are_stored(color, channels, bits):
    pixels = np.random.default_rng(1).integers(0, 2**bits, (7, 5, channels))
    data = png_of(pixels, color, bits)

    kept = decoded(data, color="keep", depth="keep")

    assert kept.dtype == f"uint{bits}"
    assert np.array_equal(kept, pixels)
    assert np.array_equal(decoded(data, color="keep"), pixels >> (bits - 8))


@pytest.mark.parametrize(("color", "key"), [(0, ">H"), (2, ">HHH")])
def test_a_colour_key_is_no_channel(color, key):
    pixels = np.full((3, 4, 1 if color == 0 else 3), 9)
    pixels[0, 0] = 5
    clear = chunk(b"tRNS", struct.pack(key, *[9] * (len(key) - 1)))
    data = png_of(pixels, color, before=clear)

    assert np.array_equal(decoded(data, color="keep"), pixels)


@given(st.integers(0, len(animated(PIXELS, 255 - PIXELS)) - 1))
def test_a_cut_is_noticed_before_libpng_can_speak(size):
    data = animated(PIXELS, 255 - PIXELS)
    if size < 33:
        return
    with pytest.raises(SampleBroken, match="cut"):
        still_png(data[:size])


def test_a_file_that_starts_with_another_chunk_is_refused():
    data = png_of(PIXELS, 2)
    text = chunk(b"tEXt", b"a\0bcdefgh")

    with pytest.raises(SampleBroken, match="no header"):
        decoded(data[:8] + text + data[8:])


@given(st.integers(0, len(png_of(PIXELS, 2)) - 1), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_byte_is_noticed_by_its_check_sum(capfd, at, change):
    data = bytearray(png_of(PIXELS, 2))
    data[at] ^= change

    with pytest.raises((SampleBroken, LimitExceeded)):
        decoded(bytes(data))
    assert capfd.readouterr() == ("", "")
