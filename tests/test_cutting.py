"""What a tile holds of a photo: against pictures drawn of the same objects."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fiberaug.cutting import boxes_within, cut_fields, outline_within
from fiberaug.errors import SampleBroken
from fiberaug.tiling import Window

SIDE = 24
PLACES = st.integers(0, SIDE)


@st.composite
def windows(draw):
    x, y = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return Window(x, y, draw(st.integers(x + 1, SIDE)), draw(st.integers(y + 1, SIDE)))


BOXES = st.lists(st.tuples(PLACES, PLACES, PLACES, PLACES), max_size=6).map(
    lambda rows: np.float32(
        [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows]
    ).reshape(-1, 4)
)


def drawn(box):
    """Return which pixels a box of whole numbers covers."""
    x0, y0, x1, y1 = box.astype(int)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y0:y1, x0:x1] = True
    return mask


@given(BOXES, windows(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_boxes_are_where_their_pixels_are(boxes, window, visibility):
    clipped, rows = boxes_within(boxes, window, visibility)
    cut = np.s_[window.y_min : window.y_max, window.x_min : window.x_max]
    for row, box in enumerate(boxes):
        whole, seen = drawn(box).sum(), drawn(box)[cut].sum()
        if whole:
            assert (row in rows) == (seen > 0 and seen >= visibility * whole)
    for row, box in zip(rows, clipped, strict=True):
        again = np.zeros((SIDE, SIDE), bool)
        x0, y0, x1, y1 = box.astype(int)
        again[y0:y1, x0:x1] = True
        part = drawn(boxes[row])[cut]
        assert (again[: part.shape[0], : part.shape[1]] == part).all()
        assert 0 <= x0 <= x1 <= window.x_max - window.x_min
        assert 0 <= y0 <= y1 <= window.y_max - window.y_min


def test_a_box_without_area_is_in_the_tiles_that_hold_it():
    flat = np.float32([[10, 5, 10, 9]])
    for window, inside in (((8, 0, 12, 9), 1), ((0, 0, 10, 9), 1), ((11, 0, 20, 9), 0)):
        assert len(boxes_within(flat, Window(*window), 0.9)[1]) == inside


@given(
    hnp.arrays(np.int32, (3, 2), elements=st.integers(0, SIDE * 4)), windows()
)  # triangles: convex, so that no part of them is joined along a border
def test_an_outline_covers_the_pixels_that_it_covered(corners, window):
    corners = (corners / 4).astype(np.float32)
    part = outline_within(corners, window)
    # Sampled at points that no edge meets exactly.
    steps = np.arange(0.37, SIDE, 0.93)
    for x in steps[(steps > window.x_min) & (steps < window.x_max)][:9]:
        for y in steps[(steps > window.y_min) & (steps < window.y_max)][:9]:
            before = cv2.pointPolygonTest(corners[:, None], (x, y), measureDist=True)
            at = x - window.x_min, y - window.y_min
            after = -1.0
            if len(part):
                after = cv2.pointPolygonTest(part[:, None], at, measureDist=True)
            if abs(before) > 1e-3:
                assert (after > 0) == (before > 0)
    size = np.float32([window.x_max - window.x_min, window.y_max - window.y_min])
    assert ((part >= 0) & (part <= size)).all()


def test_an_outline_that_only_touches_the_window_is_not_in_it():
    square = np.float32([[4, 0], [8, 0], [8, 4], [4, 4]])
    assert len(outline_within(square, Window(0, 0, 4, 4))) == 0
    assert (
        outline_within(square, Window(4, 0, 8, 4)).tolist()
        == (square - np.float32([4, 0])).tolist()
    )


def fields(**more):
    grid = np.arange(SIDE * SIDE, dtype=np.int32).reshape(SIDE, SIDE)
    return {
        "image": np.repeat(grid[:, :, None] % 251, 3, 2).astype(np.uint8),
        "mask": grid,
        "label": 3,
        "caption": "a cabinet",
        **more,
    }


def test_pixels_and_masks_are_cut_alike_and_are_copies():
    whole = fields(depth=np.ones((SIDE, SIDE), np.uint8))
    window = Window(3, 5, 10, 20)
    cut = cut_fields(
        whole, window, visibility=0, kind=lambda name: {"depth": "mask"}.get(name, name)
    )
    assert (cut["image"] == whole["image"][5:20, 3:10]).all()
    assert (cut["mask"] == whole["mask"][5:20, 3:10]).all()
    assert cut["depth"].shape == (15, 7)
    assert (cut["label"], cut["caption"]) == (3, "a cabinet")
    for name in ("image", "mask", "depth"):
        assert not np.shares_memory(cut[name], whole[name])


def test_what_belongs_to_an_object_goes_with_it():
    masks = np.zeros((3, SIDE, SIDE), np.uint8)
    masks[0, 1:5, 1:5] = masks[1, 10:20, 10:20] = masks[2, 0:24, 12:14] = 1
    whole = fields(
        bboxes=np.float32([[1, 1, 5, 5], [10, 10, 20, 20], [0, 0, 2, 2]]),
        bbox_labels=np.int64([7, 8, 9]),
        bbox_ids=np.int64([70, 80, 90]),
        keypoints=np.float32([[2, 2], [24, 24], [12, 3]]),
        keypoint_labels=["left", "corner", "right"],
    )
    right = Window(12, 0, 24, 24)
    cut = cut_fields(whole, right, visibility=0.5)
    assert cut["bboxes"].tolist() == [[0, 10, 8, 20]]
    assert (cut["bbox_labels"].tolist(), cut["bbox_ids"].tolist()) == ([8], [80])
    assert cut["keypoints"].tolist() == [[12, 24], [0, 3]]
    assert cut["keypoint_labels"] == ["corner", "right"]

    # Masks of boxes stay with them, also where nothing of one is left;
    whole |= {"masks": masks, "mask_labels": np.int64([7, 8, 9])}
    cut = cut_fields(whole, right, visibility=0.5)
    assert cut["mask_labels"].tolist() == [8]
    assert (cut["masks"] == masks[1:2, :, 12:]).all()
    # masks of their own go by their pixels.
    del whole["bboxes"], whole["bbox_labels"], whole["bbox_ids"]
    cut = cut_fields(whole, right, visibility=0.9)
    assert cut["mask_labels"].tolist() == [9]
    assert (cut["masks"] == masks[2:, :, 12:]).all()


def test_a_point_on_an_inner_border_is_in_one_tile_and_at_the_photos_end_in_it():
    whole = fields(keypoints=np.float32([[12, 4], [24, 4], [0, 24]]))
    left = cut_fields(whole, Window(0, 0, 12, 24), visibility=0)
    right = cut_fields(whole, Window(12, 0, 24, 24), visibility=0)
    assert left["keypoints"].tolist() == [[0, 24]]
    assert right["keypoints"].tolist() == [[0, 4], [12, 4]]


def test_none_stays_none_and_another_size_is_an_error():
    cut = cut_fields(
        fields(bboxes=None, masks=None), Window(0, 0, 5, 5), visibility=0.1
    )
    assert (cut["bboxes"], cut["masks"]) == (None, None)
    for more in (
        {"mask": np.zeros((9, SIDE), np.uint8)},
        {"masks": np.zeros((2, SIDE, 9), np.uint8)},
    ):
        with pytest.raises(SampleBroken, match=r"9.* px, the image 24x24"):
            cut_fields(fields(**more), Window(0, 0, 5, 5), visibility=0)
