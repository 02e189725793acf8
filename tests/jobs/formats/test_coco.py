"""Laws of written COCO: pycocotools reads what was said, to the last bit."""

import contextlib
import io
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fiberaug.errors import SampleBroken
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.coco import captions_of, categories, document, entries
from fiberaug.jobs.formats.coco_masks import masked

SIDE = 16_384
PLACE = st.one_of(
    st.integers(0, SIDE), st.floats(0, SIDE), st.floats(0, SIDE, width=16)
)


def loaded(path, data):
    """Return pycocotools' own object of a document."""
    from pycocotools.coco import COCO

    path.write_bytes(data)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def written(x0, y0, x1, y1):
    """Return the box of an entry as JSON gives it back."""
    one = Annotated("a.jpg", SIDE, SIDE, [{"bbox": [x0, y0, x1, y1], "label": 0}])
    _, (entry,) = entries(one, 1, 1, classes=["a"])
    return json.loads(json.dumps(entry["bbox"]))


@given(PLACE, PLACE, PLACE, PLACE)
@example(1 / 3, 0, 8194 / 3, 1e-9)
@example(0.1, 0.7, 0.3, 0.9)
def test_a_box_of_coco_is_read_back_as_the_very_numbers(x, y, w, h):
    box = written(x, y, x + w, y + h)

    assert (box[0], box[1], box[0] + box[2], box[1] + box[3]) == (x, y, x + w, y + h)


@given(PLACE, PLACE, PLACE, PLACE)
@example(1.8023640905603315, 0, 8194.0737486429, 1)
def test_corners_come_back_to_the_last_bit(a, b, c, d):
    """Some ends are no sum of two floats; nobody writes them nearer than this."""
    (x0, x1), (y0, y1) = sorted((a, c)), sorted((b, d))
    x, y, w, h = written(x0, y0, x1, y1)

    assert (x, y) == (x0, y0)
    assert abs(x + w - x1) <= math.ulp(x1)
    assert abs(y + h - y1) <= math.ulp(y1)


@given(st.decimals(0, SIDE, places=2), st.decimals(0, SIDE, places=2))
def test_widths_of_few_digits_keep_them(x, w):
    x, w = float(x), float(w)
    one = Annotated("a.jpg", 9, 9, [{"bbox": [x, 0, x + w, 4.0], "label": 0}])
    _, (entry,) = entries(one, 1, 1, classes=["a"])

    assert entry["bbox"][2] == w or x + entry["bbox"][2] == x + w
    assert len(repr(entry["bbox"][2])) <= max(len(repr(w)), len(str(int(w))) + 3)
    assert entry["bbox"][3] == 4
    assert isinstance(entry["bbox"][3], int)


def test_what_is_said_of_objects_and_images_stands_under_its_name(tmp_path):
    thing = {"bbox": [1, 2, 4, 8], "label": 1, "id": 70, "iscrowd": 1, "area": 5.5,
             "segmentation": [[1, 2, 4, 2, 4, 8]], "keypoints": [[1, 2, 2], [0, 0, 0]],
             "num_keypoints": 1, "score": 0.5, "coco_label": "x"}  # fmt: skip
    notes = {"image": {"id": 9, "license": 3, "file_name": "old.jpg"}, "patient": "p1",
             "keypoints": [[1, 2]], "keypoint_labels": [0], "keypoint_objects": [0],
             "captions": ["one", "two"], "caption": "one"}  # fmt: skip
    one = Annotated("x/a.jpg", 40, 30, [thing], notes)
    lost = Counter()
    image, found = entries(one, 9, None, classes=["a", "b"], category_ids=[3, 18],
                           lost=lost)  # fmt: skip
    about = {"categories": [{"id": 3, "name": "a", "supercategory": "s"},
                            {"id": 18, "name": "b"}],
             "info": {"year": 2017}, "licenses": [{"id": 3}]}  # fmt: skip
    coco = loaded(tmp_path / "a.json", document([image], found, ["a", "b"], about))

    assert coco.imgs[9] == {"id": 9, "file_name": "x/a.jpg", "width": 40, "height": 30,
                            "license": 3, "patient": "p1"}  # fmt: skip
    assert coco.anns[70] == {
        "id": 70, "image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 6], "area": 5.5,
        "iscrowd": 1, "segmentation": [[1, 2, 4, 2, 4, 8]],
        "keypoints": [1, 2, 2, 0, 0, 0], "num_keypoints": 1, "score": 0.5, "label": "x",
    }  # fmt: skip
    assert coco.cats == {one["id"]: one for one in about["categories"]}
    assert coco.dataset["info"] == {"year": 2017}
    assert coco.dataset["licenses"] == [{"id": 3}]
    assert not lost
    assert captions_of(one, 9, 5) == [
        {"id": 5, "image_id": 9, "caption": "one"},
        {"id": 6, "image_id": 9, "caption": "two"},
    ]


