"""Laws of HEIC and AVIF: the pixels as people see them, stored without loss."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps
from sets import photo

import fiberaug
from fiberaug.errors import LimitExceeded, SampleBroken
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources import heif
from fiberaug.jobs.sources.heif import as_png, is_heif

pillow_heif = pytest.importorskip("pillow_heif")


def encoded(pixels, kind="HEIF", **options):
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_file_becomes_a_png_of_its_pixels(kind):
    data = encoded(photo(3, 64, 96), kind, quality=100)
    assert is_heif(data)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(image.convert("RGB")).astype(int)
    with Image.open(io.BytesIO(as_png(data))) as image:
        assert image.format == "PNG"
        found = np.asarray(image).astype(int)

    assert np.abs(found - wanted).max() <= 2  # AVIF: two decoders
    assert np.abs(found - photo(3, 64, 96)).mean() < 12


def exif_of(orientation):
    """Saving takes the orientation out of what it is given."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright(orientation, brand):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:12, :40] = 255
    data = encoded(pixels, "AVIF", exif=exif_of(orientation), quality=100)
    data = data[:8] + brand + data[12:]
    with Image.open(io.BytesIO(as_png(data))) as image:
        found = np.asarray(image)
    same = io.BytesIO(encoded(pixels, "PNG", exif=exif_of(orientation)))
    with Image.open(same) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))

    assert found.shape == wanted.shape
    assert ((found > 127) == (wanted > 127)).mean() > 0.98


def test_a_folder_of_phone_photos_is_converted(tmp_path):
    for i in range(4):
        path = tmp_path / f"in/cat/{i}.{('heic', 'HEIC', 'avif', 'jpg')[i]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < 3:
            path.write_bytes(encoded(photo(i), "AVIF" if i == 2 else "HEIF"))
        else:
            path.write_bytes(encode_image(photo(i), "jpeg"))
    manifest = fiberaug.convert(tmp_path / "in", tmp_path / "out", progress=False)
    small = fiberaug.convert(
        tmp_path / "in", tmp_path / "small", encode="jpeg", progress=False
    )

    assert manifest.samples == small.samples == 4
    for name in ("out", "small"):
        data = fiberaug.StreamingDataset(tmp_path / name, train=False)
        shapes = {tuple(sample["image"].shape) for sample in data}
        assert shapes == {(3, 40, 48)}


def test_a_broken_file_is_left_out_with_the_reason(tmp_path):
    (tmp_path / "in").mkdir()
    whole = encoded(photo(1))
    (tmp_path / "in/cut.heic").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/a.heic").write_bytes(whole)
    manifest = fiberaug.convert(tmp_path / "in", tmp_path / "out", progress=False)

    assert manifest.samples == 1
    assert "cannot be decoded" in (tmp_path / "out/convert_errors.jsonl").read_text()


def test_limits_hold_before_pixels_are_made(monkeypatch):
    monkeypatch.setattr(heif, "ImageLimits", lambda: LIMITS)
    with pytest.raises(LimitExceeded):
        as_png(encoded(photo(1)))


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    data = encoded(photo(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SampleBroken, match=r'pip install "fiberaug\[heic\]"'):
        as_png(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\0\0\0\x18ftypisom", b"ftyp"])
def test_other_files_are_none(data):
    assert not is_heif(data)


LIMITS = fiberaug.decode.header.ImageLimits(pixels=100)
