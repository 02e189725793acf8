"""CopyPaste: every pixel is the sample's or a pasted object's, and is annotated so."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.mixes.base import UNMIXED, RowDraw
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.outlines import filled
from fiberaug.tiling import Window

SEEDS = st.integers(0, 2**32)
SIDES = st.tuples(st.integers(6, 24), st.integers(6, 24))
VISIBILITY = st.sampled_from([0.0, 0.1, 0.5, 1.0])
KEPT = ("image", "mask", "bboxes", "bbox_labels", "bbox_ids", "masks", "mask_labels")


def hull_box(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def sample(number, size, rng, objects):
    """Objects that hide each other; each pixel has the level of what is seen there."""
    planes = np.zeros((objects, *size), bool)
    for i in range(objects):
        x, y = rng.integers(0, [size[1], size[0]])
        planes[i, y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
        planes[i] &= rng.random(size) < 0.8
        planes[i, y, x] = True
    top = np.zeros(size, int)  # number of the object that is seen, from 1
    for i, plane in enumerate(planes, 1):
        top[plane] = i
    there = [i for i in range(1, objects + 1) if (top == i).any()]
    levels = number * 100 + top
    boxes = [hull_box(top == i) for i in there]
    fields = {
        "image": np.stack([levels] * 3, axis=2).astype(np.uint8),
        "mask": top.astype(np.int64),
        "bboxes": np.float32(boxes).reshape(-1, 4),
        "bbox_labels": np.int64([number * 100 + i for i in there]),
        "bbox_ids": np.int64([number * 1000 + i for i in there]),
        "masks": np.uint8([(top == i) * 255 for i in there]).reshape(-1, *size),
        "mask_labels": np.int64([number * 100 + i for i in there]),
        "label": number,
    }
    for value in fields.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return fields


def two(seed, sizes, objects=(4, 4)):
    rng = np.random.default_rng(seed)
    pair = zip(sizes, objects, strict=True)
    own, partner = (sample(i, *one, rng, n) for i, (*one, n) in enumerate(pair))
    return own, partner, rng


def drawn(mix, rng):
    return mix.draw(rng, 2)[0]


@given(
    SEEDS,
    SIDES,
    VISIBILITY,
    st.sampled_from([0, 1]),
    st.sampled_from(["random", "same"]),
)
@settings(max_examples=100)
def test_what_is_annotated_is_what_is_seen(seed, size, visibility, flip, position):
    """At scale one a pixel has the level of its object, so that pixels can tell."""
    own, partner, rng = two(seed, [size, size])
    mix = CopyPaste(
        p=1, objects=(1, 4), scale=(1, 1), visibility=visibility, position=position,
        flip=flip,
    )  # fmt: skip
    made = mix.compose(own, [partner], drawn(mix, rng))

    levels, labels = made["image"][:, :, 0], made["bbox_labels"].tolist()
    assert len(set(labels)) == len(labels)
    assert labels == sorted(labels, key=lambda label: label >= 100)  # own ones first
    for i, label in enumerate(labels):
        np.testing.assert_array_equal(made["masks"][i], (levels == label) * 255)
        assert made["bboxes"][i].tolist() == hull_box(levels == label)
    assert made["mask_labels"].tolist() == labels
    assert (
        made["bbox_ids"]
        == made["bbox_labels"] // 100 * 1000 + made["bbox_labels"] % 100
    ).all()
    pasted = levels >= 100
    np.testing.assert_array_equal(levels[~pasted], own["image"][~pasted][:, 0])
    np.testing.assert_array_equal(made["mask"][~pasted], own["mask"][~pasted])
    np.testing.assert_array_equal(made["mask"][pasted], levels[pasted] - 100)
    assert set(np.unique(levels[pasted])) == {n for n in labels if n >= 100}
    for label, mask in zip(own["bbox_labels"], own["masks"], strict=True):
        whole, seen = (mask > 0).sum(), (levels == label).sum()
        assert (label in labels) == (seen > 0 and seen >= visibility * whole - 1e-9)
    for label, mask in zip(partner["bbox_labels"], partner["masks"], strict=True):
        if label in labels:
            assert (levels == label).sum() >= visibility * (mask > 0).sum() - 1e-9
    for name in KEPT:
        assert made[name].dtype == own[name].dtype
    assert made["label"] == own["label"]


@given(SEEDS, SIDES)
@settings(max_examples=40)
def test_the_same_position_at_scale_one_is_where_the_object_was(seed, size):
    own, partner, rng = two(seed, [size, size])
    mix = CopyPaste(p=1, scale=(1, 1), position="same")
    levels = mix.compose(own, [partner], drawn(mix, rng))["image"][:, :, 0]

    there = partner["image"][:, :, 0]
    assert (levels >= 100).any()
    np.testing.assert_array_equal(levels[levels >= 100], there[levels >= 100])


@given(SEEDS, SIDES, SIDES, st.floats(0.3, 2), st.sampled_from([0, 1]))
@settings(max_examples=80)
def test_an_object_alone_arrives_whole_at_its_scale(seed, size, other, scale, flip):
    own, partner, rng = two(seed, [size, other], objects=(0, 1))
    x0, y0, x1, y1 = partner["bboxes"][0].astype(int)
    solid = np.zeros((1, *other), np.uint8)
    solid[0, y0:y1, x0:x1] = 3
    loose = np.float32([[x0 - 0.25, y0 - 0.5, x1 + 0.75, y1 + 0.125]])
    loose = loose.clip(0, [*other[::-1]] * 2)  # nobody draws boxes to the pixel
    partner = {**partner, "masks": solid, "bboxes": loose}
    mix = CopyPaste(p=1, scale=(scale, scale), flip=flip, objects=(3, 3))
    made = mix.compose(own, [partner], drawn(mix, rng))

    sides = np.array([x1 - x0, y1 - y0])
    ratio = min(scale * min(np.divide(size, other)), *(np.divide(size[::-1], sides)))
    (mask,) = made["masks"]
    assert set(np.unique(mask)) <= {0, 3}
    low, high = np.reshape(hull_box(mask), (2, 2))
    assert (high - low == np.maximum(1, (sides * ratio + 0.5).astype(int))).all()
    assert (mask == 3).sum() == (high - low).prod()
    before, after = [x0, y0] - loose[0, :2], loose[0, 2:] - [x1, y1]
    if flip:
        before[0], after[0] = after[0], before[0]
    stretch = (high - low) / sides
    expected = np.array([low - before * stretch, high + after * stretch])
    expected = expected.clip(0, size[::-1]).reshape(4)
    np.testing.assert_allclose(made["bboxes"][0], expected, atol=1e-4)
    beside = mask == 0
    np.testing.assert_array_equal(made["image"][beside], own["image"][beside])
    np.testing.assert_array_equal(made["mask"][beside], own["mask"][beside])
    assert set(np.unique(made["mask"][~beside])) <= {0, 1}


@given(SEEDS, SIDES, SIDES, st.floats(1.5, 6), st.floats(0.5, 2))
@settings(max_examples=60)
def test_a_soft_edge_is_inside_of_the_object(seed, size, other, feather, scale):
    own, partner, rng = two(seed, [size, other], objects=(2, 1))
    white = np.full((*other, 3), 200, np.uint8)
    own = {**own, "image": np.full((*size, 3), 50, np.uint8)}
    partner = {**partner, "image": white, "masks": None}  # its box, without holes
    options = {"p": 1, "scale": (scale, scale)}
    draw = drawn(CopyPaste(**options), rng)
    hard = CopyPaste(**options).compose(own, [partner], draw)
    soft = CopyPaste(**options, feather=feather).compose(own, [partner], draw)

    inside = hard["image"][:, :, 0] == 200
    levels = soft["image"][:, :, 0].astype(float)
    assert (levels[~inside] == 50).all()
    rows, columns = np.nonzero(inside)
    x0, x1, y0, y1 = columns.min(), columns.max(), rows.min(), rows.max()
    for y, x in zip(rows, columns, strict=True):
        depth = 1 + min(x - x0, x1 - x, y - y0, y1 - y)
        weight = min(1, depth / (feather + 1))
        assert abs(levels[y, x] - (50 + 150 * weight)) <= 0.51
    for name in set(hard) - {"image"}:
        np.testing.assert_array_equal(hard[name], soft[name])


def with_boxes(rng, size, count):
    low = rng.uniform(0, np.subtract(size[::-1], 2), (count, 2))
    high = (low + rng.uniform(0.3, 9, (count, 2))).clip(max=size[::-1])
    return np.concatenate([low, high], axis=1).astype(np.float32)


@given(SEEDS, SIDES, VISIBILITY)
@settings(max_examples=80)
def test_without_masks_boxes_are_pasted_and_dropped_by_area(seed, size, visibility):
    rng = np.random.default_rng(seed)
    own = {
        "image": np.zeros((*size, 1), np.uint8),
        "bboxes": with_boxes(rng, size, 5), "bbox_labels": np.arange(5),
    }  # fmt: skip
    partner = {
        "image": np.full((*size, 1), 255, np.uint8),
        "bboxes": with_boxes(rng, size, 3), "bbox_labels": np.arange(100, 103),
    }  # fmt: skip
    mix = CopyPaste(p=1, scale=(1, 1), visibility=visibility)
    made = mix.compose(own, [partner], drawn(mix, rng))

    cover = made["image"][:, :, 0] == 255
    labels = made["bbox_labels"].tolist()
    for label, box in enumerate(own["bboxes"].astype(float)):
        x0, y0, x1, y1 = box
        area, hidden = (x1 - x0) * (y1 - y0), 0
        for y, x in np.argwhere(cover):
            wide, high = min(x1, x + 1) - max(x0, x), min(y1, y + 1) - max(y0, y)
            hidden += max(0, wide) * max(0, high)
        share = 1 - hidden / area
        if abs(share - visibility) > 1e-5 and share > 1e-5:
            assert (label in labels) == (share >= visibility)
        if label in labels:
            (row,) = np.flatnonzero(made["bbox_labels"] == label)
            assert made["bboxes"][row].tolist() == own["bboxes"][label].tolist()
    for label, box in zip(labels, made["bboxes"], strict=True):
        if label >= 100:
            sides = np.diff(partner["bboxes"][label - 100].reshape(2, 2), axis=0)
            np.testing.assert_allclose(
                np.diff(box.reshape(2, 2), axis=0), sides, atol=1e-4
            )
            x0, y0, x1, y1 = np.round(
                box + np.array([0.49, 0.49, -0.49, -0.49])
            ).astype(int)
            assert cover[y0:y1, x0:x1].all()


def test_outlines_are_pasted_clipped_and_followed():
    outline = np.float32([[1, 1], [9, 2], [8, 8], [2, 7]])
    partner = {
        "image": np.full((10, 10, 3), 200, np.uint8), "polygons": [outline],
        "bboxes": np.float32([[1, 1, 9, 8]]), "bbox_labels": np.int64([5]),
    }  # fmt: skip
    own = {
        "image": np.zeros((30, 40, 3), np.uint8),
        "polygons": [np.float32([[0, 0], [2, 0], [2, 2]])],
        "bboxes": np.float32([[0, 0, 2, 2]]), "bbox_labels": np.int64([4]),
    }  # fmt: skip
    params = {
        "picks": [0.0],
        "scales": [1.0],
        "places": [[0.99, 0.99]],
        "flips": [False],
    }
    made = CopyPaste(p=1).compose(
        own, [partner], RowDraw(applied=True, partners=(1,), params=params)
    )

    # 30 / 10: three times as large, in the lower right corner, whole.
    moved = (outline - [1, 1]) * 3 + [40 - 24, 30 - 21]
    np.testing.assert_allclose(made["polygons"][1], moved, atol=1e-4)
    np.testing.assert_allclose(made["bboxes"][1], [16, 9, 40, 30], atol=1e-4)
    inside = made["image"][:, :, 0] > 0
    np.testing.assert_array_equal(
        inside[9:30, 16:40],
        np.kron(filled(outline, Window(1, 1, 9, 8)), np.ones((3, 3))),
    )
    assert not inside[:, :16].any()
    assert made["bbox_labels"].tolist() == [4, 5]

    params = {**params, "flips": [True], "scales": [1 / 3]}
    flipped = CopyPaste(p=1).compose(
        own, [partner], RowDraw(applied=True, partners=(1,), params=params)
    )
    mirror = (outline - [1, 1]) * [-1, 1] + [8, 0] + [32, 23]
    np.testing.assert_allclose(flipped["polygons"][1], mirror, atol=1e-4)
    np.testing.assert_allclose(flipped["bboxes"][1], [32, 23, 40, 30], atol=1e-4)


def test_an_object_over_the_border_is_cut_and_goes_where_too_little_is_left():
    box = np.float32([[8, 3, 10, 7]])  # at the right border
    partner = {
        "image": np.full((10, 10, 3), 9, np.uint8), "bboxes": box,
        "bbox_labels": np.int64([1]),
        "polygons": [np.float32([[8, 3], [10, 3], [10, 7], [8, 7]])],
    }  # fmt: skip
    own = {
        "image": np.zeros((10, 10, 3), np.uint8), "bboxes": box[:0],
        "bbox_labels": np.zeros(0, np.int64), "polygons": [],
    }  # fmt: skip
    params = {"picks": [0.5], "scales": [2.0], "places": [[0, 0]], "flips": [False]}
    draw = RowDraw(applied=True, partners=(1,), params=params)
    made = CopyPaste(p=1, position="same").compose(own, [partner], draw)

    assert made["bboxes"].tolist() == [[7, 1, 10, 9]]
    assert (made["image"][1:9, 7:] == 9).all()
    assert made["image"].any(axis=2).sum() == 24
    assert made["polygons"][0].max(axis=0).tolist() == [10, 9]
    # 24 of 32 px are seen.
    whole = CopyPaste(p=1, position="same", visibility=0.76)
    assert not whole.compose(own, [partner], draw)["image"].any()


def test_an_object_over_the_upper_left_corner_shows_its_other_end():
    ids = np.arange(100).reshape(10, 10)
    partner = {
        "image": np.uint8(ids)[..., None], "mask": ids,
        "bboxes": np.float32([[0, 0, 3, 3]]), "bbox_labels": np.int64([1]),
    }  # fmt: skip
    own = {"image": np.zeros((10, 10, 1), np.uint8), "mask": ids * 0 - 1}
    params = {"picks": [0.5], "scales": [2.0], "places": [[0, 0]], "flips": [False]}
    draw = RowDraw(applied=True, partners=(1,), params=params)
    made = CopyPaste(p=1, position="same").compose(own, [partner], draw)

    doubled = np.kron(ids[:3, :3], np.ones((2, 2), int))
    np.testing.assert_array_equal(made["mask"][:4, :4], doubled[2:, 2:])
    assert (made["mask"] >= 0).sum() == 16
    assert abs(made["image"][:4, :4, 0] - doubled[2:, 2:]).max() <= 6  # interpolated
    assert made["bboxes"].tolist() == [[0, 0, 4, 4]]


def test_a_box_without_area_stays():
    own = {
        "image": np.zeros((10, 10, 1), np.uint8),
        "bboxes": np.float32([[3, 3, 3, 9], [2, 2, 5, 5]]),
        "bbox_labels": np.int64([7, 8]),
    }  # fmt: skip
    partner = {"image": own["image"] + 1, "bboxes": np.float32([[0, 0, 10, 10]])}
    mix = CopyPaste(p=1, scale=(1, 1))
    made = mix.compose(own, [partner], drawn(mix, np.random.default_rng(0)))

    assert made["bboxes"].tolist() == [[3, 3, 3, 9], [0, 0, 10, 10]]
    assert made["bbox_labels"].tolist() == [7, -1]


def test_the_last_one_drawn_lies_on_top():
    image = np.zeros((9, 9, 1), np.uint8)
    image[:5, :5], image[6:, 6:] = 1, 2
    partner = {
        "image": image, "bboxes": np.float32([[0, 0, 5, 5], [6, 6, 9, 9]]),
        "bbox_labels": np.int64([1, 2]),
    }  # fmt: skip
    params = {"scales": [1.0] * 2, "places": [[0, 0]] * 2, "flips": [False] * 2}
    for picks, labels in (([0.0, 0.0], [1, 2]), ([0.5, 0.0], [1])):
        draw = RowDraw(applied=True, partners=(1,), params={"picks": picks, **params})
        own = {"image": image * 0}
        made = CopyPaste(p=1).compose(own, [partner], draw)
        assert made["bbox_labels"].tolist() == labels
        assert made["image"][0, 0] == labels[-1]
        assert made["image"].any(axis=2).sum() == 25


def test_no_object_becomes_larger_than_the_image():
    own, partner, _ = two(0, [(8, 20), (12, 12)], objects=(0, 1))
    partner = {**partner, "masks": None, "bboxes": np.float32([[1, 0, 12, 11]])}
    params = {"picks": [0], "scales": [4.0], "places": [[0.5, 0.5]], "flips": [False]}
    made = CopyPaste(p=1).compose(
        own, [partner], RowDraw(applied=True, partners=(1,), params=params)
    )

    assert made["bboxes"].tolist() == [[6, 0, 14, 8]]


@given(SEEDS, SIDES, SIDES)
@settings(max_examples=20)
def test_no_input_is_changed(seed, size, other):
    own, partner, rng = two(seed, [size, other])
    before = copy.deepcopy([own, partner])
    mix = CopyPaste(p=1, feather=2, flip=0.5)
    mix.compose(own, [partner], drawn(mix, rng))

    for fields, kept in zip([own, partner], before, strict=True):
        for name, value in kept.items():
            np.testing.assert_array_equal(fields[name], value)


def test_masks_and_outlines_that_are_not_of_boxes_are_not_pasted():
    own, partner, rng = two(1, [(20, 20)] * 2)
    own |= {"masks": own["masks"][:1] | 255, "mask_labels": own["mask_labels"][:1]}
    own |= {"polygons": [np.zeros((3, 2), np.float32)]}
    mix = CopyPaste(p=1, scale=(1, 1))
    made = mix.compose(own, [partner], drawn(mix, rng))

    pasted = made["image"][:, :, 0] >= 100
    assert pasted.any()
    np.testing.assert_array_equal(made["masks"], ~pasted[None] * np.uint8(255))
    assert made["mask_labels"].tolist() == own["mask_labels"].tolist()
    assert len(made["polygons"]) == 1


def test_what_a_sample_lacks_is_empty():
    own, partner, rng = two(2, [(20, 20)] * 2)
    mix = CopyPaste(p=1, scale=(1, 1), fill_mask=77)
    bare = {
        **partner,
        "mask": None,
        "masks": None,
        "mask_labels": None,
        "bbox_ids": None,
    }
    made = mix.compose(own, [bare], drawn(mix, rng))

    new = made["bbox_labels"] >= 100
    assert new.any()
    assert not made["masks"][new].any()
    assert (made["bbox_ids"][new] == -1).all()
    assert (made["mask"] == 77).sum() == (made["image"][:, :, 0] >= 100).sum() > 0
    nothing = {name: own[name] for name in ("image", "label")}
    made = mix.compose(nothing, [partner], drawn(mix, rng))
    assert len(made["bboxes"]) == len(made["masks"]) > 0
    assert "mask" not in made


def test_class_ids_of_a_wider_mask_fit():
    own, partner, rng = two(2, [(20, 20)] * 2)
    own = {**own, "mask": own["mask"] > 0}
    mix = CopyPaste(p=1)
    made = mix.compose(own, [partner], drawn(mix, rng))

    assert made["mask"].dtype == np.int64
    bad = CopyPaste(p=1, fill_mask=2)
    with pytest.raises(UsageError, match=r"fill_mask=2 must be in \[0, 1\]"):
        bad.compose(own, [{**partner, "mask": None}], drawn(mix, rng))


def test_where_nothing_can_be_pasted_the_sample_stays():
    own, partner, rng = two(3, [(20, 20)] * 2)
    mix = CopyPaste(p=1)
    flat = {"image": partner["image"], "bboxes": np.float32([[3, 3, 3, 9]])}
    for other, draw in (
        ({**partner, "bboxes": None}, drawn(mix, rng)),
        (flat, drawn(mix, rng)),
        (partner, UNMIXED),
    ):
        made = mix.compose(own, [other], draw)
        assert all(made[name] is own[name] for name in own)


def test_sets_that_cannot_take_objects_are_refused():
    with pytest.raises(UsageError, match="needs the field bboxes, got"):
        CopyPaste().check(["image", "label"], {})
    with pytest.raises(UsageError, match="keypoints belong to an object"):
        CopyPaste().check(["image", "bboxes", "keypoints"], {})
    with pytest.raises(UsageError, match="not the image 'depth'"):
        CopyPaste().check(["image", "bboxes", "depth"], {"depth": "image"})
    CopyPaste().check(["image", "bboxes", "masks", "polygons", "mask"], {})
    own, partner, rng = two(4, [(9, 9)] * 2)
    mix = CopyPaste(p=1)
    with pytest.raises(UsageError, match="cannot be mixed"):
        mix.compose(
            own, [{**partner, "image": partner["image"] / 255}], drawn(mix, rng)
        )
