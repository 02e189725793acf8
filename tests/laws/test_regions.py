"""Ten thousand random windows of files of every kind are the whole, decoded and cut."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile
from sets import DATA, turned

from fiberaug.decode import turbo
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.opencv import decode_reduced
from fiberaug.decode.orientation import upright
from fiberaug.decode.region import decode_part
from fiberaug.errors import SampleBroken

LIMITS = ImageLimits()


@pytest.fixture(autouse=True)
def _room(monkeypatch):
    """Let Pillow write what is larger than its guess."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**22)


def rendered(rng):
    """A JPEG of any sampling, size, scan order, interval and orientation."""
    height, width = rng.integers(8, 400, 2)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.3, 3)))
    options = {"quality": int(rng.integers(30, 100))}
    if rng.random() < 0.15:
        picture = picture.convert("L")
    else:
        options["subsampling"] = int(rng.integers(0, 3))
    if rng.random() < 0.3:
        options["progressive"] = True
    elif rng.random() < 0.5:
        where = ["restart_marker_rows", "restart_marker_blocks"][rng.integers(2)]
        options[where] = int(rng.integers(1, 5))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **options)
    return turned(stream.getvalue(), int(rng.integers(1, 9)))


def window(rng, width, height):
    (x0, x1), (y0, y1) = (np.sort(rng.integers(0, n + 1, 2)) for n in (width, height))
    return int(x0), int(y0), int(max(x1, x0 + 1)), int(max(y1, y0 + 1))


def check(data, rng, count):
    """Compare windows, exact and reduced; return how many were decoded as parts."""
    header, parts = read_header(data), 0
    whole, _ = decode_image(data, limits=LIMITS)
    for n in range(count):
        factor = [1, 1, 1, 2, 4, 8][n % 6]
        image = whole
        if factor > 1:
            image = upright(decode_reduced(data, header, factor), header.orientation)
        height, width = image.shape[:2]
        box = window(rng, width - 1, height - 1) if min(width, height) > 1 else None
        if box is None:
            continue
        part = decode_part(data, header, box, factor=factor)
        if part is not None:
            parts += 1
            assert np.array_equal(part, image[box[1] : box[3], box[0] : box[2]]), (
                box, factor, header,
            )  # fmt: skip
    return parts


@pytest.mark.parametrize("seed", range(8))
def test_of_rendered_files(seed):
    rng = np.random.default_rng(seed)
    parts = sum(check(rendered(rng), rng, 12) for _ in range(15))
    assert parts > (140 if turbo.available() else 20)


def damaged(rng):
    """A JPEG in whose code some bytes are others: decoders may take it all the same."""
    data = bytearray(rendered(rng))
    start = data.index(b"\xff\xda") + 14
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(start, len(data) - 2))
        data[at] = 0xFF if rng.random() < 0.3 else int(rng.integers(256))
    return bytes(data)


@pytest.mark.parametrize("seed", range(6))
def test_of_damaged_files_that_decode_all_the_same(seed):
    """So what a run learns of them changes no pixel of a later epoch."""
    rng, decoded = np.random.default_rng(seed), 0
    for _ in range(60):
        data = damaged(rng)
        try:
            decode_image(data, limits=LIMITS)
        except SampleBroken:
            continue
        check(data, rng, 6)
        decoded += 1
    assert decoded > 5


@pytest.mark.slow
def test_ten_thousand_of_rendered_files():
    rng = np.random.default_rng(100)
    parts = sum(check(rendered(rng), rng, 12) for _ in range(1000))
    assert parts > 10_000 or not turbo.available()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_ten_thousand_of_real_photos():
    rng, parts = np.random.default_rng(0), 0
    for pattern, count in (
        ("clothing-small/train/*/*.jpg", 4), ("bccd/JPEGImages/*.jpg", 6),
        ("big-photos/*.jp*g", 18), ("exif-orientation/*.jpg", 30),
    ):  # fmt: skip
        for path in sorted(DATA.glob(pattern)):
            parts += check(path.read_bytes(), rng, count)
    assert parts > 10_000 or not turbo.available()
