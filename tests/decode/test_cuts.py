"""Laws of files that end too early: the whole picture or an error, never a filler."""

import io

import numpy as np
import pytest
from PIL import Image
from sets import photo

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.pending import PendingImage
from fiberaug.errors import SampleBroken

FLAT = photo(2, 120, 160)
NOISE = np.random.default_rng(0).integers(-20, 20, FLAT.shape)
NOISY = (FLAT + NOISE).clip(0, 255).astype(np.uint8)
DEEP = Image.fromarray(FLAT[..., 0].astype(np.uint16) * 257)
OPTIONS = [("rgb", "uint8"), ("keep", "keep")]


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def many(kind, **options):
    rest = [Image.fromarray(255 - FLAT)]
    return saved(FLAT, kind, save_all=True, append_images=rest, **options)


CUTS = {
    "jpeg": lambda p: saved(p, "JPEG"),
    "progressive": lambda p: saved(p, "JPEG", progressive=True),
    "restarts": lambda p: saved(p, "JPEG", restart_marker_rows=1),
    "png": lambda p: saved(p, "PNG"),
    "interlaced": lambda p: saved(p, "PNG", interlace=1),
    "palette": lambda p: saved(Image.fromarray(p).quantize(16), "PNG"),
    "lossy webp": lambda p: saved(p, "WEBP"),
    "lossless webp": lambda p: saved(p, "WEBP", lossless=True),
    "animated webp": lambda _: many("WEBP"),
    "bmp": lambda p: saved(p, "BMP"),
    "bmp of 8 bits": lambda p: saved(Image.fromarray(p).quantize(16), "BMP"),
    "bmp of 1 bit": lambda p: saved(Image.fromarray(p).convert("1"), "BMP"),
    "tiff": lambda p: saved(p, "TIFF"),
    "tiff lzw": lambda p: saved(p, "TIFF", compression="tiff_lzw"),
    "tiff deflate": lambda p: saved(p, "TIFF", compression="tiff_deflate"),
    "tiff of 16 bits": lambda _: saved(DEEP, "TIFF"),
    "ppm": lambda p: saved(p, "PPM"),
    "pgm": lambda p: saved(Image.fromarray(p).convert("L"), "PPM"),
    "pbm": lambda p: saved(Image.fromarray(p).convert("1"), "PPM"),
}


def cuts_of(size):
    return sorted({*range(0, size, size // 40), *range(max(0, size - 12), size)})


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("pixels", [FLAT, NOISY], ids=["flat", "noisy"])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_cut_file_is_broken_wherever_it_is_cut(name, pixels, capfd):
    """A decoder that fills up with gray would train on gray."""
    data = CUTS[name](pixels)
    for color, depth in OPTIONS:
        decode_image(data, limits=ImageLimits(), color=color, depth=depth)
        for size in cuts_of(len(data)):
            with pytest.raises(SampleBroken) as caught:
                decode_image(
                    data[:size], limits=ImageLimits(), color=color, depth=depth
                )
            assert caught.value.stage == "decode"
    assert capfd.readouterr() == ("", ""), "the error says it, no library does"


@pytest.mark.parametrize("name", ["gif", "animated gif", "animated png"])
def test_a_cut_behind_the_first_frame_takes_nothing_from_it(name):
    """What is missing is another frame, or the byte that ends a GIF."""
    kind = {"gif": "GIF", "animated gif": "GIF", "animated png": "PNG"}[name]
    data = many(kind) if name.startswith("animated") else saved(FLAT, kind)
    whole, _ = decode_image(data, limits=ImageLimits())
    whole_ones = 0
    for size in cuts_of(len(data)):
        try:
            found, _ = decode_image(data[:size], limits=ImageLimits())
        except SampleBroken:
            continue
        whole_ones += 1
        assert np.array_equal(found, whole)
    assert bool(whole_ones) is (kind == "GIF")


@pytest.mark.parametrize("name", ["png", "palette", "tiff", "bmp of 8 bits", "pgm"])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_cut_mask_is_broken_wherever_it_is_cut(name):
    data = CUTS[name](FLAT) if name != "png" else saved(FLAT[..., 0], "PNG")
    data = saved(FLAT[..., 0], "TIFF") if name == "tiff" else data
    decode_mask(data, limits=ImageLimits())
    for size in cuts_of(len(data)):
        with pytest.raises(SampleBroken):
            decode_mask(data[:size], limits=ImageLimits())


def test_a_cut_that_something_else_fills_up_cannot_be_noticed():
    """docs/decoding.md says so: the file is whole by every rule of its format."""
    jpeg, bmp = saved(NOISY, "JPEG"), saved(NOISY, "BMP")
    for data in (jpeg[: len(jpeg) // 2] + b"\xff\xd9", bmp[:20_000].ljust(len(bmp))):
        pixels, _ = decode_image(data, limits=ImageLimits())
        assert pixels.shape == NOISY.shape


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_memory_that_is_not_there_breaks_one_sample(kind, monkeypatch):
    def no_memory(*_args, **_options):
        raise MemoryError("none left")

    data = saved(FLAT, kind)
    for name in ("decode_rgb", "decode_native", "decode_upright"):
        monkeypatch.setattr(f"fiberaug.decode.image.{name}", no_memory)
    monkeypatch.setattr("fiberaug.decode.region.image_buffer", no_memory)
    monkeypatch.setattr("fiberaug.decode.region.decode_reduced", no_memory)
    for color, depth in OPTIONS:
        with pytest.raises(SampleBroken, match="MemoryError: none left"):
            decode_image(data, limits=ImageLimits(), color=color, depth=depth)
    for sound in (False, True) if kind == "JPEG" else ():
        image = PendingImage(data, read_header(data), sound=sound)
        with pytest.raises(SampleBroken, match="MemoryError: none left"):
            image.window((0, 0, 3, 3))
    if kind == "JPEG":
        for sound in (False, True):
            image = PendingImage(data, read_header(data), sound=sound)
            with pytest.raises(SampleBroken, match="MemoryError: none left"):
                image.window((0, 0, 3, 3))
