"""Laws of outlines that are cut: what is left lies inside, and covers the same."""

import cv2
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fiberaug.foldering.moving import clip_outline

WIDTH, HEIGHT = 40, 30
numbers = st.floats(-60, 90, width=32).map(lambda x: round(x, 2))
corners = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8)


def area(outline):
    x, y = np.array(outline or [(0, 0)]).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


@given(outline=corners)
def test_what_is_left_lies_in_the_image(outline):
    found = clip_outline(outline, (WIDTH, HEIGHT))

    assert all(
        -1e-9 <= x <= WIDTH + 1e-9 and -1e-9 <= y <= HEIGHT + 1e-9 for x, y in found
    )
    assert np.allclose(clip_outline(found, (WIDTH, HEIGHT)), found) if found else True


@given(outline=st.lists(
    st.tuples(st.floats(0, WIDTH, width=32), st.floats(0, HEIGHT, width=32)), min_size=3
))  # fmt: skip
def test_an_outline_inside_stays_as_it_is(outline):
    assert clip_outline(outline, (WIDTH, HEIGHT)) == outline


@given(outline=corners)
def test_a_hull_covers_what_it_covered_of_the_image(outline):
    """Against OpenCV's intersection of convex shapes."""
    assume(len(set(outline)) >= 3)
    hull = cv2.convexHull(np.array(outline, np.float32)).reshape(-1, 2)
    assume(len(hull) >= 3 and area(hull.tolist()) >= 1)
    frame = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float32)
    expected, _ = cv2.intersectConvexConvex(hull, frame)
    found = area(
        clip_outline([tuple(map(float, corner)) for corner in hull], (WIDTH, HEIGHT))
    )

    assert abs(found - expected) <= 0.5 + 0.002 * expected
