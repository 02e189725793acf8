"""Laws of what belongs to boxes, points and masks: one each, of the right kind."""

import numpy as np
import pytest

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.labels import checked_count, class_ids
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import SampleBroken


@pytest.mark.parametrize("name", ["bbox_labels", "mask_labels", "bbox_ids"])
def test_ids_and_names_become_int64(name):
    found = class_ids([3, "dog", 1.0, "7"], name, {"dog": 5}, 4)

    assert found.tolist() == [3, 5, 1, 7]
    assert found.dtype == np.int64
    assert class_ids(np.array([2, 1]), name, {}, 2).tolist() == [2, 1]
    assert class_ids(None, name, {}, 3).tolist() == [-1, -1, -1]
    assert class_ids(None, name, {}, None).dtype == np.int64


@pytest.mark.parametrize("value", [["cat"], [0.5], [[1]], [None], [2**63], ["1e300"]])
def test_what_is_no_id_is_refused(value):
    with pytest.raises(SampleBroken):
        class_ids(value, "bbox_ids", {}, None)


@pytest.mark.parametrize(
    ("name", "owner"),
    [("bbox_labels", "bboxes"), ("bbox_ids", "bboxes"), ("mask_labels", "masks"),
     ("keypoint_labels", "keypoints")],
)  # fmt: skip
def test_there_is_one_for_each(name, owner):
    values = [1, 2]

    assert checked_count(values, name, 2) is values
    assert checked_count(values, name, None) is values
    with pytest.raises(SampleBroken, match=f"3 {owner}, but 2 {name}"):
        checked_count(values, name, 3)
    for other in ("ab", 7, {"a": 1, "b": 2}, np.array(7)):
        with pytest.raises(SampleBroken, match=f"list, one for each of {owner}"):
            checked_count(other, name, None)


def fields_of(given, **more):
    specs = parse_fields({"image": "png"} | {n: f"{n}" for n in given})
    pixels = np.zeros((4, 6, 3), np.uint8)
    decoders = {n: (lambda _, v=v: v) for n, v in given.items()}
    decoder = SampleDecoder(
        specs=specs, decoders=decoders | {"png": lambda _: pixels}, **more
    )
    return decoder(dict.fromkeys([*given, "png"], b"")).fields


MASKS = np.zeros((2, 4, 6), np.uint8)
GIVEN = {
    "bboxes": [[0, 0, 1, 1]],
    "bbox_labels": ["dog"],
    "bbox_ids": [77],
    "keypoints": [[1, 1], [2, 2]],
    "keypoint_labels": ["eye", 4],
    "masks": MASKS,
    "mask_labels": ["dog", 0],
}


def test_a_sample_has_all_of_them_at_once():
    found = fields_of(GIVEN, classes={"dog": 9})

    assert found["bbox_labels"].tolist() == [9]
    assert found["bbox_ids"].tolist() == [77]
    assert found["keypoint_labels"] == ["eye", 4]
    assert found["mask_labels"].tolist() == [9, 0]
    assert found["mask_labels"].dtype == found["bbox_ids"].dtype == np.int64


@pytest.mark.parametrize("name", ["bbox_ids", "keypoint_labels", "mask_labels"])
def test_a_wrong_count_breaks_the_sample(name):
    with pytest.raises(SampleBroken, match=rf"but \d {name}"):
        fields_of(GIVEN | {name: [1] * 5}, classes={"dog": 9})


def test_an_id_is_no_class():
    with pytest.raises(SampleBroken, match="'dog' is no number"):
        fields_of({"bboxes": [[0, 0, 1, 1]], "bbox_ids": ["dog"]}, classes={"dog": 9})
