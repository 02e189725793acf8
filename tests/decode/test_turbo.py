"""A window decoded by libjpeg has the pixels of OpenCV's whole picture, cut."""

import io
import itertools
import random
import threading

import cv2
import numpy as np
import pytest
from PIL import Image
from rendered_jpegs import KINDS, render, soft_noise, windows
from sets import DATA

from fiberaug.decode import turbo
from fiberaug.decode.header import read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.errors import UsageError

pytestmark = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())

REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def whole(data, scale=1):
    if scale == 1:
        return decode_rgb(data, read_header(data))
    flags = REDUCED[scale] | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)[:, :, ::-1]


def differing(data, rng, count, scale=1):
    """Return the windows that are not those of the whole."""
    header, pixels = read_header(data), whole(data, scale)
    size = pixels.shape[1::-1]
    return [
        window
        for window in windows(rng, *size, count)
        if (
            part := turbo.decode_window(
                data, header.width, header.height, window, scale=scale
            )
        )
        is None
        or not np.array_equal(
            part, pixels[window[1] : window[3], window[0] : window[2]]
        )
    ]


def files(count, most):
    rng = random.Random(count)
    for number, kind in zip(range(count), itertools.cycle(KINDS)):
        size = rng.randint(1, most), rng.randint(1, most)
        yield kind, size, render(kind, *size, seed=number)


@pytest.mark.parametrize(
    ("count", "most", "each"),
    [(150, 150, 10), pytest.param(500, 400, 20, marks=pytest.mark.slow)],
)
def test_windows_of_every_kind_are_cut_out_of_the_whole(count, most, each):
    rng = random.Random(most)
    wrong = {
        (kind, size): found
        for kind, size, data in files(count, most)
        if (found := differing(data, rng, each))
    }
    assert wrong == {}


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_windows_of_reduced_pictures_are_cut_out_of_the_reduced_whole(scale):
    rng = random.Random(scale)
    wrong = {
        (kind, size): found
        for kind, size, data in files(80, 300)
        if (found := differing(data, rng, 6, scale))
    }
    assert wrong == {}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["clothing-small", "big-photos", "exif-orientation"])
def test_windows_of_photos_are_cut_out_of_the_whole(name):
    paths = sorted(p for p in (DATA / name).rglob("*") if p.suffix in {".jpg", ".jpeg"})
    if not paths:
        pytest.skip(f"{DATA / name} is not there")
    rng = random.Random(0)
    wrong = {
        path.name: found
        for path in paths[:: -(-len(paths) // 150)]
        if (found := differing(path.read_bytes(), rng, 8))
    }
    assert wrong == {}


def test_pixels_go_where_they_are_wanted():
    data = render("4:2:0 baseline", 60, 80)
    batch = np.zeros((3, 20, 30, 3), np.uint8)
    part = turbo.decode_window(data, 80, 60, (10, 15, 40, 35), out=batch[1])

    assert np.shares_memory(part, batch[1])
    assert np.array_equal(batch[1], whole(data)[15:35, 10:40])
    assert not batch[0].any()
    assert not batch[2].any()


def test_a_memoryview_is_as_good_as_bytes():
    data = render("4:2:0 baseline", 60, 80)
    view = memoryview(b"before" + data + b"behind")[6 : 6 + len(data)]
    part = turbo.decode_window(view, 80, 60, (0, 0, 80, 60))
    assert np.array_equal(part, whole(data))
    assert turbo.sound(view) is True
    assert turbo.with_restarts(view, interval_mcus=2) is not None


def test_what_is_behind_the_window_is_not_read():
    data = render("4:2:0 baseline", 400, 400)
    window = (0, 0, 400, 100)
    part = turbo.decode_window(data[: len(data) // 2], 400, 400, window)
    assert np.array_equal(part, whole(data)[:100])
    assert turbo.decode_window(data[: len(data) // 8], 400, 400, window) is None


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


PLAIN = render("gray baseline", 64, 64, seed=3)
FRAME = PLAIN.index(b"\xff\xc0")
PROGRESSIVE = render("4:2:0 progressive", 96, 96, seed=3)
LAST = PROGRESSIVE.rindex(b"\xff\xda")
INKS = np.dstack([soft_noise(0, 64, 64), soft_noise(1, 64, 64, gray=True)])
RARE = {
    "CMYK": saved(Image.fromarray(INKS, "CMYK")),
    "arithmetic": PLAIN.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "lossless": PLAIN.replace(b"\xff\xc0", b"\xff\xc3", 1).replace(
        b"\x00\x3f\x00", b"\x01\x00\x00", 1
    ),
    "12 bits": PLAIN[: FRAME + 4] + b"\x0c" + PLAIN[FRAME + 5 :],
    "without its last scan": PROGRESSIVE[:LAST] + b"\xff\xd9",
}
OTHERS = {
    "PNG": cv2.imencode(".png", soft_noise(0, 64, 64))[1].tobytes(),
    "nothing": b"",
}


@pytest.mark.parametrize("name", RARE)
def test_rare_kinds_are_left_to_opencv(name):
    data = RARE[name]
    side = read_header(data).width
    assert turbo.decode_window(data, side, side, (0, 0, side, side)) is None
    assert turbo.sound(data) is None
    assert turbo.with_restarts(data, interval_mcus=2) is None


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_left_to_opencv(name):
    data = OTHERS[name]
    assert turbo.decode_window(data, 64, 64, (0, 0, 64, 64)) is None
    assert turbo.sound(data) is False
    assert turbo.with_restarts(data, interval_mcus=2) is None


def test_a_file_of_another_size_than_announced_is_left_to_opencv():
    assert turbo.decode_window(PLAIN, 64, 64, (0, 0, 9, 9)) is not None
    assert turbo.decode_window(PLAIN, 64, 65, (0, 0, 9, 9)) is None
    assert turbo.decode_window(PLAIN, 32, 64, (0, 0, 9, 9)) is None


@pytest.mark.parametrize(
    ("window", "options", "words"),
    [
        ((0, 0, 65, 64), {}, "leaves the 64x64 px"),
        ((-1, 0, 64, 64), {}, "leaves the 64x64 px"),
        ((5, 5, 5, 9), {}, "is empty"),
        ((0, 0, 33, 32), {"scale": 2}, "32x32 px of the JPEG at 1/2"),
        ((0, 0, 9, 9), {"scale": 3}, "1, 2, 4 or 8, got 3"),
        ((0, 0, 9, 9), {"out": np.zeros((9, 8, 3), np.uint8)}, "out is uint8"),
        ((0, 0, 9, 9), {"out": np.zeros((9, 9, 3), np.int8)}, "out is uint8"),
        ((0, 0, 9, 9), {"out": np.zeros((9, 18, 3), np.uint8)[:, ::2]}, "contiguous"),
    ],
)
def test_a_wrong_argument_is_named(window, options, words):
    with pytest.raises(UsageError, match=words):
        turbo.decode_window(PLAIN, 64, 64, window, **options)


def test_threads_decode_at_once():
    work = [render(kind, 120, 130, seed=i) for i, kind in enumerate(KINDS)]
    expected = [whole(data) for data in work]
    together = threading.Barrier(8)
    wrong = []

    def decode(seed):
        rng = random.Random(seed)
        together.wait()
        for _ in range(200):
            number = rng.randrange(len(work))
            (window,) = windows(rng, 130, 120, 1)
            x0, y0, x1, y1 = window
            part = turbo.decode_window(work[number], 130, 120, window)
            if not np.array_equal(part, expected[number][y0:y1, x0:x1]):
                wrong.append((KINDS[number], window))

    threads = [threading.Thread(target=decode, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
