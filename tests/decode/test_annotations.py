"""Laws of annotations: of which frame they are, how many, and of which size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.decode.annotations import Frame
from fiberaug.decode.header import ImageHeader
from fiberaug.decode.orientation import points_upright, upright
from fiberaug.errors import SampleBroken

WIDTH, HEIGHT = 6, 4
ORIENTATIONS = range(1, 9)


def header(orientation=1, width=WIDTH, height=HEIGHT):
    return ImageHeader("jpeg", width, height, orientation)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_frame_is_the_stored_one_where_the_json_says_so(orientation):
    image = header(orientation)
    wide = {"width": WIDTH, "height": HEIGHT}
    tall = {"width": HEIGHT, "height": WIDTH}
    swaps = orientation >= 5

    def turn(metadata):
        return Frame.of(image, metadata).turn

    assert turn({"frame": "stored"}) == orientation
    assert turn({}) == turn({"frame": "upright"}) == 1
    assert turn(wide) == (orientation if swaps else 1)
    assert turn(tall) == 1
    assert turn(tall | {"frame": "stored"}) == (1 if swaps else orientation)
    assert turn({"width": 1, "height": 1, "frame": "stored"}) == orientation


triangle = [[0.0, 0.0], [5.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_corners_of_polygons_turn_like_points(orientation):
    frame = Frame(header(orientation), orientation)
    truth = points_upright(np.array(triangle, np.float32), orientation, WIDTH, HEIGHT)

    coco = [v for corner in triangle for v in corner]
    found = frame.polygons([triangle, coco, triangle[:1]], "polygons")

    assert [polygon.dtype for polygon in found] == [np.float32] * 3
    assert [polygon.tolist() for polygon in found] == [
        truth.tolist(),
        truth.tolist(),
        truth[:1].tolist(),
    ]
    assert frame.polygons(None, "polygons") == frame.polygons([], "polygons") == []


@pytest.mark.parametrize(
    "value",
    ["text", 3, {"a": 1}, [3], [[1, 2, 3]], [[1, 2, 3, 4, 5, 6, 7]], [[[1, 2, 3]]],
     [[[0, 0], [1]]], [[[0, float("nan")]]], [[[0, 1e39]]], [triangle, ["a", "b"]],
     [[[triangle]]]],
    ids=list("abcdefghijkl"),
)  # fmt: skip
def test_what_is_no_polygon_is_refused(value):
    with pytest.raises(SampleBroken, match="polygons"):
        Frame(header(), 1).polygons(value, "polygons")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_masks_of_objects_turn_like_the_mask(orientation, count):
    frame = Frame(header(orientation), orientation)
    shape = (count, HEIGHT, WIDTH)
    stored = np.random.default_rng(1).integers(0, 256, shape, np.uint8)

    for value in (stored, stored.astype(np.int64), stored > 9):
        found = frame.masks(value, "masks")
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert found.shape == (
            count,
            *upright(stored[:0].max(0, initial=0), orientation).shape,
        )
        for one, plane in zip(found, value, strict=True):
            assert np.array_equal(one, upright(plane, orientation))
            assert np.array_equal(one, frame.mask(plane, "mask"))


def test_masks_of_a_npz_are_one_array_or_one_each():
    frame = Frame(header(), 1)
    planes = np.arange(2 * HEIGHT * WIDTH).reshape(2, HEIGHT, WIDTH)

    for value in ({"a": planes}, {"first": planes[0], "second": planes[1]}):
        assert np.array_equal(frame.masks(value, "masks"), planes)
    for value in ({}, {"a": planes, "b": planes}, {"a": planes[0], "b": planes[0].T}):
        with pytest.raises(SampleBroken, match="one array"):
            frame.masks(value, "masks")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((HEIGHT, WIDTH), np.uint8), r"\[N, H, W\], got uint8 \(4, 6\)"),
        (np.zeros((1, HEIGHT, WIDTH)), "got float64"),
        ([[[0]]], "got list"),
        (b"png", "got bytes"),
        (np.full((1, HEIGHT, WIDTH), 256), "0 to 255, got 256 to 256"),
        (np.full((1, HEIGHT, WIDTH), -1), "got -1 to -1"),
        (np.zeros((1, 9, 9), np.uint8), "each of the masks is 9x9 px, the image 6x4"),
        (np.zeros((0, 9, 9), np.uint8), "each of the masks is 9x9 px, the image 6x4"),
    ],
)
def test_what_is_no_stack_of_masks_is_refused(value, words):
    with pytest.raises(SampleBroken, match=words):
        Frame(header(), 1).masks(value, "masks")


@given(st.sampled_from(ORIENTATIONS), st.booleans())
def test_a_mask_whose_size_can_only_be_one_is_told_by_its_size(orientation, stored):
    """Where the image lies on its side, whatever the JSON says."""
    image = header(orientation)
    stored_shape, upright_shape = (HEIGHT, WIDTH), image.upright[::-1]
    mask = np.arange(WIDTH * HEIGHT).reshape(stored_shape if stored else upright_shape)
    if orientation < 5:
        return
    for turn in (1, orientation):
        found = Frame(image, turn).mask(mask, "mask")
        assert np.array_equal(found, upright(mask, orientation) if stored else mask)
