"""Laws of headers: size and orientation as Pillow sees them, no crash, no bomb."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sets import photo

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.errors import LimitExceeded, SampleBroken, UsageError

ORIENTATIONS = range(1, 9)
PIXELS = photo(0, 41, 57)


def saved(kind, pixels=PIXELS, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_block(orientation, order="<", tag_type=3):
    """Return an EXIF block with two entries, written without Pillow."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, 2)
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[tag_type], orientation)
    first = struct.pack(order + "HHIHH", 0x0100, 3, 1, 57, 0)
    second = struct.pack(order + "HHI", 0x0112, tag_type, 1) + value
    return head + first + second + bytes(4)


def jpeg_with(exif, **options):
    data = saved("JPEG", **options)
    segment = b"Exif\0\0" + exif
    return (
        data[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(segment) + 2)
        + segment
        + data[2:]
    )


def chunk(kind, data):
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_with(exif, *, late=False):
    data = saved("PNG")
    at = len(data) - 12 if late else 33
    return data[:at] + chunk(b"eXIf", exif) + data[at:]


def as_pillow_sees(data):
    """Return (stored size, upright size, orientation)."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        orientation = image.getexif().get(0x0112, 1)
        return ImageOps.exif_transpose(image).size, orientation


def same_as_pillow(data, kind):
    header = read_header(data)

    assert header.format == kind
    assert (header.width, header.height) == (57, 41)
    assert (header.upright, header.orientation) == as_pillow_sees(data)
    assert read_header(memoryview(data)) == header


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_jpeg_is_turned_as_its_exif_says(orientation, order):
    exif = tiff_block(orientation, order)
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        same_as_pillow(jpeg_with(exif, **options), "jpeg")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_png_is_turned_as_its_exif_says(orientation, late):
    """Some tools write the chunk behind the pixels."""
    same_as_pillow(png_with(tiff_block(orientation), late=late), "png")


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_webp_is_turned_as_its_exif_says(orientation, lossless):
    exif = Image.Exif()
    exif[0x0112] = orientation
    same_as_pillow(saved("WEBP", lossless=lossless, exif=exif), "webp")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_is_turned_as_its_tag_says(orientation):
    data = saved("TIFF", tiffinfo={0x0112: orientation})
    header = read_header(data)

    assert header == ("tiff", 57, 41, orientation)
    assert header.upright == ((41, 57) if orientation >= 5 else (57, 41))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}),
     ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {}), ("TIFF", {}),
     ("PPM", {})],
)  # fmt: skip
def test_a_file_without_exif_is_upright(kind, options):
    data = saved(kind, **options)
    kind = kind.lower()

    assert read_header(data) == (kind, 57, 41, 1)


@pytest.mark.parametrize("kind", [1, 4])
def test_an_orientation_of_another_type_is_none(kind):
    """The standard has a 16-bit number here."""
    assert read_header(jpeg_with(tiff_block(6, tag_type=kind))).orientation == 1


@pytest.mark.parametrize(
    "exif",
    [b"", b"II", b"II*\0\xff\xff\xff\xff", tiff_block(0), tiff_block(9),
     b"XX" + tiff_block(6)[2:], tiff_block(6)[:30]],
    ids=list("abcdefg"),
)  # fmt: skip
def test_an_exif_that_makes_no_sense_turns_nothing(exif):
    assert read_header(jpeg_with(exif)).orientation == 1
    assert read_header(png_with(exif)).orientation == 1


FILES = {
    "jpeg": jpeg_with(tiff_block(6)),
    "progressive": saved("JPEG", progressive=True),
    "png": png_with(tiff_block(6)),
    "lossy": saved("WEBP"),
    "lossless": saved("WEBP", lossless=True),
    "extended": saved("WEBP", exif=tiff_block(6)),
    "bmp": saved("BMP"),
    "gif": saved("GIF"),
    "tiff": saved("TIFF"),
    "ppm": saved("PPM"),
}


@given(st.sampled_from(sorted(FILES)), st.data())
@settings(deadline=None, max_examples=200)
def test_damage_to_a_header_is_a_broken_sample_and_nothing_else(name, data):
    content = bytearray(FILES[name])
    for at in data.draw(
        st.lists(st.integers(0, min(len(content), 120) - 1), max_size=6)
    ):
        content[at] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        header = read_header(cut)
    except (SampleBroken, LimitExceeded):  # Pillow has a limit of its own
        return
    else:
        assert header.width > 0
        assert header.height > 0
        assert 1 <= header.orientation <= 8


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=100)
def test_random_bytes_are_a_broken_sample(noise):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X"):
        try:
            read_header(start + noise)
        except SampleBroken:
            continue


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png", "lossy", "extended"])
def test_every_cut_before_the_size_is_a_broken_sample(name):
    whole = read_header(FILES[name])
    for size in range(len(FILES[name])):
        try:
            assert read_header(FILES[name][:size])[:3] == whole[:3]
        except SampleBroken:
            assert size < 300


def test_an_image_without_pixels_is_broken():
    png = bytearray(FILES["png"])
    png[16:20] = bytes(4)

    with pytest.raises(SampleBroken, match="0x41 px"):
        read_header(png)


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"%PDF-1.4",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\1\0\1\0\x10\x10\0\0\1\0 \0\4\0\0\0\x16\0\0\0",
        b"",
        b"\0" * 64,
    ],
    ids=["eps", "pdf", "svg", "ico", "empty", "zeros"],
)
def test_the_table_of_decoders_is_closed(content):
    """Pillow would hand an EPS file to a program."""
    with pytest.raises(SampleBroken, match="no image"):
        read_header(content)


def png_of(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [(8000, 8000, True), (8001, 8000, False), (16_384, 1, True), (16_385, 1, False),
     (1, 16_385, False), (2**31, 2**31, False)],
)  # fmt: skip
def test_an_image_above_the_limits_is_refused_by_its_header(width, height, fits):
    header = read_header(png_of(width, height))
    if fits:
        ImageLimits().check(header)
        return
    with pytest.raises(
        LimitExceeded, match=f"{width}x{height} px; the limits are 64000"
    ):
        ImageLimits().check(header)


@pytest.mark.parametrize("side", [9_500, 14_000])
@pytest.mark.filterwarnings("ignore:Image size")
def test_an_image_above_pillows_own_limit_is_above_a_limit(side):
    """Pillow warns of the first and raises of the second; both are no damage."""
    bmp = bytearray(FILES["bmp"])
    bmp[18:26] = struct.pack("<ii", side, side)

    with pytest.raises(LimitExceeded, match=r"Pillow's own|limits are"):
        ImageLimits().check(read_header(bytes(bmp)))


@pytest.mark.parametrize("limits", [{"pixels": 0}, {"side": 0}])
def test_a_limit_is_at_least_one_pixel(limits):
    with pytest.raises(UsageError, match=">= 1"):
        ImageLimits(**limits)


def test_the_upright_size_swaps_for_the_four_quarter_turns():
    sizes = [read_header(jpeg_with(tiff_block(o))).upright for o in ORIENTATIONS]

    assert np.array_equal(sizes, [(57, 41)] * 4 + [(41, 57)] * 4)
