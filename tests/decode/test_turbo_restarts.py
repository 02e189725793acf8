"""A JPEG with restart markers added is the same picture with the same metadata."""

import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from rendered_jpegs import KINDS, render, segments, soft_noise
from sets import turned

from fiberaug.decode import turbo
from fiberaug.decode.header import read_header
from fiberaug.decode.opencv import decode_rgb
from fiberaug.errors import UsageError

pytestmark = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())

SIZES = [(96, 128), (97, 131), (1, 1), (8, 40), (33, 15)]
WORDS = {0xFE, *range(0xE0, 0xF0)}


def whole(data):
    return decode_rgb(data, read_header(data))


def words(data):
    return [segment for segment in segments(data) if segment[0] in WORDS]


def markers(data):
    """The restart markers of a file with one scan."""
    scan = data[data.index(b"\xff\xda") + 2 : -2]
    return [kind for ff, kind in itertools.pairwise(scan) if ff == 0xFF and kind]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_words_are_kept_and_twice_is_once(kind, size):
    data = render(kind, *size, seed=size[0])
    copy = turbo.with_restarts(data, interval_mcus=2)

    assert np.array_equal(whole(copy), whole(data))
    assert read_header(copy) == read_header(data)
    assert words(copy) == words(data)
    assert turbo.with_restarts(copy, interval_mcus=2) == copy
    assert turbo.with_restarts(data, interval_mcus=2) == copy


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        ("4:2:0 baseline", (16, 16)),
        ("4:2:0 progressive", (16, 16)),
        ("4:2:2 baseline", (16, 8)),
        ("4:4:0 progressive", (8, 16)),
        ("4:1:1 restarts", (32, 8)),
        ("gray 2x2 baseline", (8, 8)),
    ],
)
@pytest.mark.parametrize("interval", [1, 3, 7, 10_000])
def test_there_is_a_marker_after_each_interval(kind, unit, interval):
    data = render(kind, 97, 131)
    across, down = -(-131 // unit[0]), -(-97 // unit[1])
    copy = turbo.with_restarts(data, interval_mcus=interval)

    count = -(-across * down // interval) - 1
    assert markers(copy) == [0xD0 + i % 8 for i in range(count)]
    frames = [marker for marker, _ in segments(copy) if 0xC0 <= marker <= 0xC2]
    assert frames == [0xC0]
    assert (0xDD, interval.to_bytes(2, "big")) in segments(copy)


@pytest.mark.parametrize("rows", [1, 2])
def test_rows_are_an_interval_too(rows):
    data = render("4:2:0 baseline", 97, 131)
    copy = turbo.with_restarts(data, interval_mcus=0, rows=rows)
    assert (0xDD, (9 * rows).to_bytes(2, "big")) in segments(copy)
    assert copy == turbo.with_restarts(data, interval_mcus=9 * rows)


def test_no_interval_takes_them_out():
    data = render("4:2:0 restarts", 97, 131)
    plain = turbo.with_restarts(data, interval_mcus=0)
    assert markers(plain) == []
    assert np.array_equal(whole(plain), whole(data))


def test_all_that_a_camera_writes_is_kept():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(soft_noise(0, 80, 120)).save(
        file, "JPEG", icc_profile=profile * 200, comment=b"a word", dpi=(300, 200)
    )
    many = b"\xff\xed\x00\x0aPhotos\0\0" + b"\xff\xfe\x00\x02"
    data = turned(file.getvalue(), 6)
    data = data[:2] + many + data[2:]

    copy = turbo.with_restarts(data, interval_mcus=1)

    assert [marker for marker, _ in words(data)].count(0xE2) >= 2
    assert words(copy) == words(data)
    with Image.open(io.BytesIO(copy)) as image:
        assert image.info["icc_profile"] == profile * 200
        assert image.info["comment"] == b"a word"
        assert image.info["dpi"] == (300, 200)
        assert image.getexif()[0x0112] == 6


def test_an_orientation_that_had_no_say_does_not_get_one():
    data = render("4:2:0 baseline", 40, 60)
    exif = turned(data, 6)[2 : -len(data) + 2]
    at = data.index(b"\xff\xda")
    late = data[:at] + exif + data[at:]
    assert read_header(late).orientation == 1
    assert turbo.with_restarts(late, interval_mcus=1) is None


def test_a_word_between_scans_is_not_moved():
    data = render("4:2:0 progressive", 40, 60)
    at = data.rindex(b"\xff\xda")
    late = data[:at] + b"\xff\xfe\x00\x04ab" + data[at:]
    assert np.array_equal(whole(late), whole(data))
    assert turbo.with_restarts(late, interval_mcus=1) is None


def test_what_libjpeg_warns_of_is_refused(capfd):
    data = render("4:2:0 baseline", 97, 131, seed=4)
    noisy = data[:-2] + b"\x12\x34" + data[-2:]
    damaged = data[:-200] + b"\xff\xd9"
    for broken in (data[:-2], noisy, damaged):
        assert turbo.with_restarts(broken, interval_mcus=1) is None
        assert turbo.sound(broken) is False
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("interval", "rows"), [(-1, 0), (65_536, 0), (0, -1)])
def test_an_interval_out_of_range_is_named(interval, rows):
    with pytest.raises(UsageError, match="0 to 65535"):
        turbo.with_restarts(b"", interval_mcus=interval, rows=rows)


def test_pixels_by_another_reader_are_kept():
    for kind in ("4:2:0 progressive", "rgb baseline", "gray 2x2 baseline"):
        data = render(kind, 61, 83)
        copy = turbo.with_restarts(data, interval_mcus=3)
        with Image.open(io.BytesIO(data)) as old, Image.open(io.BytesIO(copy)) as new:
            assert old.mode == new.mode
            assert np.array_equal(np.asarray(old), np.asarray(new))


def test_cv2_sees_the_markers():
    """An encoder's own restart markers give the same bytes of entropy-coded data."""
    pixels = soft_noise(1, 64, 64)
    plain, marked = (
        cv2.imencode(
            ".jpg",
            pixels,
            [cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        )[1].tobytes()
        for interval in (0, 2)
    )
    copy = turbo.with_restarts(plain, interval_mcus=2)
    assert copy[copy.index(b"\xff\xda") :] == marked[marked.index(b"\xff\xda") :]
