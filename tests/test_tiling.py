"""The grid of tiles: it covers a photo, overlaps enough, and can be shifted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.tiling import Tiling


@st.composite
def grids(draw):
    """A tiling, the size of a photo, and a shift."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    overlap = draw(st.integers(0, min(height, width) - 1))
    tiling = Tiling(height=height, width=width, overlap=overlap)
    size = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    share = st.floats(0, 1, exclude_max=True)
    return tiling, size, draw(st.none() | st.tuples(share, share))


def windows(tiling, size, shift):
    count = tiling.count(*size)
    return [tiling.tile(number, *size, shift).window for number in range(count)]


@given(grids())
def test_tiles_lie_in_the_photo_have_one_size_and_show_every_pixel(grid):
    tiling, (width, height), shift = grid
    shown = np.zeros((height, width), int)
    found = windows(tiling, (width, height), shift)
    for x_min, y_min, x_max, y_max in found:
        assert 0 <= x_min < x_max <= width
        assert 0 <= y_min < y_max <= height
        assert x_max - x_min == min(tiling.width, width)
        assert y_max - y_min == min(tiling.height, height)
        shown[y_min:y_max, x_min:x_max] += 1

    assert shown.min() >= 1
    assert len(set(found)) == len(found)
    assert found == sorted(found, key=lambda window: (window.y_min, window.x_min))


@given(grids(), st.data())
def test_what_is_no_larger_than_the_overlap_is_whole_in_a_tile(grid, data):
    tiling, (width, height), shift = grid
    most = tiling.overlap
    across = data.draw(st.integers(0, min(most, width)))
    down = data.draw(st.integers(0, min(most, height)))
    x = data.draw(st.integers(0, width - across))
    y = data.draw(st.integers(0, height - down))

    assert any(
        w.x_min <= x and x + across <= w.x_max and w.y_min <= y and y + down <= w.y_max
        for w in windows(tiling, (width, height), shift)
    )


@given(grids())
def test_no_grid_with_fewer_tiles_would_overlap_enough(grid):
    tiling, size, _ = grid
    rows = columns = 1
    while tiling.width + (columns - 1) * (tiling.width - tiling.overlap) < size[0]:
        columns += 1
    while tiling.height + (rows - 1) * (tiling.height - tiling.overlap) < size[1]:
        rows += 1

    assert tiling.count(*size) == rows * columns


def test_without_a_shift_tiles_are_spread_evenly_and_a_shift_moves_inner_borders():
    tiling = Tiling(height=1024, width=1024, overlap=128)
    even = windows(tiling, (3024, 4032), None)
    assert [w.x_min for w in even[:4]] == [0, 666, 1333, 2000]
    assert [w.y_min for w in even[::4]] == [0, 752, 1504, 2256, 3008]
    starts = {
        tuple(w.x_min for w in windows(tiling, (3024, 4032), (share, 0.0))[:4])
        for share in np.linspace(0, 0.999, 400)
    }
    # 4 tiles could show 4 * 1024 - 3 * 128 px: 688 px more than there are.
    assert {row[1] for row in starts} >= {896, 896 - 688}
    assert {row[0] for row in starts} == {0}
    assert {row[3] for row in starts} == {2000}


def test_a_photo_smaller_than_a_tile_is_one_tile():
    tiling = Tiling.of((64, 32), overlap=8)
    assert tiling.tile(0, 30, 20, (0.7, 0.7)).window == (0, 0, 30, 20)
    assert tiling.count(30, 20) == 1
    assert tiling.tile(1, 30, 100).window == (0, 36, 30, 100)
    with pytest.raises(IndexError, match=r"\[0, 2\)"):
        tiling.tile(2, 30, 100)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tile": 0}, r"height must be .* got 0"),
        ({"tile": (8, 8.0)}, r"width must be a whole number"),
        ({"tile": (8, 8, 8)}, r"must be \(height, width\)"),
        ({"tile": "64"}, r"must be \(height, width\)"),
        ({"tile": True}, r"must be \(height, width\)"),
        ({"tile": (8, 6), "overlap": 6}, r"\[0, 6\).* got 6"),
        ({"tile": 8, "overlap": -1}, r"\[0, 8\).* got -1"),
        ({"tile": 8, "visibility": 1.5}, r"visibility must be in \[0, 1\], got 1.5"),
        ({"tile": None, "overlap": 3}, r"overlap=3 is for tiles: say tile="),
        ({"tile": None, "keep_empty": False}, r"keep_empty=False is for tiles"),
    ],
)
def test_what_is_no_tiling_is_refused(given, said):
    with pytest.raises(UsageError, match=said):
        Tiling.of(**given)


def test_no_tile_is_no_tiling():
    assert Tiling.of(None) is None
