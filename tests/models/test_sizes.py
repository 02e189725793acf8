"""Laws of sizes: a base doubled some times, or an error that names what is near."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.models.sizes import LARGEST_BASE, plan_size


@pytest.mark.parametrize(
    ("size", "base", "doublings"),
    [
        (28, (7, 7), 2), (32, (4, 4), 3), (64, (4, 4), 4), ("96x128", (3, 4), 5),
        ((256, 256), (4, 4), 6), ((128, 96), (4, 3), 5), (4, (2, 2), 1),
        ([4, 6], (2, 3), 1), ("8x48", (2, 12), 2), (4096, (4, 4), 10),
    ],
)  # fmt: skip
def test_a_size_has_as_many_doublings_as_leave_a_base_of_3_px(size, base, doublings):
    plan = plan_size(size)

    assert (plan.base, plan.doublings) == (base, doublings)
    assert plan.levels[0] == base
    assert plan.levels[-1] == plan.size
    assert plan_size(plan.size) == plan


def test_a_plan_reads_well():
    assert str(plan_size(4)) == "height 4, width 4, square: 2x2 doubled once"
    portrait = plan_size((96, 64))
    assert str(portrait) == "height 96, width 64, portrait: 6x4 doubled 4 times"


@given(st.integers(4, 4096), st.integers(4, 4096))
def test_each_size_is_planned_or_refused_with_sizes_that_are_planned(height, width):
    try:
        plan = plan_size((height, width))
    except UsageError as error:
        named = str(error).split("that are: ")[1].split(", ")
        assert len(named) == 3
        near = [plan_size(one).size for one in named]
        for high, wide in near:
            assert max(plan_size((high, wide)).base) <= LARGEST_BASE
        ratio = max(height, width) / min(height, width)
        if ratio <= 4:
            high, wide = near[0]
            assert abs(math.log(high / height)) < 0.3
            assert abs(math.log(wide / width)) < 0.3
    else:
        assert plan.height == plan.base[0] << plan.doublings == height
        assert plan.width == plan.base[1] << plan.doublings == width
        assert 2 <= min(plan.base) <= max(plan.base) <= LARGEST_BASE


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((63, 84), "a side is odd.*nearest sizes that are: 64x88, 64x80"),
        ((300, 400), "halving stops at 75x100.*: 288x384, 320x416, 288x416"),
        ((3024, 4032), "halving stops at 189x252.*3072x4096"),
        ((100, 3), "each 4 to 4096 px"),
        ((64, 8192), "each 4 to 4096 px"),
        ((64, 64, 3), "each 4 to 4096 px"),
        (True, "each 4 to 4096 px"),
        (64.0, "each 4 to 4096 px"),
        ("wide", "HEIGHTxWIDTH"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_the_nearest(size, message):
    with pytest.raises(UsageError, match=message):
        plan_size(size)
