"""Predictions of tiles, put together: of the truth they make the truth."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fiberaug
from fiberaug.cutting import boxes_within
from fiberaug.errors import UsageError
from fiberaug.tiling import Tiling

LAW = settings(deadline=None, max_examples=150)


def record(tile, key="photo", url="a.tar"):
    return {"key": key, "url": url, "decode": {"tile": tile.to_dict()}}


def tiles_of(tiling, size, shift, order):
    numbers = order.permutation(tiling.count(*size)).tolist()
    return [tiling.tile(number, *size, shift) for number in numbers]


def predicted(tiles, boxes, labels):
    """Return the truth, as each tile shows it."""
    found = []
    for tile in tiles:
        clipped, rows = boxes_within(boxes, tile.window, 0.0)
        found.append({"boxes": clipped, "labels": labels[rows]})
    return found


@st.composite
def cuts(draw):
    size = draw(st.integers(20, 120)), draw(st.integers(20, 120))
    height, width = draw(st.integers(16, 60)), draw(st.integers(16, 60))
    overlap = draw(st.integers(0, min(height, width) * 2 // 3))
    tiling = Tiling(height=height, width=width, overlap=overlap, visibility=0.0)
    share = st.floats(0, 1, exclude_max=True)
    order = np.random.default_rng(draw(st.integers(0, 99)))
    shift = draw(st.none() | st.tuples(share, share))
    return size, tiling, tiles_of(tiling, size, shift, order)


def rounded(boxes, labels):
    rows = np.concatenate([boxes, labels[:, None]], 1).astype(np.float64)
    return sorted(map(tuple, rows.round(2).tolist()))


@LAW
@given(cuts(), st.integers(0, 2**32), st.booleans())
def test_the_truth_is_given_back_whatever_a_border_cuts(cut, seed, whole_numbers):
    """One object a class: of any size, larger than a tile too."""
    (width, height), _, tiles = cut
    random = np.random.default_rng(seed)
    count = int(random.integers(0, 12))
    ends = np.sort(random.random((count, 2, 2)) * [width, height], axis=1)
    if whole_numbers:
        ends = ends.round()
    boxes = ends.reshape(-1, 4).astype(np.float32)
    labels = np.arange(count)

    (merged,) = fiberaug.merge_tiles(
        predicted(tiles, boxes, labels), map(record, tiles)
    )

    assert rounded(merged.bboxes, merged.labels) == rounded(boxes, labels)
    assert merged.covered == 1


@LAW
@given(cuts(), st.integers(0, 2**32))
def test_objects_of_one_class_that_lie_over_each_other_stay_apart(cut, seed):
    """As long as the overlap holds them whole."""
    (width, height), tiling, tiles = cut
    random = np.random.default_rng(seed)
    most = min(tiling.overlap, width, height)
    count = int(random.integers(0, 30)) if most else 0
    sides = random.integers(1, max(2, most + 1), (count, 2))
    low = (random.random((count, 2)) * ([width, height] - sides)).astype(int)
    boxes = np.unique(np.concatenate([low, low + sides], 1), axis=0)
    boxes, labels = boxes.astype(np.float32), np.zeros(len(boxes), np.int64)

    (merged,) = fiberaug.merge_tiles(
        predicted(tiles, boxes, labels), map(record, tiles)
    )

    assert rounded(merged.bboxes, merged.labels) == rounded(boxes, labels)


@LAW
@given(cuts(), st.integers(0, 2**32))
def test_maps_are_put_at_their_place(cut, seed):
    (width, height), _, tiles = cut
    random = np.random.default_rng(seed)
    logits = random.random((3, height, width)).astype(np.float32)
    classes = random.integers(0, 9, (height, width)).astype(np.uint8)
    for whole in (logits, classes):
        parts = [
            torch.from_numpy(whole[..., w.y_min : w.y_max, w.x_min : w.x_max])
            for w in (tile.window for tile in tiles)
        ]
        (merged,) = fiberaug.merge_tiles(parts, map(record, tiles))
        np.testing.assert_allclose(merged.map, whole, atol=1e-6)
        assert merged.map.dtype == whole.dtype


TILING = Tiling(height=60, width=60, overlap=20)
LEFT, RIGHT = (TILING.tile(number, 100, 60) for number in (0, 1))


def merged(left, right, **options):
    """Return what two tiles make: [0, 60) and [40, 100) of 100 px."""
    records = map(record, (LEFT, RIGHT))
    (found,) = fiberaug.merge_tiles([left, right], records, **options)
    return found


def test_each_side_is_of_a_tile_that_does_not_cut_it_there():
    found = merged(
        {"boxes": [[30, 10, 60, 30]], "labels": [1], "scores": [0.6]},
        {"boxes": [[0, 11, 50, 29]], "labels": [1], "scores": [0.9]},
    )
    assert found.bboxes.tolist() == [[30, 11, 90, 29]]
    assert found.scores.tolist() == pytest.approx([0.9])


def test_what_both_tiles_show_whole_is_the_one_with_the_better_score():
    found = merged(
        {"boxes": [[42, 10, 55, 30]], "labels": [1], "scores": [0.6]},
        {"boxes": [[2.5, 11, 15, 29]], "labels": [1], "scores": [0.9]},
    )
    assert found.bboxes.tolist() == [[42.5, 11, 55, 29]]


def test_what_is_whole_counts_more_than_a_part_with_a_better_score():
    found = merged(
        {"boxes": [[30, 12, 60, 28]], "labels": [1], "scores": [0.9]},
        {"boxes": [[0, 10, 20, 30]], "labels": [1], "scores": [0.6]},
    )
    whole = {"boxes": [[41, 10, 55, 30]], "labels": [1], "scores": [0.5]}
    part = {"boxes": [[0, 12, 15, 29]], "labels": [1], "scores": [0.9]}
    assert found.bboxes.tolist() == [[30, 12, 60, 28]]
    assert merged(whole, part).bboxes.tolist() == [[41, 10, 55, 30]]


def test_a_cap_of_a_round_object_is_a_part_of_it():
    """Its box is far from the part of the whole box that the tile shows."""
    cap, whole = {"boxes": [[52, 20, 60, 36]]}, {"boxes": [[12, 5, 55, 51]]}
    assert merged(cap, whole).bboxes.tolist() == [[52, 5, 95, 51]]
    apart = {"boxes": [[12, 5, 55, 15]]}
    assert len(merged(cap, apart).bboxes) == 2
    inner = {"boxes": [[50, 20, 58, 36]]}  # no border cuts it
    assert len(merged(inner, whole).bboxes) == 2


@pytest.mark.parametrize("upright", [True, False])
def test_of_class_ids_the_tile_counts_that_shows_a_pixel_farther_from_its_cut(upright):
    """The photo's own border is no cut, so corners are decided too."""
    size = (60, 100) if upright else (100, 60)
    tiling = Tiling(height=60, width=60, overlap=20)
    tiles = [tiling.tile(number, *size) for number in (0, 1)]
    ids = [np.full((60, 60), number, np.uint8) for number in (1, 2)]
    for order in (1, -1):
        (found,) = fiberaug.merge_tiles(ids[::order], map(record, tiles[::order]))
        line = found.map if upright else found.map.T
        assert (line[:50] == 1).all()
        assert (line[50:] == 2).all()


