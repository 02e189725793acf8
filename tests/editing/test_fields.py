"""Labels of a decoded sample after an edit."""

import numpy as np
import pytest

from fiberaug.editing.fields import relabelled
from fiberaug.editing.labels import Fates
from fiberaug.errors import SampleBroken

CHANGED = np.zeros((8, 10), np.uint8)
CHANGED[2:5, 2:6] = 200


def after(fields, to=None, ignore=255, **fates):
    return relabelled(fields, Fates(**fates), CHANGED, ignore=ignore, to=to)


def test_what_belongs_to_a_box_goes_with_it():
    fields = {
        "bboxes": np.arange(12, dtype=np.float32).reshape(3, 4),
        "bbox_labels": np.array([0, 1, 2]), "bbox_ids": np.array([7, 8, 9]),
    }  # fmt: skip

    found = after(fields, to=5, objects={0: "dropped", 2: "asked"})

    assert found["bboxes"].tolist() == fields["bboxes"][1:].tolist()
    assert found["bbox_labels"].tolist() == [1, 5]
    assert found["bbox_ids"].tolist() == [8, 9]
    assert fields["bbox_labels"].tolist() == [0, 1, 2], "those of the photo stay"


def test_points_go_where_pixels_changed_with_their_labels():
    fields = {
        "keypoints": np.array([[3, 3], [9.5, 7.5], [10, 8]], np.float32),
        "keypoint_labels": ["a", "b", "c"],
    }

    found = after(fields, points="dropped")

    assert found["keypoints"].tolist() == [[9.5, 7.5], [10, 8]]
    assert found["keypoint_labels"] == ["b", "c"]


@pytest.mark.parametrize("ignore", [255, 300])
def test_a_mask_is_ignored_where_pixels_changed(ignore):
    mask = np.ones((8, 10), np.uint8)

    found = after({"mask": mask}, ignore=ignore, mask="ignored")["mask"]

    assert (found[CHANGED > 0] == ignore).all()
    assert (found[CHANGED == 0] == 1).all()
    assert (mask == 1).all()


def test_nothing_changes_where_all_is_inherited():
    fields = {"bboxes": np.zeros((1, 4)), "mask": np.zeros((8, 10)), "caption": "it"}

    assert after(fields) == {}
    assert after(fields, caption="dropped") == {"caption": None}


def test_masks_of_single_objects_cannot_be_ignored():
    with pytest.raises(SampleBroken, match="masks or polygons"):
        after({"masks": np.zeros((1, 8, 10))}, mask="ignored")
