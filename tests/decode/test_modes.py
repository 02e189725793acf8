"""Laws of colour and depth: each kind of file as each option says it, bit for bit."""

import io

import numpy as np
import pytest
from PIL import Image
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image

PIXELS = photo(1, 41, 57)
ALPHA = Image.fromarray(photo(4, 41, 57)[..., 0])


def decoded(data, color="keep", depth="keep"):
    pixels, header = decode_image(data, limits=ImageLimits(), color=color, depth=depth)
    assert pixels.ndim == 3
    assert pixels.flags.c_contiguous
    assert pixels.shape[1::-1] == header.upright
    return pixels


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode):
    image = Image.fromarray(PIXELS)
    if mode in {"LA", "RGBA"}:
        image = image.convert(mode)
        image.putalpha(ALPHA)
    return image.quantize(64) if mode == "P" else image.convert(mode)


def channels(mode):
    """Pixels of a picture as keep has them."""
    kept = {"1": "L", "P": "RGB"}.get(mode, mode)
    pixels = np.array(picture(mode).convert(kept))
    return pixels.reshape(41, 57, -1)


def luma(pixels):
    if pixels.shape[2] < 3:
        return pixels[..., :1].astype(float)
    return pixels[..., :3].astype(float) @ [[0.299], [0.587], [0.114]]


FILES = [
    ("PNG", {}, ("1", "L", "LA", "P", "RGB", "RGBA")),
    ("PNG", {"interlace": 1}, ("L", "RGBA")),
    ("TIFF", {}, ("1", "L", "LA", "P", "RGB", "RGBA")),
    ("TIFF", {"compression": "tiff_lzw"}, ("L", "LA", "RGB", "RGBA")),
    ("BMP", {}, ("1", "L", "P", "RGB")),
    ("PPM", {}, ("1", "L", "RGB")),
    ("GIF", {}, ("P",)),
    ("WEBP", {"lossless": True, "exact": True}, ("P", "RGB", "RGBA")),
]


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [(mode, kind, options) for kind, options, modes in FILES for mode in modes],
)
@pytest.mark.parametrize("depth", ["uint8", "keep"])
def test_a_lossless_file_gives_its_own_pixels(mode, kind, options, depth):
    data, truth = saved(picture(mode), kind, **options), channels(mode)
    colour = truth[..., :3] if truth.shape[2] >= 3 else truth[..., :1].repeat(3, 2)

    assert np.array_equal(decoded(data, "keep", depth), truth)
    assert np.array_equal(decoded(data, "rgb", depth), colour)
    gray = decoded(data, "gray", depth)
    assert gray.shape == (41, 57, 1)
    assert gray.dtype == np.uint8
    assert np.abs(gray - luma(truth)).max() <= 0.51


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options",
    [{"quality": 60}, {"progressive": True}, {"subsampling": 0}],
    ids=["baseline", "progressive", "444"],
)
def test_a_jpeg_gives_pillows_pixels(mode, options):
    data = saved(picture(mode), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        truth = np.array(image).reshape(41, 57, -1)

    assert np.array_equal(decoded(data), truth)
    assert np.array_equal(decoded(data, "rgb"), np.broadcast_to(truth, (41, 57, 3)))
    assert np.abs(decoded(data, "gray") - luma(truth)).max() <= 0.51


def test_a_progressive_jpeg_is_its_baseline_twin():
    """The same coefficients in another order."""
    twins = [
        decoded(saved(picture("RGB"), "JPEG", progressive=p)) for p in (False, True)
    ]

    assert np.array_equal(*twins)


@pytest.mark.parametrize(
    ("lossless", "kind"), [(True, "VP8L"), (False, "VP8 ")], ids=["lossless", "lossy"]
)
def test_a_webp_gives_pillows_pixels(lossless, kind):
    for mode in ("RGB", "RGBA"):
        data = saved(picture(mode), "WEBP", lossless=lossless)
        with Image.open(io.BytesIO(data)) as image:
            truth = np.array(image)
        assert kind.encode() in data
        assert np.array_equal(decoded(data), truth)
        assert np.array_equal(decoded(data, "rgb"), truth[..., :3])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_in_every_colour(kind):
    image = Image.fromarray(PIXELS).convert("CMYK")
    data = saved(image, kind)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == "CMYK"
        truth = np.array(stored.convert("RGB")).astype(int)

    for depth in ("uint8", "keep"):
        assert np.abs(decoded(data, "keep", depth) - truth).max() <= 1
        assert np.array_equal(decoded(data, "keep", depth), decoded(data, "rgb", depth))
        assert np.abs(decoded(data, "gray", depth) - luma(truth)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_transparency_is_rgba(kind):
    data = saved(picture("P"), kind, transparency=5)
    indices = np.array(picture("P"))
    opaque = np.where(indices == 5, 0, 255)

    kept = decoded(data)

    assert np.array_equal(kept[..., :3], channels("P"))
    assert np.array_equal(kept[..., 3], opaque)
    assert np.array_equal(decoded(data, "rgb"), channels("P"))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_gif_is_a_palette_also_where_it_looks_gray(mode):
    """One file of a set must not have other channels than the next."""
    gray = np.array(picture(mode).convert("L"))

    kept = decoded(saved(picture(mode), "GIF"))

    assert np.array_equal(kept, gray[..., None].repeat(3, 2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_keeps_its_colour(kind):
    """Alpha is dropped, and not multiplied in."""
    image = Image.fromarray(PIXELS)
    image.putalpha(0)
    more = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = saved(image, kind, **more)

    assert np.array_equal(decoded(data, "rgb"), PIXELS)
    assert np.array_equal(decoded(data, "rgb", "uint8"), PIXELS)
    assert not decoded(data)[..., 3].any()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
@pytest.mark.parametrize("color", ["rgb", "keep"])
def test_of_an_animation_the_first_frame_is_taken(kind, color):
    more = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(PIXELS).quantize(64) if kind == "GIF" else picture("RGB")
    other = Image.new(image.mode, image.size, 9)
    many = saved(image, kind, save_all=True, append_images=[other, other], **more)

    with Image.open(io.BytesIO(many)) as opened:
        assert opened.n_frames >= 2
    assert np.array_equal(decoded(many, color)[..., :3], np.array(image.convert("RGB")))


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_of_few_bits_fills_the_range(bits):
    levels = np.arange(2**bits, dtype=np.uint8)[None]
    data = saved(Image.fromarray(levels), "PNG", bits=bits)

    assert data[24] == bits
    assert np.array_equal(decoded(data)[0, :, 0], levels[0] * (255 // (2**bits - 1)))
