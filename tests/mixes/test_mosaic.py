"""Mosaic: every pixel and every object comes from where the draw says."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.mixes.base import UNMIXED
from fiberaug.mixes.mosaic import Mosaic

SEEDS = st.integers(0, 2**32)
SIDES = st.tuples(st.integers(8, 40), st.integers(8, 40))


def sample(number, size, rng, objects=3, dtype=np.float32):
    """Pixels that say where they are: (number, x, y), px of their centre."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.stack([np.full(size, number), x, y], axis=2).astype(dtype)
    low = rng.integers(0, [width - 2, height - 2], (objects, 2))
    high = low + rng.integers(1, [width // 2, height // 2], (objects, 2))
    boxes = np.concatenate([low, high.clip(max=[width, height])], axis=1)
    masks = np.zeros((objects, *size), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 255
    points = rng.uniform(0, [width, height], (4, 2))
    fields = {
        "image": image,
        "mask": (image[:, :, 1].astype(np.int64) % 5),
        "bboxes": boxes.astype(np.float32),
        "bbox_labels": number * 100 + np.arange(objects),
        "bbox_ids": number * 1000 + np.arange(objects),
        "masks": masks,
        "mask_labels": number * 100 + np.arange(objects),
        "polygons": [
            np.float32([[a, b], [c, b], [c, d], [a, d]]) for a, b, c, d in boxes
        ],
        "keypoints": points.astype(np.float32),
        "keypoint_labels": [f"{number}.{i}" for i in range(4)],
        "caption": f"sample {number}",
    }
    for value in fields.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return fields


def four(seed, sizes, **options):
    rng = np.random.default_rng(seed)
    samples = [sample(i + 1, size, rng, **options) for i, size in enumerate(sizes)]
    return samples[0], samples[1:], rng


def quadrants(draw, size):
    """Return of each image where its corner is, and the quadrant (x0, y0, x1, y1)."""
    height, width = size
    x, y = (
        min(max(1, int(c * n + 0.5)), n - 1)
        for c, n in zip(draw.params["center"], (width, height), strict=True)
    )
    rooms = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    return (x, y), [rooms[q] for q in draw.params["quadrants"]]


@given(SEEDS, SIDES, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
@settings(max_examples=60)
def test_at_scale_one_each_quadrant_is_a_corner_of_an_image(seed, size, visibility):
    own, partners, rng = four(seed, [size] * 4)
    mix = Mosaic(p=1, scale=(1, 1), visibility=visibility)
    draw = mix.draw(rng, 4)[0]

    made = mix.compose(own, partners, draw)

    (x, y), rooms = quadrants(draw, size)
    height, width = size
    boxes, labels = [], []
    for image, (x0, y0, x1, y1) in zip([own, *partners], rooms, strict=True):
        dx, dy = (x - width if x1 == x else x), (y - height if y1 == y else y)
        pixels = image["image"][y0 - dy : y1 - dy, x0 - dx : x1 - dx]
        np.testing.assert_array_equal(made["image"][y0:y1, x0:x1], pixels)
        ids = image["mask"][y0 - dy : y1 - dy, x0 - dx : x1 - dx]
        np.testing.assert_array_equal(made["mask"][y0:y1, x0:x1], ids)
        for box, label in zip(image["bboxes"], image["bbox_labels"], strict=True):
            clipped = (box + np.array([dx, dy, dx, dy])).clip(
                [x0, y0, x0, y0], [x1, y1, x1, y1]
            )
            area, seen = (np.prod(b[2:] - b[:2]) for b in (box, clipped))
            if seen > 0 and seen >= visibility * area - 1e-3:
                boxes.append(clipped.tolist())
                labels.append(label)
    assert made["bboxes"].tolist() == boxes
    assert made["bbox_labels"].tolist() == made["mask_labels"].tolist() == labels
    for mask, (x0, y0, x1, y1) in zip(
        made["masks"], made["bboxes"].astype(int), strict=True
    ):
        drawn = np.zeros(size, np.uint8)
        drawn[y0:y1, x0:x1] = 255
        np.testing.assert_array_equal(mask, drawn)


@given(
    SEEDS, st.lists(SIDES, min_size=4, max_size=4), st.none() | SIDES,
    st.sampled_from(["canvas", "quadrant"]), st.sampled_from([0.0, 0.1, 0.5]),
)  # fmt: skip
@settings(max_examples=80)
def test_every_pixel_and_object_comes_from_where_the_draw_says(
    seed, sizes, size, fit, visibility
):
    own, partners, rng = four(seed, sizes)
    mix = Mosaic(p=1, size=size, fit=fit, scale=(0.4, 1.6), visibility=visibility)
    draw = mix.draw(rng, 4)[0]

    made = mix.compose(own, partners, draw)

    size = size or sizes[0]
    assert made["image"].shape == (*size, 3)
    (x, y), rooms = quadrants(draw, size)
    expected = {}
    for number, (fields, room) in enumerate(zip([own, *partners], rooms, strict=True)):
        height, width = fields["image"].shape[:2]
        x0, y0, x1, y1 = room
        if fit == "canvas":
            ratio = min(size[0] / height, size[1] / width)
        else:
            ratio = max((y1 - y0) / height, (x1 - x0) / width)
        ratio *= draw.params["scales"][number]
        # A pixel is as far from the point as the source's is from its corner.
        corner = np.array([width if x1 == x else 0, height if y1 == y else 0])
        rows, columns = np.mgrid[y0:y1, x0:x1] + 0.5
        source = corner + (np.stack([columns, rows], 2) - [x, y]) / ratio
        pixels = made["image"][y0:y1, x0:x1]
        near = 1.5 + 1.5 / ratio
        inside = ((source > near) & (source < np.array([width, height]) - near)).all(2)
        outside = ((source < -near) | (source > np.array([width, height]) + near)).any(
            2
        )
        assert (pixels[inside][:, 0].round(3) == number + 1).all()
        assert (abs(pixels[inside][:, 1:] - source[inside]) <= near).all()
        assert (pixels[outside] == np.float32(114 / 255)).all()
        assert (made["mask"][y0:y1, x0:x1][outside] == 0).all()
        for box, label in zip(fields["bboxes"], fields["bbox_labels"], strict=True):
            moved = ((box.reshape(2, 2) - corner) * ratio + [x, y]).reshape(4)
            clipped = moved.clip([x0, y0, x0, y0], [x1, y1, x1, y1])
            sides, seen = moved[2:] - moved[:2], (clipped[2:] - clipped[:2])
            expected[int(label)] = clipped, seen.prod() / sides.prod(), sides
    assert len(set(made["bbox_labels"].tolist())) == len(made["bbox_labels"])
    found = dict(zip(made["bbox_labels"].tolist(), made["bboxes"], strict=True))
    for label, (clipped, share, sides) in expected.items():
        # Windows are whole pixels of the source: shares are as exact as these.
        unsure = 3 * (1 / sides).sum() * max(1, ratio)
        if share > visibility + unsure:
            assert label in found
        if share < visibility - unsure:
            assert label not in found
        if label in found:
            assert abs(found[label] - clipped).max() <= 2 * max(
                1, 1.6 * max(np.divide(size, np.min(sizes, axis=0)))
            )


@given(SEEDS, st.lists(SIDES, min_size=4, max_size=4), SIDES)
@settings(max_examples=40)
def test_what_belongs_to_an_object_stays_with_it(seed, sizes, size):
    own, partners, rng = four(seed, sizes)
    mix = Mosaic(p=1, size=size)
    made = mix.compose(own, partners, mix.draw(rng, 4)[0])

    count = len(made["bboxes"])
    assert {len(made[n]) for n in ("bbox_labels", "bbox_ids", "masks", "mask_labels",
                                   "polygons")} == {count}  # fmt: skip
    assert (made["bbox_labels"] // 100 == made["bbox_ids"] // 1000).all()
    assert (made["bbox_labels"] % 100 == made["bbox_ids"] % 1000).all()
    assert made["mask_labels"].tolist() == made["bbox_labels"].tolist()
    for box, mask, outline in zip(
        made["bboxes"], made["masks"], made["polygons"], strict=True
    ):
        np.testing.assert_allclose(outline.min(0), box[:2], atol=1e-3)
        np.testing.assert_allclose(outline.max(0), box[2:], atol=1e-3)
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert columns.min() + 1 >= box[0]
            assert columns.max() <= box[2]
            assert rows.min() + 1 >= box[1]
            assert rows.max() <= box[3]
        elif ((box[2:] - box[:2]) > 2).all():
            pytest.fail("a large box whose mask has no pixels")
    assert len(made["keypoints"]) == len(made["keypoint_labels"])
    for point, name in zip(made["keypoints"], made["keypoint_labels"], strict=True):
        x, y = point.astype(int).clip(0, [size[1] - 1, size[0] - 1])
        around = made["image"][max(0, y - 1) : y + 2, max(0, x - 1) : x + 2, 0]
        assert int(name[0]) in around.round(3)
    for name in ("bboxes", "bbox_labels", "bbox_ids", "masks", "mask_labels", "mask",
                 "keypoints", "image"):  # fmt: skip
        assert made[name].dtype == own[name].dtype
    assert made["caption"] == own["caption"]


@given(SEEDS, st.lists(SIDES, min_size=4, max_size=4))
@settings(max_examples=15)
def test_no_input_is_changed(seed, sizes):
    own, partners, rng = four(seed, sizes)
    mix = Mosaic(p=1)
    before = copy.deepcopy([own, *partners])
    mix.compose(own, partners, mix.draw(rng, 4)[0])

    for fields, kept in zip([own, *partners], before, strict=True):
        for name, value in kept.items():
            np.testing.assert_array_equal(fields[name], value)


def test_scale_one_of_the_quadrant_leaves_no_gap():
    own, partners, rng = four(0, [(30, 40), (64, 8), (8, 64), (20, 20)])
    mix = Mosaic(p=1, fit="quadrant", scale=(1, 1), center_range=(0, 1))
    for draw in mix.draw(rng, 4) * 4:
        made = mix.compose(own, partners, draw)
        assert (made["image"][:, :, 0] >= 0.999).all()


@pytest.mark.parametrize(
    ("dtype", "level"),
    [(np.uint8, 51), (np.uint16, 51 * 257), (np.float32, np.float32(0.2))],
)
def test_gaps_have_the_level_and_the_class_asked_for(dtype, level):
    own, partners, rng = four(1, [(20, 20)] * 4, dtype=dtype)
    mix = Mosaic(p=1, scale=(0.1, 0.1), fill=51, fill_mask=7)
    made = mix.compose(own, partners, mix.draw(rng, 4)[0])

    assert made["image"].dtype == dtype
    for corner in (0, -1):
        assert (made["image"][corner, corner] == level).all()
        assert made["mask"][corner, corner] == 7


def test_what_a_sample_lacks_is_empty():
    own, partners, rng = four(2, [(24, 24)] * 4)
    own = own | dict.fromkeys(("mask", "bboxes", "bbox_labels", "bbox_ids", "masks"))
    del own["polygons"], own["keypoints"], own["keypoint_labels"], own["mask_labels"]
    partners[0] = {**partners[0], "masks": None, "mask_labels": None, "bbox_ids": None}
    partners[1] = {**partners[1], "mask": None}
    mix = Mosaic(p=1, scale=(1, 1), fill_mask=9, center_range=(0.5, 0.5))
    made = mix.compose(own, partners, mix.draw(rng, 4)[0])

    count = len(made["bboxes"])
    assert {len(made[n]) for n in ("bbox_labels", "bbox_ids", "masks", "mask_labels",
                                   "polygons")} == {count}  # fmt: skip
    for label, number, mask in zip(
        made["bbox_labels"], made["bbox_ids"], made["masks"], strict=True
    ):
        assert label // 100 != 1
        assert mask.any() == (label // 100 != 2)
        assert (number == -1) == (label // 100 == 2)
    from_number = made["image"][:, :, 0]
    assert (made["mask"][from_number == 1] == 9).all()
    assert (made["mask"][from_number == 3] == 9).all()
    assert (made["mask"][from_number == 4] < 5).all()


def test_lists_and_masks_that_are_not_of_boxes_are_joined_as_they_are():
    own, partners, rng = four(3, [(24, 24)] * 4)
    own = {**own, "masks": own["masks"][:2], "mask_labels": own["mask_labels"][:2]}
    samples = [own, *({**p, "masks": None, "mask_labels": None} for p in partners)]
    samples = [{**s, "bbox_ids": [str(i) for i in s["bbox_ids"]]} for s in samples]
    mix = Mosaic(p=1, scale=(0.5, 0.5), center_range=(0.5, 0.5))
    made = mix.compose(samples[0], samples[1:], mix.draw(rng, 4)[0])

    assert len(made["masks"]) == len(made["mask_labels"]) == 2
    assert made["bbox_ids"] == [str(10 * i - i % 100 * 9) for i in made["bbox_labels"]]


def test_class_ids_of_a_wider_mask_fit():
    own, partners, rng = four(6, [(9, 9)] * 4)
    narrow = {**own, "mask": own["mask"].astype(np.uint8)}
    wide = [{**one, "mask": one["mask"].astype(np.uint16) + 1000} for one in partners]
    made = Mosaic(p=1).compose(narrow, wide, Mosaic(p=1).draw(rng, 4)[0])

    assert made["mask"].max() >= 1000
    mix = Mosaic(p=1, fill_mask=-1)
    with pytest.raises(UsageError, match=r"fill_mask=-1 must be in \[0, 65535\]"):
        mix.compose(narrow, wide, mix.draw(rng, 4)[0])


def test_a_draw_that_is_not_applied_leaves_the_sample():
    own, partners, _ = four(4, [(9, 9)] * 4)
    made = Mosaic().compose(own, partners, UNMIXED)

    assert made.keys() == own.keys()
    assert all(made[name] is own[name] for name in own)


def test_images_that_cannot_stand_in_one_are_refused():
    own, partners, rng = four(5, [(9, 9)] * 4)
    partners[1] = {**partners[1], "image": np.zeros((9, 9, 1), np.float32)}
    mix = Mosaic(p=1)
    with pytest.raises(UsageError, match=r"'float32', 1\).*cannot be mixed"):
        mix.compose(own, partners, mix.draw(rng, 4)[0])


def test_a_label_of_the_whole_image_is_refused_where_nothing_else_is_there():
    with pytest.raises(UsageError, match="use MixUp or CutMix"):
        Mosaic().check(["image", "label"], {})
    with pytest.raises(UsageError, match="not the mask 'cable'"):
        Mosaic().check(["image", "bboxes", "cable"], {"cable": "mask"})
    Mosaic().check(["image", "label", "bboxes"], {"image": "image"})
