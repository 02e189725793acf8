"""Which pixels an object has."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fiberaug.mixes.outlines import covered_area, filled, hull, shape_of
from fiberaug.mixes.scaling import nearest, resized
from fiberaug.tiling import Window

SIDE = 12
CORNERS = hnp.arrays(np.int64, st.tuples(st.integers(3, 6), st.just(2)),
                     elements=st.integers(-8, 8 * SIDE + 8))  # fmt: skip


def crossings(outline, x, y):
    """Return how often a ray to the right of a point crosses an outline."""
    count = 0
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y):
            count += x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x
    return count


@given(CORNERS)
def test_a_pixel_is_inside_where_its_centre_is(eighths):
    outline = eighths / 8 + 1 / 32  # no edge meets a centre exactly
    inside = filled(outline, Window(0, 0, SIDE, SIDE))
    for y in range(SIDE):
        for x in range(SIDE):
            assert inside[y, x] == crossings(outline, x + 0.5, y + 0.5) % 2


def test_a_convex_outline_is_what_opencv_says():
    outline = np.float32([[2.1, 1.3], [10.2, 4.4], [7.7, 10.6], [1.2, 8.9]])
    inside = filled(outline, Window(1, 1, 11, 11))
    for y in range(10):
        for x in range(10):
            at = (x + 1.5, y + 1.5)
            assert inside[y, x] == (
                cv2.pointPolygonTest(outline[:, None], at, measureDist=False) > 0
            )


@given(
    hnp.arrays(np.float32, 4, elements=st.floats(-2, SIDE + 2, width=32)),
    hnp.arrays(bool, (SIDE, SIDE)),
)
@settings(max_examples=50)
def test_the_covered_area_is_the_sum_over_pixels(ends, cover):
    box = np.float32([*np.sort(ends[::2]), *np.sort(ends[1::2])])[[0, 2, 1, 3]]
    area = 0.0
    for y, x in np.argwhere(cover):
        wide = min(box[2], x + 1) - max(box[0], x)
        high = min(box[3], y + 1) - max(box[1], y)
        area += max(0, wide) * max(0, high)
    np.testing.assert_allclose(covered_area(box, cover), area, atol=1e-4)


@given(hnp.arrays(bool, (5, 7)))
def test_the_hull_of_a_mask_is_the_smallest_window(plane):
    window = hull(plane)
    rows, columns = np.nonzero(plane)
    assert (window is None) == (len(rows) == 0)
    if window:
        assert window == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_mask_comes_before_an_outline_and_an_outline_before_a_box():
    mask, none = np.zeros((2, 9, 9), np.uint8)
    mask[2:4, 3:5] = 7
    square = np.float32([[1, 1], [6, 1], [6, 6], [1, 6]])
    fields = {"image": np.zeros((9, 9, 3)), "bboxes": np.float32([[0.5, 0, 8, 7.5]])}

    assert shape_of(fields, 0).window == (0, 0, 8, 8)
    assert shape_of(fields, 0).inside.all()
    fields["polygons"] = [square]
    assert shape_of(fields, 0).window == (1, 1, 6, 6)
    assert shape_of({**fields, "polygons": [square] * 2}, 0).window == (0, 0, 8, 8)
    assert shape_of({**fields, "polygons": [square[:0]]}, 0).window == (0, 0, 8, 8)
    assert shape_of({**fields, "masks": mask[None]}, 0).window == (3, 2, 5, 4)
    assert shape_of({**fields, "masks": none[None]}, 0).window == (1, 1, 6, 6)
    for flat in ([3, 3, 3, 8], [20, 20, 30, 30], [-4, 2, 0, 5]):
        assert shape_of({"image": mask, "bboxes": np.float32([flat])}, 0) is None


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_nearest_pixel_is_that_in_which_a_centre_lies(length, source):
    made = nearest(np.arange(source)[None], (1, length))[0]
    for i, pixel in enumerate(made):
        assert pixel <= (i + 0.5) * source / length < pixel + 1


def test_a_resized_image_keeps_dtype_channels_and_level():
    for dtype in (np.uint8, np.uint16, np.float32):
        for channels in (1, 3, 5):
            image = np.full((8, 10, channels), 77, dtype)
            for size in ((4, 5), (16, 20), (8, 10), (3, 10)):
                made = resized(image, size)
                assert (made.shape, made.dtype) == ((*size, channels), dtype)
                assert (made == 77).all()
