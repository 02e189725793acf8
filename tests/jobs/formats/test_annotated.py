"""Laws of annotations on their way out: what is odd is said, what is wrong refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import SampleBroken
from fiberaug.jobs.formats.annotated import (
    Annotated,
    box_of,
    class_of,
    doubts,
    outlines_of,
    plain,
)


def of(*boxes, size=(100, 50)):
    objects = [{"bbox": list(box), "label": 0} for box in boxes]
    return Annotated("a.jpg", *size, objects)


def test_boxes_without_area_or_beyond_the_image_are_said_and_no_others():
    one = of(
        (0, 0, 100, 50), (5, 5, 5, 9), (9, 9, 3, 20), (-1, 0, 5, 5), (0, 0, 100.5, 9)
    )
    assert list(doubts(one)) == [
        "box 1 [5, 5, 5, 9] has no area",
        "box 2 [9, 9, 3, 20] has no area",
        "box 3 [-1, 0, 5, 5] reaches beyond 100x50 px",
        "box 4 [0, 0, 100.5, 9] reaches beyond 100x50 px",
    ]


@pytest.mark.parametrize("box", [None, [1, 2, 3], [1, 2, 3, "4"], "abcd",
                                 [1, 2, 3, float("nan")]])  # fmt: skip
def test_what_is_no_box_is_refused_with_its_object(box):
    with pytest.raises(SampleBroken, match="object 7 must have a bbox of 4 finite"):
        box_of({"bbox": box}, 7)


@pytest.mark.parametrize("label", [None, -1, 2, 0.5, "ape", [0]])
def test_what_is_no_class_is_refused_with_its_object(label):
    with pytest.raises(SampleBroken, match=r"object 3 has the label .* from 0 to 1"):
        class_of({"label": label}, 3, ["cat", "dog"])


def test_a_class_is_an_id_or_a_name():
    names = ["cat", "dog"]
    assert [class_of({"label": one}, 0, names) for one in (1, 1.0, "dog")] == [1, 1, 1]


@given(st.floats(-1e12, 1e12))
def test_a_number_is_the_same_number_without_its_point(value):
    assert plain(value) == value
    assert ("." in str(plain(value)) or "e" in str(plain(value))) == (
        value != int(value)
    )


def test_outlines_come_from_either_way_to_write_them_and_runs_of_pixels_are_none():
    assert outlines_of({"polygons": [[[1, 2], [3, 4], [5, 6]]]}) == [[1, 2, 3, 4, 5, 6]]
    assert outlines_of({"segmentation": [[1, 2, 3, 4, 5, 6]]}) == [[1, 2, 3, 4, 5, 6]]
    assert outlines_of({"segmentation": {"counts": "x", "size": [1, 1]}}) == []
    assert outlines_of({}) == []
