"""Laws of orientation: Pillow's pixels, and annotations that stay on their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fiberaug.decode.orientation import points_upright, upright

ORIENTATIONS = range(1, 9)


def as_pillow_turns(pixels, orientation):
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (1, 4), (4, 4, 3)])
def test_pixels_are_turned_as_pillow_turns_them(orientation, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    turned = upright(pixels, orientation)

    assert np.array_equal(turned, as_pillow_turns(pixels, orientation))
    assert turned.flags.c_contiguous


def test_the_eight_orientations_are_eight_pictures():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)

    assert len({upright(pixels, o).tobytes() for o in ORIENTATIONS}) == 8


@given(st.sampled_from(ORIENTATIONS), st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_point_in_a_pixel_stays_in_that_pixel(orientation, width, height, data):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    marked = np.zeros((height, width), np.uint8)
    marked[y, x] = 255
    middle = np.array([[x + 0.5, y + 0.5]], np.float32)

    turned = points_upright(middle, orientation, width, height)

    (row,), (column,) = np.nonzero(as_pillow_turns(marked, orientation))
    assert turned.tolist() == [[column + 0.5, row + 0.5]]
    assert turned.dtype == np.float32


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_no_points_stay_no_points(orientation):
    assert points_upright(np.zeros((0, 2), np.float32), orientation, 4, 3).shape == (
        0,
        2,
    )
