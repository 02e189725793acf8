"""Laws of pixels: upright RGB like Pillow's, and a broken file is one broken sample."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask, save_image
from fiberaug.errors import LimitExceeded, SampleBroken, StoreError

PIXELS = photo(1, 41, 57)
LIMITS = ImageLimits()
CANNOT = {"JPEG": ("LA", "P", "RGBA"), "BMP": ("LA",), "PPM": ("LA", "P")}


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_pillow_decodes(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def decoded(data):
    pixels, header = decode_image(data, limits=LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1::-1] == header.upright
    assert pixels.flags.c_contiguous
    return pixels


def with_orientation(image, kind, orientation, **options):
    if kind == "TIFF":
        return saved(image, kind, tiffinfo={0x0112: orientation}, **options)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}),
     ("TIFF", {"compression": "tiff_lzw"})],
)  # fmt: skip
def test_pixels_are_pillows_upright_pixels(kind, options, orientation):
    data = with_orientation(PIXELS, kind, orientation, **options)

    assert np.array_equal(decoded(data), as_pillow_decodes(data))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 60}), ("JPEG", {"progressive": True}),
     ("JPEG", {"subsampling": 0}), ("PNG", {}), ("WEBP", {}), ("BMP", {}), ("GIF", {}),
     ("TIFF", {}), ("PPM", {})],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_pillows_rgb(mode, kind, options):
    """Gray is repeated, a palette is looked up, alpha is dropped."""
    image = Image.fromarray(PIXELS).convert(mode)
    if mode in {"LA", "RGBA"}:
        image.putalpha(Image.fromarray(PIXELS[..., 0]))
    if mode in CANNOT.get(kind, ()):
        with pytest.raises(OSError, match="cannot write mode"):
            saved(image, kind, **options)
        return
    data = saved(image, kind, **options)

    assert np.array_equal(decoded(data), as_pillow_decodes(data))


def test_cmyk_is_converted_without_a_profile():
    """Each channel is ink times black: red is full where cyan and black have none."""
    data = saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95)
    pixels = decoded(data).astype(int)

    assert np.abs(pixels - as_pillow_decodes(data)).max() <= 1
    inks = [Image.new("CMYK", (8, 8), ink) for ink in
            [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)]]  # fmt: skip
    colours = [decoded(saved(image, "JPEG"))[4, 4] for image in inks]
    assert np.allclose(colours, [[255, 255, 255], [0, 255, 255], [0, 0, 0]], atol=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_8_are_kept(kind):
    deep = np.arange(0, 65_536, 37, dtype=np.uint16)[:1600].reshape(40, 40)

    pixels = decoded(saved(deep, kind))

    assert np.array_equal(pixels, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_colours_of_16_bits_keep_their_order():
    deep = (PIXELS.astype(np.uint16) << 8) | 7
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()

    assert np.array_equal(decoded(data), PIXELS)


def test_limits_hold_before_pixels_are_decoded():
    data = saved(PIXELS, "PNG")
    small = ImageLimits(pixels=57 * 41 - 1)

    for decode in (decode_image, decode_mask):
        with pytest.raises(LimitExceeded, match="57x41"):
            decode(data[:60], limits=small)


def mask_of(image, kind="PNG", **options):
    return decode_mask(saved(image, kind, **options), limits=LIMITS)


def test_a_mask_has_the_ids_that_the_file_stores():
    ids = np.arange(30, dtype=np.uint8).reshape(5, 6)
    palette = Image.fromarray(ids, "L").convert("P")
    palette.putpalette([255 - i // 3 for i in range(768)])
    deep = ids.astype(np.uint16) * 2000

    for mask in (mask_of(ids), mask_of(palette), mask_of(ids, "TIFF")):
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, ids)
    one_bit = mask_of(Image.fromarray(ids % 2 == 1))
    assert np.array_equal(one_bit, ids % 2)
    assert one_bit.dtype == np.uint8
    assert np.array_equal(mask_of(deep), deep)
    assert mask_of(deep).dtype == np.int32


def test_a_webp_mask_is_gray_in_three_channels():
    """WebP has no other gray."""
    ids = np.arange(30, dtype=np.uint8).reshape(5, 6)

    assert np.array_equal(mask_of(ids, "WEBP", lossless=True), ids)
    with pytest.raises(SampleBroken, match="one channel"):
        mask_of(PIXELS, "WEBP", lossless=True)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_of_colours_is_refused(mode):
    with pytest.raises(SampleBroken, match="one channel of class ids"):
        mask_of(Image.fromarray(PIXELS).convert(mode))


def test_a_mask_of_fractions_is_refused():
    with pytest.raises(SampleBroken, match="class ids"):
        mask_of(np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3), "TIFF")


def test_a_saved_image_is_the_image(tmp_path):
    save_image(tmp_path / "a.png", PIXELS)
    save_image(tmp_path / "b.png", PIXELS.astype(np.float32) / 255)

    for name in ("a.png", "b.png"):
        assert np.array_equal(decoded((tmp_path / name).read_bytes()), PIXELS)
    for name in ("a.xyz", "no/a.png"):
        with pytest.raises(StoreError, match="cannot write"):
            save_image(tmp_path / name, PIXELS)