def test_boxes_of_other_classes_or_elsewhere_are_other_objects():
    found = merged(
        {"boxes": [[42, 10, 55, 30], [5, 5, 20, 20]], "labels": [1, 1]},
        {"boxes": [[2, 10, 15, 30], [2, 40, 15, 58]], "labels": [2, 1]},
    )
    assert len(found.bboxes) == 4


def test_within_a_tile_only_what_is_asked_for_is_suppressed():
    twice = {"boxes": [[5, 5, 30, 30], [6, 5, 30, 30]], "scores": [0.4, 0.8]}
    nothing = {"boxes": np.zeros((0, 4)), "scores": []}
    assert len(merged(twice, nothing).bboxes) == 2
    assert merged(twice, nothing, nms=0.5).bboxes.tolist() == [[6, 5, 30, 30]]
    apart = twice | {"labels": [1, 2]}
    assert len(merged(apart, nothing | {"labels": []}, nms=0.5).bboxes) == 2


def test_boxes_of_a_resized_tile_are_brought_to_its_size():
    found = merged(
        {"boxes": [[10, 20, 30, 40]]}, {"boxes": [[100, 200, 120, 240]]},
        size=(240, 120),
    )  # fmt: skip
    assert found.bboxes.tolist() == [[5, 5, 15, 10], [90, 50, 100, 60]]


def test_photos_come_in_the_order_of_their_first_tile():
    boxes = [{"boxes": [[i, 0, i + 5, 5]]} for i in range(3)]
    records = [record(LEFT, "b"), record(LEFT, "a"), record(RIGHT, "b")]
    found = fiberaug.merge_tiles(boxes, records)
    assert [photo.key for photo in found] == ["b", "a"]
    assert found[0].bboxes.tolist() == [[0, 0, 5, 5], [42, 0, 47, 5]]
    assert [round(photo.covered, 3) for photo in found] == [1.0, 0.6]


@pytest.mark.parametrize(
    ("predictions", "options", "said"),
    [
        ([{"boxes": []}], {}, "one record for each"),
        ([{"box": []}] * 2, {}, "has none of"),
        ([{"boxes": [[0, 0, 1]]}] * 2, {}, r"must be \[N, 4\]"),
        ([{"boxes": [[0, 0, 9, 9]], "labels": [1, 2]}] * 2, {}, "1 boxes, 2 labels"),
        ([{"boxes": [[0, 0, 500, 9]]}] * 2, {}, r"500 px.*60x60.*size=\(height"),
        ([np.zeros((2, 30, 30))] * 2, {}, r"\[2, 30, 30\].*\[60, 60\]"),
        ([np.zeros((60, 60)), {"boxes": []}], {}, "all or none"),
        ([{"boxes": []}] * 2, {"iou": 0}, r"\(0, 1\]"),
        ([{"boxes": []}] * 2, {"nms": 2}, r"\(0, 1\]"),
        ([{"boxes": [["a"] * 4]}] * 2, {}, "must be numbers"),
    ],
)
def test_what_does_not_fit_is_an_error(predictions, options, said):
    with pytest.raises(UsageError, match=said):
        fiberaug.merge_tiles(predictions, map(record, (LEFT, RIGHT)), **options)


@pytest.mark.parametrize("given", [{}, {"key": "a", "url": "b", "decode": {}}, "[1]"])
def test_a_record_of_no_tile_is_an_error(given):
    with pytest.raises(UsageError, match=r"decode\.tile"):
        fiberaug.merge_tiles([{"boxes": []}], [given])
