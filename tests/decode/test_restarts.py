"""How restart markers cut a JPEG is read from its bytes, and what they should be."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered_jpegs import KINDS, render, soft_noise

from fiberaug.decode import turbo
from fiberaug.decode.restarts import (
    best_interval,
    find_ends,
    read_layout,
    segment_lengths,
    unit_interval,
    units_across,
)

needs_turbo = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())


@given(st.integers(1, 2100), st.integers(1, 64 * 10**6))
def test_segments_end_with_rows_and_are_as_many_as_they_should(across, pixels):
    interval = best_interval(across, pixels)
    segments, rest = divmod(across, interval)
    assert rest == 0
    others = [n for n in range(1, across + 1) if across % n == 0]
    wanted = 1 if pixels < 10**6 else 4
    assert abs(segments - wanted) == min(abs(n - wanted) for n in others)


@pytest.mark.parametrize(("sampling", "unit"), [(0x211111, 16), (0x111111, 8)])
def test_units_are_counted_as_the_file_samples_its_colours(sampling, unit):
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    pixels = soft_noise(0, 50, 131)
    data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    assert units_across(data) == -(-131 // unit)
    assert unit_interval(data) == -(-131 // unit)  # one segment a row of a small one


@needs_turbo
@pytest.mark.parametrize("kind", KINDS)
def test_segments_are_what_the_markers_part(kind):
    data = turbo.with_restarts(render(kind, 61, 83, seed=3), interval_mcus=1)
    layout = read_layout(data)
    # Counted by hand: split at the markers, which stand nowhere else in coded data.
    parts, start = [], layout.start
    for at in range(layout.start, len(data) - 1):
        if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD9:
            parts.append(at - start)
            start = at + 2
            if data[at + 1] == 0xD9:
                break
    assert len(parts) == layout.rows * layout.columns
    assert segment_lengths(data) == struct.pack(f"<{len(parts)}H", *parts)
    ends = find_ends(data, layout)
    assert ends.dtype == np.int64
    assert np.diff(ends, prepend=-2).tolist() == [length + 2 for length in parts]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_jpeg_has_no_segments(data):
    assert read_layout(data) is None
    assert unit_interval(data) is None
    assert segment_lengths(data) == b""


def test_a_segment_that_two_bytes_cannot_count_is_not_kept():
    noise = np.random.default_rng(0).integers(0, 256, (16, 4800, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_RST_INTERVAL, 300]
    data = cv2.imencode(".jpg", noise, options)[1].tobytes()
    assert find_ends(data, read_layout(data)) > 65_535
    assert segment_lengths(data) == b""
