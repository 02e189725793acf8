"""Where photos are edited."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.editing.objects import Objects, component_at
from fiberaug.editing.options import EditOptions
from fiberaug.editing.regions import (
    draw_regions,
    find_regions,
    seed_of,
    window_around,
)
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.tiling import Window


def everything(label):
    return True


@st.composite
def boxed(draw):
    """A photo's sides and a box of pixels in it."""
    width, height = draw(st.integers(1, 900)), draw(st.integers(1, 900))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return width, height, Window(x0, y0, x1, y1)


@settings(deadline=None)
@given(boxed(), st.integers(0, 300), st.integers(8, 600))
def test_a_window_lies_in_the_photo_and_holds_its_region_with_the_rim(
    asked, rim, least
):
    width, height, box = asked

    window = window_around(box, width, height, rim=rim, least=least)

    assert 0 <= window.x_min < window.x_max <= width
    assert 0 <= window.y_min < window.y_max <= height
    assert window.x_min <= max(0, box.x_min - rim)
    assert window.y_min <= max(0, box.y_min - rim)
    assert window.x_max >= min(width, box.x_max + rim)
    assert window.y_max >= min(height, box.y_max + rim)
    assert window.x_max - window.x_min >= min(least, width)
    assert window.y_max - window.y_min >= min(least, height)


@settings(deadline=None)
@given(boxed(), st.integers(0, 64), st.integers(1, 60))
def test_a_window_is_no_larger_than_it_must(asked, rim, eighths):
    width, height, box = asked
    least = 8 * eighths

    window = window_around(box, width, height, rim=rim, least=least)

    need = max(box.x_max - box.x_min, box.y_max - box.y_min) + 2 * rim
    assert window.x_max - window.x_min <= max(least, need + 7)


boxes = st.lists(
    st.tuples(*[st.floats(-50, 350, allow_nan=False, width=32)] * 4), max_size=8
)


def objects_of(found, labels=None):
    fields = {"bboxes": np.array(found, np.float32).reshape(-1, 4)}
    labels = [0] * len(found) if labels is None else labels
    fields["bbox_labels"] = np.array(labels, np.int64)
    return Objects.of(fields, 300, 200)


@settings(deadline=None)
@given(boxes, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_order_of_boxes_changes_nothing(found, random, most):
    options = EditOptions(window=64, margin=8, feather=4, most=most)
    shuffled = list(found)
    random.shuffle(shuffled)
    drawn = [
        draw_regions(
            find_regions(objects_of(one), options, everything), most, 7, "sample"
        )
        for one in (found, shuffled)
    ]

    assert [r.place for r in drawn[0]] == [r.place for r in drawn[1]]
    assert [seed_of(7, "s", r) for r in drawn[0]] == [
        seed_of(7, "s", r) for r in drawn[1]
    ]
    assert len(drawn[0]) <= most


@settings(deadline=None)
@given(boxes)
def test_only_boxes_that_have_pixels_are_regions(found):
    objects = objects_of(found)
    options = EditOptions(window=64, margin=8, feather=4, most=None)

    for region in find_regions(objects, options, everything):
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 300
        assert 0 <= y0 < y1 <= 200
        assert tuple(objects.boxes[region.number]) == region.box


def test_a_box_is_one_region_however_often_it_is_annotated():
    objects = objects_of([(1, 1, 9, 9), (1, 1, 9, 9), (1, 1, 9, 9)], [0, 0, 1])
    options = EditOptions(window=64, margin=8, feather=4)

    assert len(find_regions(objects, options, everything)) == 2


def test_other_seeds_draw_other_regions():
    objects = objects_of([(i, i, i + 9, i + 9) for i in range(0, 90, 10)])
    options = EditOptions(window=64, margin=8, feather=4)
    found = find_regions(objects, options, everything)

    drawn = {
        tuple(r.place for r in draw_regions(found, 2, seed, "s")) for seed in range(20)
    }

    assert len(drawn) > 5
    assert draw_regions(found, None, 0, "s") == found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_components_of_a_mask_are_its_pixels_but_for_specks(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 80), np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, 50), rng.integers(0, 70)
        mask[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = rng.integers(3)
    objects = Objects.of({"mask": mask}, 80, 60)
    options = EditOptions(region="mask", window=32, margin=4, feather=2, most=None)

    covered = np.zeros_like(mask)
    for region in find_regions(objects, options, everything):
        x0, y0, x1, y1 = region.box
        own = component_at(mask, region.label, region.box, region.at)
        assert own.sum() >= 16
        assert own.any(0).all()
        assert own.any(1).all()
        assert (mask[y0:y1, x0:x1][own == 1] == region.label).all()
        assert not covered[y0:y1, x0:x1][own == 1].any()
        covered[y0:y1, x0:x1] |= own
    from scipy import ndimage

    for ident in (1, 2):
        numbers, count = ndimage.label(mask == ident, np.ones((3, 3)))
        for one in range(1, count + 1):
            part = numbers == one
            assert covered[part].all() == (part.sum() >= 16)


def test_a_component_within_the_hole_of_another_is_found():
    mask = np.zeros((40, 40), np.uint8)
    mask[2:38, 2:38] = 1
    mask[6:34, 6:34] = 0
    mask[14:26, 14:26] = 1
    objects = Objects.of({"mask": mask}, 40, 40)
    options = EditOptions(region="mask", window=32, margin=4, feather=2)

    found = find_regions(objects, options, everything)

    assert [r.box for r in found] == [(2, 2, 38, 38), (14, 14, 26, 26)]


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(32, 128))
def test_tiles_cover_the_photo_and_no_pixel_twice(width, height, side):
    objects = Objects.of({}, width, height)
    options = EditOptions(region="grid", window=side, margin=8, feather=4, most=None)

    seen = np.zeros((height, width), np.int64)
    for region in find_regions(objects, options, everything):
        x0, y0, x1, y1 = region.box
        seen[y0:y1, x0:x1] += 1
        wide = region.window.x_max - region.window.x_min
        assert wide == min(width, -(-side // 8) * 8) or wide == min(width, side)

    assert (seen == 1).all()


def test_a_photo_without_a_mask_has_no_components():
    options = EditOptions(region="mask")

    with pytest.raises(SampleBroken, match="no mask"):
        find_regions(Objects.of({}, 10, 10), options, everything)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "erase"}, {"region": "boxes"}, {"what": "all"}, {"window": 4},
     {"window": (64, 32)}, {"window": (8, 9, 10)}, {"margin": -1}, {"feather": 0.5},
     {"most": 0}, {"copies": 0}, {"strength": 0.0}, {"strength": 1.1}, {"seed": -1},
     {"labels": "all"}, {"encode": "jpeg"}, {"ignore": -1},
     {"mode": "paste", "what": "background"}, {"mode": "paste", "region": "grid"},
     {"match": True}, {"to": "ring", "mode": "image-to-image"},
     {"region": "grid", "window": 64, "margin": 32}],
)  # fmt: skip
def test_an_option_out_of_range_is_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        EditOptions(**wrong)


def test_options_come_back_from_what_stands_on_record():
    options = EditOptions(window=(32, 64), classes=("a", "b"), strength=0.25)

    assert EditOptions.from_dict(options.to_dict()) == options
    with pytest.raises(UsageError, match="'colour'"):
        EditOptions.from_dict({"colour": 1})
