"""Laws of written YOLO: a plain parser of lines finds the objects where they are."""

from collections import Counter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.yolo import description, label_file, shape_of, to_lines

CLASSES = ["a", "b", "c"]
SIDE = st.integers(1, 16_384)


def parsed(data):
    """Read lines as a trainer does: class id and numbers of each."""
    rows = [line.split(" ") for line in data.decode().splitlines()]
    return [(int(row[0]), [float(value) for value in row[1:]]) for row in rows]


def pixels(box, width, height):
    x, y, w, h = box
    return [
        (x - w / 2) * width, (y - h / 2) * height,
        (x + w / 2) * width, (y + h / 2) * height,
    ]  # fmt: skip


def lines(objects, size=(100, 50), **options):
    return to_lines(Annotated("a.jpg", *size, objects), CLASSES, **options)


@st.composite
def inside(draw):
    width, height = draw(SIDE), draw(SIDE)
    xs = sorted(draw(st.tuples(*[st.floats(0, width)] * 2)))
    ys = sorted(draw(st.tuples(*[st.floats(0, height)] * 2)))
    return (width, height), [xs[0], ys[0], xs[1], ys[1]]


@given(inside(), st.integers(0, 2))
def test_any_box_comes_back_to_within_a_hundredthousandth_of_a_pixel(given, label):
    size, box = given
    lost = Counter()
    ((found, values),) = parsed(lines([{"bbox": box, "label": label}], size, lost=lost))

    assert found == label
    assert all(0 <= value <= 1 for value in values)
    assert pixels(values, *size) == pytest.approx(box, abs=1e-5)
    assert not lost


def test_a_box_without_area_is_a_line_like_any_other():
    assert parsed(lines([{"bbox": [50, 10, 50, 10], "label": 1}])) == [
        (1, [0.5, 0.2, 0, 0])
    ]


def test_boxes_beyond_their_image_are_cut_those_outside_left_out_and_all_told():
    lost = Counter()
    boxes = [[-2, 0, 10, 5], [-60, 0, 50, 50], [110, 0, 120, 5], [0, 60, 5, 70],
             [20, 5, 10, 9]]  # fmt: skip
    found = parsed(lines([{"bbox": box, "label": 0} for box in boxes], lost=lost))

    assert pixels(found[0][1], 100, 50) == pytest.approx([-2, 0, 10, 5])
    assert pixels(found[1][1], 100, 50) == pytest.approx([0, 0, 50, 50])
    assert len(found) == 2
    assert sum(lost.values()) == 4
    assert lost["boxes outside of their image, left out"] == 2
    assert lost["boxes far beyond their image, cut at its edge"] == 1
    assert lost["boxes whose end lies before their begin, left out"] == 1


def test_a_score_is_the_sixth_value_and_what_has_no_place_is_counted():
    lost = Counter()
    one = {"bbox": [0, 0, 100, 50], "label": 2, "score": 0.25, "difficult": 0,
           "polygons": [[[0, 0], [1, 1], [2, 0]]]}  # fmt: skip

    assert parsed(lines([one], lost=lost)) == [(2, [0.5, 0.5, 1, 1, 0.25])]
    assert lost == {"difficult of objects": 1, "polygons of objects": 1}


def test_lines_of_outlines_are_outlines_all_of_them():
    lost = Counter()
    objects = [
        {"bbox": [0, 0, 9, 9], "label": 0, "polygons": [[[0, 0], [10, 0], [100, 50]]]},
        {"bbox": [10, 10, 20, 25], "label": 1},
        {"bbox": [0, 0, 9, 9], "label": 2,
         "segmentation": [[0, 0, 10, 0, 0, 5], [50, 25, 60, 25, 50, 30]]},
    ]  # fmt: skip
    found = parsed(lines(objects, kind="outlines", lost=lost))

    assert found[0] == (0, [0, 0, 0.1, 0, 1, 1])
    assert found[1] == (1, [0.1, 0.2, 0.2, 0.2, 0.2, 0.5, 0.1, 0.5])
    corners = list(zip(found[2][1][::2], found[2][1][1::2], strict=True))
    assert {(0, 0), (0.1, 0), (0, 0.1), (0.5, 0.5), (0.6, 0.5), (0.5, 0.6)} == {
        *corners
    }
    assert area(corners) == pytest.approx(2 * 0.1 * 0.1 / 2)  # bridges have none
    assert lost == {
        "objects without an outline, written as that of their box": 1,
        "objects of several outlines, joined by lines without width": 1,
    }  # fmt: skip


def area(corners):
    following = [*corners[1:], corners[0]]
    pairs = zip(corners, following, strict=True)
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairs)) / 2


def test_keypoints_follow_the_box_and_an_object_without_has_zeros():
    objects = [
        {"bbox": [0, 0, 100, 50], "label": 0, "keypoints": [[50, 25, 2], [0, 0, 0]]},
        {"bbox": [0, 0, 100, 50], "label": 0},
    ]
    found = parsed(lines(objects, kind="keypoints", shape=(2, 3)))

    assert found[0][1] == [0.5, 0.5, 1, 1, 0.5, 0.5, 2, 0, 0, 0]
    assert found[1][1] == [0.5, 0.5, 1, 1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(SampleBroken, match="object 0 has 2 keypoints, the set"):
        lines(objects, kind="keypoints", shape=(3, 3))


def test_visibility_that_a_shape_of_two_cannot_hold_is_counted():
    lost = Counter()
    one = {"bbox": [0, 0, 100, 50], "label": 0, "keypoints": [[50, 25, 2]]}
    found = parsed(lines([one], kind="keypoints", shape=(1, 2), lost=lost))

    assert found[0][1] == [0.5, 0.5, 1, 1, 0.5, 0.5]
    assert lost == {"visibility of keypoints": 1}


@pytest.mark.parametrize(("kind", "shape"), [("masks", None), ("keypoints", None),
                                             ("boxes", (1, 2))])  # fmt: skip
def test_a_kind_that_is_none_or_has_no_shape_is_refused(kind, shape):
    with pytest.raises(UsageError, match="kind must be boxes, outlines, keypoints"):
        lines([], kind=kind, shape=shape)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), unique=True))
def test_any_class_names_are_read_back_from_the_description(names):
    found = yaml.safe_load(description(names, {"train": "images/train"}, {}))

    assert list(found["names"].values()) == names
    assert list(found["names"]) == list(range(len(names)))
    assert (found["nc"], found["train"]) == (len(names), "images/train")


def test_the_description_says_what_keypoints_are_whoever_said_it_first():
    coco = {"categories": [{"keypoints": ["nose", "left_eye", "right_eye"]}, {}],
            "keypoints": {"names": ["nose", "left_eye", "right_eye"],
                          "flip": [[1, 2]]}}  # fmt: skip
    own = {"kpt_shape": [3, 2], "flip": [0, 2, 1]}

    assert (shape_of(coco), shape_of(own), shape_of({})) == ((3, 3), (3, 2), None)
    for about, shape in ((coco, [3, 3]), (own, [3, 2])):
        found = yaml.safe_load(description(["a"], {}, about))
        assert (found["kpt_shape"], found["flip_idx"]) == (shape, [0, 2, 1])


def test_labels_lie_where_trainers_look_the_last_images_counts():
    assert label_file("images/train/x/a.jpg") == "labels/train/x/a.txt"
    assert label_file("images/a/images/b.v2.png") == "images/a/labels/b.v2.txt"
