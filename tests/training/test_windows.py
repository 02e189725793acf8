"""Laws of windows: their aspect, their place, their scale."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.training.windows import Crop, Window, largest_scale, place_of, resized

SIDES = st.integers(1, 5_000)
WANTED = st.tuples(st.integers(4, 256), st.integers(4, 256))
NUMBERS = st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4)
SCALES = st.one_of(
    st.none(),
    st.floats(0.1, 50).map(lambda low: (low, None)),
    st.tuples(st.floats(0.1, 5), st.floats(5, 50)),
)


@given(st.tuples(SIDES, SIDES), WANTED, SCALES, NUMBERS)
def test_a_window_lies_inside_of_its_photo(photo, size, scales, numbers) -> None:
    window = Crop(size=size, scales=scales).draw(photo, numbers)
    assert 0 <= window.x_min < window.x_max <= photo[1]
    assert 0 <= window.y_min < window.y_max <= photo[0]


@given(
    st.tuples(st.integers(256, 5_000), st.integers(256, 5_000)),
    WANTED, SCALES.filter(lambda scales: scales is None or scales[0] >= 0.25), NUMBERS,
)  # fmt: skip
def test_a_window_has_the_aspect_of_the_size_to_a_pixel(
    photo, size, scales, numbers
) -> None:
    window = Crop(size=size, scales=scales).draw(photo, numbers)
    height, width = window.y_max - window.y_min, window.x_max - window.x_min
    # Each side is rounded by half a pixel at most.
    assert abs(height * size[1] - width * size[0]) <= 0.5 * sum(size) + 1e-6


def test_a_window_of_less_than_a_pixel_is_one_pixel() -> None:
    window = Crop(size=(4, 13), scales=(0.109, 0.109)).draw((256, 256), (0, 0, 0, 0))
    assert window.box == (0, 0, 1, 1)


@given(st.tuples(SIDES, SIDES), WANTED, NUMBERS)
def test_a_whole_photo_is_cut_at_one_pair_of_sides_alone(photo, size, numbers) -> None:
    window = Crop(size=size).draw(photo, numbers)
    height, width = window.y_max - window.y_min, window.x_max - window.x_min
    assert height == photo[0] or width == photo[1]


@given(
    st.tuples(st.integers(300, 5_000), st.integers(300, 5_000)),
    st.floats(0, 1, exclude_max=True),
)
def test_scales_go_from_the_least_to_the_largest_by_their_logarithm(
    photo, number
) -> None:
    size = (100, 150)
    most = largest_scale(photo, size)
    window = Crop(size=size, scales=(1, None)).draw(photo, (number, 0, 0, 0))
    drawn = math.log2((window.x_max - window.x_min) / size[1])
    assert drawn == pytest.approx(number * math.log2(most), abs=0.02)


def test_a_photo_that_is_smaller_than_the_size_is_taken_as_far_as_its_aspect() -> None:
    window = Crop(size=(64, 64), scales=(1, None)).draw((20, 30), (0.5, 0, 0, 0))
    assert (window.y_max - window.y_min, window.x_max - window.x_min) == (20, 20)


def test_corners_and_the_middle_have_the_places_that_batches_speak_of() -> None:
    photo, size = (400, 600), (50, 50)
    corner = place_of(Window(0, 0, 100, 100), photo, size)
    middle = place_of(Window(250, 150, 350, 250), photo, size)
    assert corner == pytest.approx((100 / 400 - 1, 100 / 600 - 1, 1.0))
    assert middle == pytest.approx((0.0, 0.0, 1.0))


def test_a_mirrored_window_lies_on_the_other_side() -> None:
    window = Window(0, 0, 100, 100)
    down, right, scale = place_of(window, (400, 600), (50, 50))
    mirrored = place_of(window._replace(flipped=True), (400, 600), (50, 50))
    assert mirrored == (down, -right, scale)


def test_a_mirrored_window_has_the_pixels_of_the_window_of_the_mirrored_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    crop = Crop(size=(10, 10))
    cut = crop.cut(photo, Window(5, 3, 25, 23, flipped=True))
    other = crop.cut(np.ascontiguousarray(photo[:, ::-1]), Window(35, 3, 55, 23))
    np.testing.assert_array_equal(cut, other)


def test_half_of_the_windows_are_mirrored_only_where_asked() -> None:
    numbers = np.random.default_rng(0).random((1000, 4)).tolist()
    flips = [Crop(size=(8, 8), flip=True).draw((8, 8), n).flipped for n in numbers]
    assert 430 < sum(flips) < 570
    assert not any(Crop(size=(8, 8)).draw((8, 8), n).flipped for n in numbers)


def test_shrinking_takes_the_mean_of_areas() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    means = photo.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    assert np.abs(resized(photo, (8, 8)) - means).max() <= 0.5 + 1e-6


def test_gray_keeps_its_one_channel() -> None:
    assert resized(np.zeros((9, 9, 1), np.uint8), (4, 4)).shape == (4, 4, 1)


def test_figures_see_whole_photos_in_the_middle_and_never_mirrored() -> None:
    crop = Crop(size=(10, 10), flip=True).for_figures()
    assert crop.draw((10, 30), (0.0, 0.0, 0.0, 0.0)) == Window(10, 0, 20, 10)
    windows = Crop(size=(10, 10), scales=(1, 2), flip=True)
    assert windows.for_figures() == windows


@pytest.mark.parametrize("scales", [(0, 1), (2, 1), (1,), 3, ("a", "b"), (1, math.inf)])
def test_scales_that_are_none_are_refused(scales) -> None:
    with pytest.raises(UsageError, match="scales must be"):
        Crop(size=(8, 8), scales=scales)


def test_a_size_without_a_pixel_is_refused() -> None:
    with pytest.raises(UsageError, match="size must be"):
        Crop(size=(0, 8))
