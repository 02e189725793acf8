"""A window cut out of a JPEG's bytes has the pixels of the whole, decoded and cut."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rendered_jpegs import KINDS, render
from sets import turned

from fiberaug.decode import turbo
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.opencv import decode_rgb
from fiberaug.decode.region import decode_part
from fiberaug.decode.restarts import find_ends, read_layout, unit_interval
from fiberaug.decode.seekable import cut_jpeg

LAW = settings(deadline=None, max_examples=400)
SAMPLING = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
UNIT = {"4:2:0": 16, "4:1:1": 32, "4:2:2": 16, "4:4:0": 8, "4:4:4": 8, "gray": 8}


def picture(seed, height, width, *, gray=False):
    """Noise that is soft enough to have colours, and sharp enough to leak over."""
    shape = (height, width) if gray else (height, width, 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 0.8) // 2 + noise // 2


def encoded(pixels, sampling, interval, quality=90):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    if sampling != "gray":
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]]
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def whole(data):
    return decode_image(data, limits=ImageLimits())[0]


@st.composite
def files(draw):
    sampling = draw(st.sampled_from([*SAMPLING, "gray"]))
    height, width = draw(st.integers(17, 150)), draw(st.integers(17, 150))
    across = -(-width // UNIT[sampling])
    divisors = [n for n in range(1, across + 1) if across % n == 0]
    interval = draw(st.sampled_from([*divisors, across * 2, across * 3]))
    pixels = picture(draw(st.integers(0, 99)), height, width, gray=sampling == "gray")
    return turned(encoded(pixels, sampling, interval), draw(st.integers(1, 8)))


@LAW
@given(files(), st.data())
def test_a_window_is_the_whole_decoded_and_cut(data, draw):
    header = read_header(data)
    width, height = header.upright
    x0, y0 = draw.draw(st.integers(0, width - 1)), draw.draw(st.integers(0, height - 1))
    x1 = draw.draw(st.integers(x0 + 1, width))
    y1 = draw.draw(st.integers(y0 + 1, height))

    part = decode_part(data, header, (x0, y0, x1, y1), only_cut=True)

    if part is not None:
        assert (part == whole(data)[y0:y1, x0:x1]).all()


def test_it_is_cut_and_not_decoded_whole():
    data = encoded(picture(1, 160, 320), "4:2:0", 5)
    cut = cut_jpeg(data, (200, 64, 230, 100))
    assert (cut.x, cut.y) == (160, 48)
    assert whole(cut.data).shape == (80, 160, 3)
    assert len(cut.data) < len(data) / 2


def by_pillow(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


PIXELS = picture(2, 96, 128)
MARKED = encoded(PIXELS, "4:2:0", 2)
THIRD = MARKED.index(b"\xff\xd3")
OTHERS = {
    "progressive": by_pillow(PIXELS, "JPEG", progressive=True, restart_marker_rows=1),
    "no markers": encoded(PIXELS, "4:2:0", 0),
    "segments over the end of a row": encoded(PIXELS, "4:2:0", 3),
    "cut off": MARKED[: len(MARKED) * 2 // 3],
    "a marker is gone": MARKED[:THIRD] + MARKED[THIRD + 2 :],
    "markers out of turn": MARKED.replace(b"\xff\xd3", b"\xff\xd5", 1),
    "no image": b"\xff\xd8\xff\xe0",
    "nothing": b"",
    "png": by_pillow(PIXELS, "PNG"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_be_cut_is_left_whole(name):
    assert cut_jpeg(MARKED, (0, 0, 20, 20)) is not None
    assert cut_jpeg(OTHERS[name], (0, 0, 20, 20)) is None


def test_cmyk_is_cut_alike():
    file = io.BytesIO()
    pixels = picture(3, 96, 128)
    planes = np.dstack([pixels, pixels[:, :, 0]])
    Image.fromarray(planes, "CMYK").save(file, "JPEG", restart_marker_rows=1)
    data = file.getvalue()
    part = decode_part(data, read_header(data), (30, 40, 90, 60), only_cut=True)
    assert (part == whole(data)[40:60, 30:90]).all()


def by_pil(data, _):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def by_turbo(data, header):
    whole = (0, 0, header.width, header.height)
    return turbo.decode_window(data, header.width, header.height, whole)


DECODERS = {"OpenCV": decode_rgb, "Pillow": by_pil, "region decoder": by_turbo}
needs_turbo = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())


@st.composite
def windows(draw, width, height):
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))


@needs_turbo
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(st.data())
def test_markers_change_no_pixel_of_any_cut_under_any_decoder(kind, draw):
    height, width = draw.draw(st.integers(1, 90)), draw.draw(st.integers(1, 170))
    data = render(kind, height, width, seed=draw.draw(st.integers(0, 50)))
    rows, mcus = draw.draw(st.sampled_from([(0, 1), (0, None), (1, 1), (2, 1), (3, 1)]))
    interval = unit_interval(data) if mcus is None else mcus
    marked = turbo.with_restarts(data, interval_mcus=interval, rows=rows)
    header = read_header(marked)
    assert header == read_header(data)
    ends = find_ends(marked, read_layout(marked))
    window = x0, y0, x1, y1 = draw.draw(windows(width, height))

    cut = cut_jpeg(marked, window, ends=ends)

    assert cut == cut_jpeg(marked, window)
    for decode in DECODERS.values():
        whole = decode(data, header)
        assert (decode(marked, header) == whole).all()
        if cut is not None:
            small = header._replace(width=cut.width, height=cut.height)
            part = decode(cut.data.tobytes(), small)
            inside = part[y0 - cut.y : y1 - cut.y, x0 - cut.x : x1 - cut.x]
            assert part.shape == (cut.height, cut.width, 3)
            assert (inside == whole[y0:y1, x0:x1]).all()


def test_a_cut_is_numbered_as_the_standard_wants_it():
    data = encoded(picture(1, 320, 320), "4:2:0", 5)  # 4 segments a row
    for window in [(0, 100, 200, 200), (0, 100, 320, 200), (170, 200, 320, 320)]:
        cut = cut_jpeg(data, window).data.tobytes()
        layout = read_layout(cut)
        assert (layout.width, layout.height) == (
            read_header(cut).width, read_header(cut).height,
        )  # fmt: skip
        assert find_ends(cut, layout) is not None, "it counts every marker in turn"


WRONG = {
    "too few": lambda ends: ends[:-1],
    "one byte off": lambda ends: ends + 1,
    "one of them off": lambda ends: ends + 1 * (np.arange(len(ends)) == 12),
    "of another file": lambda ends: ends // 2,
    "beyond the end": lambda ends: ends * 1000,
    "empty": lambda ends: ends[:0],
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("window", [(90, 40, 150, 60), (0, 40, 320, 60)])
def test_ends_that_are_not_those_of_the_file_are_searched_for(name, window):
    data = encoded(picture(1, 160, 320), "4:2:0", 5)
    ends = find_ends(data, read_layout(data))
    assert len(ends) == 40
    expected = cut_jpeg(data, window)
    assert expected is not None
    assert cut_jpeg(data, window, ends=WRONG[name](ends)) == expected
    assert cut_jpeg(data, window, ends=ends) == expected
