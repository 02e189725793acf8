"""Of damaged JPEGs libjpeg gives OpenCV's pixels or none, without a crash or a word."""

import itertools
import random

import cv2
import numpy as np
import pytest
from rendered_jpegs import render, windows

from fiberaug.decode import turbo
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.errors import DataRefused

pytestmark = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())

SOURCES = [
    render("4:2:0 baseline", 70, 90, seed=1),
    render("4:2:0 progressive", 70, 90, seed=1),
    render("4:1:1 restarts", 70, 90, seed=2),
    render("gray optimized", 70, 90, seed=1),
    render("rgb turned", 70, 90, seed=1),
]
SMALL = ImageLimits(pixels=200_000)


def readable(data):
    """The header of a file that libjpeg is asked about; None: it would be refused."""
    try:
        header = read_header(data)
        SMALL.check(header)
    except DataRefused:
        return None
    return header


def asked(data, window=None):
    """A window, the whole, whether it is sound, and a copy with restart markers."""
    header = readable(data)
    if header is None:
        return None
    width, height = header.width, header.height
    everything = (0, 0, width, height)
    if window is None or window[2] > width or window[3] > height:
        window = everything
    return (
        window,
        turbo.decode_window(data, width, height, window),
        turbo.decode_window(data, width, height, everything),
        turbo.sound(data),
        turbo.with_restarts(data, interval_mcus=3),
    )


def by_opencv(data):
    try:
        return decode_rgb(data, read_header(data))
    except DataRefused:
        return None


def hold(data, answer, capfd):
    """Compare with OpenCV, whose libjpeg writes its warnings to stderr."""
    window, part, everything, sound, copy = answer
    pixels = by_opencv(data)
    warned = capfd.readouterr().err != ""
    if pixels is not None and part is not None:
        x0, y0, x1, y1 = window
        assert np.array_equal(part, pixels[y0:y1, x0:x1])
    if everything is not None:
        assert pixels is not None
        assert np.array_equal(everything, pixels)
    assert (everything is not None) is (sound is True)
    if sound:
        assert not warned
    if copy is not None:
        assert sound
        assert np.array_equal(by_opencv(copy), pixels)
        assert capfd.readouterr().err == ""


def flipped(count):
    rng = random.Random(count)
    for source in itertools.islice(itertools.cycle(SOURCES), count):
        data = bytearray(source)
        for _ in range(rng.choice((1, 1, 1, 3))):
            # Half of the damage meets the tables and headers.
            most = len(data) if rng.random() < 0.5 else 700
            data[rng.randrange(2, most)] = rng.randrange(256)
        yield bytes(data), next(windows(rng, 90, 70, 1))


@pytest.mark.parametrize(
    "count", [2000, pytest.param(40_000, marks=[pytest.mark.slow])]
)
def test_flipped_bytes(count, capfd):
    files = list(flipped(count))
    answers = [asked(*file) for file in files]
    assert capfd.readouterr() == ("", "")
    for (data, _), answer in zip(files, answers, strict=True):
        if answer is not None:
            hold(data, answer, capfd)
    told = [answer for answer in answers if answer is not None]
    for kind in range(1, 5):  # each of them was met in both ways
        assert any(answer[kind] is None or answer[kind] is False for answer in told)
        assert any(answer[kind] is not None for answer in told)


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_every_cut(number, capfd):
    source = SOURCES[number]
    window = (10, 5, 60, 20)
    cuts = [source[:length] for length in range(len(source))]
    answers = [asked(data, window) for data in cuts]
    assert capfd.readouterr() == ("", "")
    for data, answer in zip(cuts, answers, strict=True):
        if answer is None:
            continue
        _, part, everything, sound, copy = answer
        assert (everything, sound, copy) == (None, False, None), len(data)
        if part is not None:
            assert np.array_equal(part, by_opencv(source)[5:20, 10:60])


def hand_made(bits):
    """A valid progressive gray JPEG, 8x8 px, of 1 + 63 x (bits + 1) scans."""

    def segment(marker, content):
        return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content

    def scan(first, last, high, low):
        return segment(0xDA, bytes((1, 1, 0, first, last, high << 4 | low))) + b"\x7f"

    def table(number):  # one code, 0, for "nothing"
        return segment(0xC4, bytes((number, 1)) + bytes(15) + b"\0")

    data = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    data += segment(0xC2, bytes((8, 0, 8, 0, 8, 1, 1, 0x11, 0)))
    data += table(0x00) + table(0x10) + scan(0, 0, 0, 0)
    for k in range(1, 64):
        data += scan(k, k, 0, bits)
        for low in reversed(range(bits)):
            data += scan(k, k, low + 1, low)
    return data + b"\xff\xd9"


def test_a_file_of_more_scans_than_any_encoder_writes_is_left_to_opencv():
    many, too_many = hand_made(6), hand_made(7)
    assert (many.count(b"\xff\xda"), too_many.count(b"\xff\xda")) == (442, 505)

    assert by_opencv(many).shape == by_opencv(too_many).shape == (8, 8, 3)
    assert np.array_equal(asked(many)[1], by_opencv(many))
    assert turbo.sound(many) is True
    assert turbo.decode_window(too_many, 8, 8, (0, 0, 8, 8)) is None
    assert not turbo.sound(too_many)
    assert turbo.with_restarts(too_many, interval_mcus=1) is None


def test_an_image_above_the_limits_is_not_read():
    at = SOURCES[0].index(b"\xff\xc0") + 5
    size = (16_385).to_bytes(2, "big")
    for large in (size + SOURCES[0][at + 2 : at + 4], SOURCES[0][at : at + 2] + size):
        data = SOURCES[0][:at] + large + SOURCES[0][at + 4 :]
        assert turbo.sound(data) is None
        assert turbo.with_restarts(data, interval_mcus=1) is None


def test_sampling_that_no_decoder_scales_is_not_sound():
    """3 : 2 is legal, and read without a warning, but libjpeg makes no pixels of it."""
    encoded = cv2.imencode(
        ".jpg", np.full((24, 24, 3), 128, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 50]
    )[1].tobytes()
    at = encoded.index(b"\x01\x22\x00\x02\x11\x01\x03\x11\x01")
    odd = encoded[: at + 1] + b"\x31\x00\x02\x21" + encoded[at + 5 :]
    assert readable(odd) is not None
    assert by_opencv(odd) is None
    assert not turbo.sound(odd)
    assert turbo.with_restarts(odd, interval_mcus=1) is None