def test_ids_count_where_they_are_given_and_areas_are_there():
    objects = [
        {"bbox": [0, 0, 4, 3], "label": 0},
        {"bbox": [0, 0, 4, 3], "label": 0, "polygons": [[[0, 0], [4, 0], [0, 3]]]},
        {"bbox": [4, 4, 4, 4], "label": 0},
    ]
    _, found = entries(Annotated("a", 9, 9, objects), 1, 11, classes=["a"])

    assert [one["id"] for one in found] == [11, 12, 13]
    assert [one["area"] for one in found] == [12, 6, 0]
    assert [one["category_id"] for one in found] == [1, 1, 1]
    assert found[1]["segmentation"] == [[0, 0, 4, 0, 0, 3]]
    assert all(one["iscrowd"] == 0 for one in found)


def test_keypoints_that_belong_to_no_object_are_counted():
    lost = Counter()
    entries(Annotated("a", 9, 9, [], {"keypoints": [[1, 2]]}), 1, 1, classes=[],
            lost=lost)  # fmt: skip

    assert lost == {"keypoints that belong to no object": 1}


def test_an_object_without_a_class_is_refused():
    one = Annotated("a", 9, 9, [{"bbox": [0, 0, 1, 1], "label": 4}])
    with pytest.raises(SampleBroken, match="object 0 has the label 4"):
        entries(one, 1, 1, classes=["a"])


def test_classes_that_the_source_did_not_number_get_free_ids():
    about = {"categories": [{"id": 7, "name": "a"}, {"name": "b"}]}

    assert categories(["a", "b"], about) == [
        {"id": 7, "name": "a"}, {"id": 8, "name": "b"},
    ]  # fmt: skip
    assert categories(["b", "a"], about) == [
        {"id": 1, "name": "b"}, {"id": 2, "name": "a"},
    ]  # fmt: skip


@given(st.text(max_size=200))
def test_any_text_is_read_back(text):
    found = json.loads(document([{"id": 1, "file_name": text}], [], [text], {}))

    assert found["categories"][0]["name"] == text
    assert found["images"][0]["file_name"] == text


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_a_document_of_any_length_is_whole(count):
    rows = [{"id": i} for i in range(count)]
    found = json.loads(document(iter(rows), iter(rows), [], {}))

    assert found == {"info": {}, "images": rows, "annotations": rows}


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_masks_become_runs_that_pycocotools_fills_as_they_were():
    from pycocotools import mask as coco

    masks = np.random.default_rng(0).integers(0, 2, (3, 13, 17)).astype(np.uint8)
    masks[1] = 0
    masks[2, :, :] = 0
    masks[2, 4:6, 7:10] = 255
    found = masked([], masks, 5)

    filled = [coco.decode(one["segmentation"]) for one in found]
    assert (np.stack(filled) == (masks != 0)).all()
    assert [one["area"] for one in found] == [int((m != 0).sum()) for m in masks]
    assert [one["label"] for one in found] == [5, 5, 5]
    assert found[1]["bbox"] == [0, 0, 0, 0]
    assert found[2]["bbox"] == [7, 4, 10, 6]


def test_an_object_keeps_its_outline_and_must_have_a_mask():
    masks = np.ones((2, 3, 3), np.uint8)
    objects = [{"bbox": [0, 0, 3, 3], "segmentation": [[0, 0, 3, 0, 3, 3]]},
               {"bbox": [0, 0, 1, 1]}]  # fmt: skip
    found = masked(objects, masks, 0)

    assert found[0] == objects[0]
    assert found[1]["segmentation"]["size"] == [3, 3]
    assert found[1]["bbox"] == [0, 0, 1, 1]
    with pytest.raises(SampleBroken, match="2 masks, but 1 objects"):
        masked(objects[:1], masks, 0)
