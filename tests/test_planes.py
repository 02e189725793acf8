"""Planes of images: what numpy's plain indexing gives, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug import planes

SIDES = st.integers(0, 40)
DTYPES = ["u1", "i1", "u2", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", "?"]
LAYOUTS = {
    "whole": lambda image: image,
    "flipped": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "cropped": lambda image: image[1:, 2:],
    "turned": lambda image: image.transpose(1, 0, 2),
    "channels reversed": lambda image: image[:, :, ::-1],
}


@st.composite
def images(draw, dtypes=DTYPES):
    shape = draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 2, 3, 4, 5, 9]))
    seed = draw(st.integers(0, 2**32 - 1))
    levels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    image = levels.astype(draw(st.sampled_from(dtypes)))
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](image)


@given(images())
def test_planes_are_the_transposed_image(image):
    out = np.zeros((image.shape[2], *image.shape[:2]), image.dtype)
    before = image.copy()
    planes.split(image, out)

    assert np.array_equal(out, np.moveaxis(image, 2, 0))
    assert np.array_equal(image, before)


@given(images(["u1"]), st.integers(0, 2**32 - 1))
def test_normalised_planes_hold_the_table_s_value_of_each_level(image, seed):
    bits = np.random.default_rng(seed).integers(0, 2**32, (9, 256), np.uint32)
    table = bits.view(np.float32)[: image.shape[2]]  # whatever a float can be
    out = np.zeros((image.shape[2], *image.shape[:2]), np.float32)
    planes.normalize(image, table, out)

    expected = np.stack(
        [values[image[:, :, c]] for c, values in enumerate(table)]
    ).reshape(out.shape)
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("rows", [1, 5])
def test_planes_are_written_into_a_batch(rows):
    """Into the rows of one large array, and nowhere beside."""
    rng = np.random.default_rng(rows)
    batch = np.full((rows + 2, 3, 17, 23), 7, np.uint8)
    images = rng.integers(0, 256, (rows, 17, 23, 3), np.uint8)
    for image, out in zip(images, batch[1:-1], strict=True):
        planes.split(image, out)

    assert np.array_equal(batch[1:-1], images.transpose(0, 3, 1, 2))
    assert (batch[[0, -1]] == 7).all()
