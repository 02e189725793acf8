"""Laws of channels and depth: a table of what goes in and what comes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fiberaug.decode.channels import to_color, to_depth
from fiberaug.errors import SampleBroken

DTYPES = (np.uint8, np.uint16, np.float32)
pictures = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
        elements=st.integers(0, 255),
    )
)


@given(pictures)
def test_colour_keeps_its_numbers_and_alpha_is_dropped(pixels):
    channels = pixels.shape[2]
    colour = pixels[..., :3] if channels >= 3 else pixels[..., :1].repeat(3, 2)

    for name, truth in (("rgb", colour), ("keep", pixels)):
        found = to_color(pixels, name)
        assert np.array_equal(found, truth)
        assert found.dtype == pixels.dtype
        assert found.flags.c_contiguous


@given(pictures)
def test_gray_is_the_luma_of_colours_and_gray_as_it_was(pixels):
    found = to_color(pixels, "gray")

    assert found.shape == (*pixels.shape[:2], 1)
    assert found.dtype == pixels.dtype
    if pixels.shape[2] < 3:
        assert np.array_equal(found[..., 0], pixels[..., 0])
    else:
        luma = pixels[..., :3].astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs(found[..., 0] - luma).max() <= 0.51


def test_colours_that_are_gray_are_the_same_gray():
    for dtype, most in ((np.uint8, 255), (np.uint16, 65_535)):
        gray = np.linspace(0, most, 256).astype(dtype).reshape(16, 16, 1)
        assert np.array_equal(to_color(gray.repeat(3, 2), "gray"), gray)


def test_of_16_bits_the_upper_8_are_taken_or_all_kept():
    deep = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1)

    assert np.array_equal(to_depth(deep, "uint8"), deep // 256)
    assert to_depth(deep, "uint8").dtype == np.uint8
    assert to_depth(deep, "keep") is deep


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int16", "uint32"])
def test_numbers_of_no_known_range_have_no_8_bits_and_are_kept_as_float32(dtype):
    pixels = np.array([[[0], [1], [100]]], dtype)

    with pytest.raises(SampleBroken, match=rf"{dtype} pixels.*'depth': 'keep'"):
        to_depth(pixels, "uint8")
    kept = to_depth(pixels, "keep")
    assert kept.dtype == np.float32
    assert np.array_equal(kept, pixels)


@pytest.mark.parametrize("value", [2**24 + 1, -(2**31)])
def test_whole_numbers_that_float32_would_round_are_refused(value):
    exact = np.array([[[2**24]]], np.int32)

    assert to_depth(exact, "keep") == 2**24
    with pytest.raises(SampleBroken, match="cannot hold exactly"):
        to_depth(np.array([[[value]]], np.int32), "keep")
