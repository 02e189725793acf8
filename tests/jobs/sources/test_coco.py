"""Laws of COCO annotations: every box, outline, point and caption arrives."""

import contextlib
import copy
import io
import json
import math
import os
import pickle
import sys

import cv2
import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from sets import photo

from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SampleBroken,
    SecurityRefused,
    UsageError,
)
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources.coco import list_coco, looks_like_coco
from fiberaug.jobs.sources.coco_classes import flip_pairs
from fiberaug.jobs.sources.coco_masks import outline_masks
from fiberaug.jobs.sources.options import SourceOptions

# pycocotools decodes masks by NumPy 1's rules
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

WIDTH, HEIGHT = 48, 40
PEOPLE = ["nose", "left_eye", "right_eye"]
CATEGORIES = [
    {"id": 7, "name": "zebra", "supercategory": "animal"},
    {"id": 1, "name": "person", "supercategory": "human"},
]


def image(i, name=None, **more):
    return {"id": 100 + i, "file_name": name or f"{i:03d}.png", "width": WIDTH,
            "height": HEIGHT, **more}  # fmt: skip


def box(number, i, bbox=(1.5, 2, 10, 20.25), category=7, **more):
    return {"id": number, "image_id": 100 + i, "category_id": category,
            "bbox": list(bbox), "area": 99.5, "iscrowd": 0, **more}  # fmt: skip


def coco(images=1, annotations=(), categories=CATEGORIES, **more):
    return {"info": {"year": 2024}, "licenses": [{"id": 1, "name": "CC0"}],
            "images": [image(i) for i in range(images)],
            "annotations": list(annotations),
            "categories": categories, **more}  # fmt: skip


def written(path, content, *, folder=None, **layout):
    """Write an annotation file, and the images that it names below a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, **layout), encoding="utf-8")
    for i, entry in enumerate(content["images"]):
        place = (folder or path.parent) / entry["file_name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode_image(photo(i), "png"))
    return path


def listed(src, **options):
    return list_coco(src, SourceOptions(**options))


def read(src, **options):
    source = listed(src, **options)
    return [source.reader(item) for item in source.items]


def official(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def compare(path, samples, folder="", *, masks=False):
    """Compare annotation by annotation with what pycocotools reads."""
    theirs = official(path)
    ids = {category: i for i, category in enumerate(sorted(theirs.getCatIds()))}
    assert len(samples) == len(theirs.imgs)
    boxes = 0
    for entry in theirs.imgs.values():
        mine = samples[folder + entry["file_name"].rpartition(".")[0]]
        annotations = theirs.imgToAnns[entry["id"]]
        corners = np.array([a["bbox"] for a in annotations], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        np.testing.assert_allclose(mine["bboxes"], corners, rtol=1e-6, atol=1e-4)
        labels = [ids[a["category_id"]] for a in annotations]
        assert mine["bbox_labels"].tolist() == labels
        assert mine["bbox_ids"].tolist() == [a["id"] for a in annotations]
        boxes += len(annotations)
        if masks:
            assert mine["masks"].shape == (len(annotations), HEIGHT, WIDTH)
            assert mine["mask_labels"].tolist() == labels
            for mask, annotation in zip(mine["masks"], annotations, strict=True):
                np.testing.assert_array_equal(mask, theirs.annToMask(annotation))
    return boxes


def circle(x, y, radius):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def packed(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def runs(mask):
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = [0, *changes.tolist(), flat.size]
    counts = np.diff(ends).tolist()
    return {"size": list(mask.shape), "counts": counts if not flat[0] else [0, *counts]}


TRIANGLES = [[3, 3, 30.5, 5, 12, 28], [35, 30, 46, 31, 40.25, 39.5]]


def outlined():
    """Every kind of outline."""
    return coco(3, [
        box(1, 0, segmentation=TRIANGLES),
        box(2, 2, segmentation=packed(circle(20, 20, 9)), iscrowd=1),
        box(3, 0, segmentation=runs(circle(5, 4, 12)), category=1),
        box(4, 2, segmentation=packed(circle(60, 0, 25))),
    ])  # fmt: skip


def test_every_box_area_class_and_mask_is_what_pycocotools_reads(tmp_path):
    path = written(tmp_path / "src/annotations.json", outlined())
    manifest = converted(listed(path, masks=True), tmp_path / "dst")
    samples = streamed(tmp_path / "dst")

    assert compare(path, samples, masks=True) == 4
    assert samples["001"]["masks"].shape == (0, HEIGHT, WIDTH)
    assert list(manifest.classes) == ["person", "zebra"]
    metadata = streamed(tmp_path / "dst", fields={"image": "png", "json": "json"})
    theirs = official(path)
    for sample in metadata.values():
        for one in sample["json"]["objects"]:
            given = theirs.anns[one["id"]]
            for key in ("area", "iscrowd", "segmentation"):
                assert one[key] == given[key]
        assert (sample["json"]["width"], sample["json"]["height"]) == (WIDTH, HEIGHT)


def test_what_the_set_says_of_itself_is_kept(tmp_path):
    source = listed(written(tmp_path / "a.json", coco(1, [box(1, 0)])))

    assert source.about["categories"] == CATEGORIES[::-1]
    assert source.about["info"] == {"year": 2024}
    assert source.about["licenses"] == [{"id": 1, "name": "CC0"}]
    assert source.said.startswith("1 image of 1 file, 1 annotation of classes 0 to 1")
    assert source.fields == {
        "bboxes": "json:objects[].bbox",
        "bbox_labels": "json:objects[].label",
        "bbox_ids?": "json:objects[].id",
    }


def test_unknown_keys_stay_with_their_object_and_their_image(tmp_path):
    content = coco(1, [box(1, 0, colour="réd", label="mine", note={"deep": [1]})])
    content["images"][0] |= {"coco_url": "http://x", "license": None}
    for layout in ({}, {"indent": 2}, {"ensure_ascii": False, "indent": 1}):
        [raw] = read(written(tmp_path / "a.json", content, **layout))

        assert raw.notes["objects"] == [
            {"bbox": [1.5, 2, 11.5, 22.25], "label": 1, "id": 1, "area": 99.5,
             "iscrowd": 0, "colour": "réd", "coco_label": "mine", "note": {"deep": [1]}}
        ]  # fmt: skip
        assert raw.notes["image"] == {
            "id": 100, "file_name": "000.png", "coco_url": "http://x"
        }  # fmt: skip
        assert raw.stated == (WIDTH, HEIGHT)


def test_all_keys_of_a_list_may_come_in_any_order(tmp_path):
    content = coco(2, [box(1, 1), box(2, 0)])
    turned = dict(reversed(content.items()))
    one = read(written(tmp_path / "a/a.json", content))
    other = read(written(tmp_path / "b/a.json", turned))

    assert one == other


def test_keypoints_are_the_visible_ones_of_all_objects_in_order(tmp_path):
    people = [{**CATEGORIES[1], "keypoints": PEOPLE, "skeleton": [[1, 2], [1, 3]]}]
    content = coco(2, [
        box(1, 0, category=1, keypoints=[1, 2, 2, 0, 0, 0, 5.5, 6, 1]),
        box(2, 0, category=1, keypoints=[0, 0, 0, 7, 8, 2, 0, 0, 0], num_keypoints=1),
        box(3, 0, category=1),
    ], people)  # fmt: skip
    source = listed(written(tmp_path / "src/a.json", content))
    assert source.about["keypoints"] == {
        "names": PEOPLE, "skeleton": [[1, 2], [1, 3]], "flip": [[1, 2]]
    }  # fmt: skip
    converted(source, tmp_path / "dst")
    samples = streamed(tmp_path / "dst")

    assert samples["000"]["keypoints"].tolist() == [[1, 2], [5.5, 6], [7, 8]]
    assert list(samples["000"]["keypoint_labels"]) == [0, 2, 1]
    assert samples["001"]["keypoints"].shape == (0, 2)
    assert list(samples["001"]["keypoint_labels"]) == []
    notes = source.reader(source.items[0]).notes
    assert notes["keypoint_objects"] == [0, 0, 1]
    assert notes["objects"][0]["keypoints"] == [[1, 2, 2], [0, 0, 0], [5.5, 6, 1]]
    assert notes["objects"][1]["num_keypoints"] == 1


def test_categories_with_other_keypoints_have_labels_of_their_own(tmp_path):
    categories = [
        {"id": 1, "name": "person", "keypoints": PEOPLE, "skeleton": [[1, 2]]},
        {"id": 2, "name": "table"},
        {"id": 3, "name": "dog", "keypoints": ["L_Ear", "R_Ear"], "skeleton": [[1, 2]]},
        {"id": 4, "name": "child", "keypoints": PEOPLE},
    ]
    seen = [1, 1, 2]
    content = coco(1, [
        box(1, 0, category=3, keypoints=seen * 2),
        box(2, 0, category=4, keypoints=seen * 3),
    ], categories)  # fmt: skip
    source = listed(written(tmp_path / "a.json", content))

    assert source.about["keypoints"] == {
        "names": [*PEOPLE, "L_Ear", "R_Ear"], "skeleton": [[1, 2], [4, 5]],
        "flip": [[1, 2], [3, 4]],
    }  # fmt: skip
    notes = source.reader(source.items[0]).notes
    assert notes["keypoint_labels"] == [3, 4, 0, 1, 2]


def test_flip_pairs_are_names_that_differ_in_left_and_right():
    names = ["Nose", "LeftEye", "RightEye", "ear_l", "ear_r", "R_Hip", "L_Hip",
             "left_thumb", "bright", "tail_r", "RIGHT knee", "left knee"]  # fmt: skip

    assert flip_pairs(names) == [[1, 2], [3, 4], [5, 6], [10, 11]]


@given(st.lists(st.sampled_from(["l", "r", "left", "right", "eye", "_", "L", "R"]),
                max_size=4).map("".join) | st.text(max_size=4),
       st.lists(st.text("lr_eft", max_size=7), max_size=6))  # fmt: skip
def test_a_keypoint_changes_places_with_at_most_one(name, names):
    pairs = flip_pairs([name, *names])
    places = [place for pair in pairs for place in pair]

    assert len(places) == len(set(places))
    assert all(0 <= i < j <= len(names) for i, j in pairs)


def captions(*texts, i=0, first=1):
    return [
        {"id": first + n, "image_id": 100 + i, "caption": text}
        for n, text in enumerate(texts)
    ]


def test_files_of_one_split_become_one_sample_an_image(tmp_path):
    folder = tmp_path / "src/val2017"
    people = [{**CATEGORIES[1], "keypoints": PEOPLE, "skeleton": []}]
    objects = [box(1, 0, category=1, segmentation=TRIANGLES), box(2, 0), box(3, 1)]
    points = [box(1, 0, category=1, keypoints=[3, 4, 2, 0, 0, 0, 0, 0, 0])]
    notes = tmp_path / "src/annotations"
    written(notes / "instances_val2017.json", coco(2, objects), folder=folder)
    written(notes / "person_keypoints_val2017.json", coco(2, points, people),
            folder=folder)  # fmt: skip
    told = captions("a red thing", "ein Ding") + captions("nothing", i=1, first=7)
    written(notes / "captions_val2017.json", coco(2, told, []), folder=folder)
    source = listed(tmp_path / "src")
    converted(source, tmp_path / "dst")
    samples = streamed(tmp_path / "dst")

    assert sorted(samples) == ["val2017/000", "val2017/001"]
    first = samples["val2017/000"]
    assert first["bbox_ids"].tolist() == [1, 2]
    assert first["keypoints"].tolist() == [[3, 4]]
    assert first["caption"] == "a red thing"
    assert samples["val2017/001"]["caption"] == "nothing"
    raw = source.reader(source.items[0])
    assert raw.notes["captions"] == ["a red thing", "ein Ding"]
    assert raw.notes["objects"][0]["segmentation"] == TRIANGLES
    assert raw.notes["objects"][0]["keypoints"][0] == [3, 4, 2]
    assert source.about["categories"] == [people[0], CATEGORIES[0]]
    assert source.said.startswith("2 images of 3 files, 4 annotations of classes")


def test_splits_are_added_and_may_number_alike(tmp_path):
    for split in ("train2017", "val2017"):
        written(tmp_path / f"annotations/instances_{split}.json",
                coco(2, [box(1, 0)]), folder=tmp_path / split)  # fmt: skip

    assert [item.key for item in listed(tmp_path).items] == [
        "train2017/000", "train2017/001", "val2017/000", "val2017/001"
    ]  # fmt: skip


def test_captions_alone_have_no_boxes(tmp_path):
    path = written(tmp_path / "src/a.json", coco(2, captions("one"), []))
    source = listed(path)
    assert source.fields == {"caption?": "json:caption"}
    assert source.classes == ()
    converted(source, tmp_path / "dst")
    samples = streamed(tmp_path / "dst")

    assert samples["000"]["caption"] == "one"
    assert samples["001"].get("caption") is None
    assert "bboxes" not in samples["000"]


def test_one_object_under_one_id_in_two_files_must_be_the_same(tmp_path):
    written(tmp_path / "a.json", coco(1, [box(1, 0)]))
    written(tmp_path / "b.json", coco(1, [box(1, 0, bbox=(5, 5, 5, 5))]))
    [item] = (source := listed(tmp_path)).items

    with pytest.raises(SampleBroken, match=r"id 1 stands for two .*one by one"):
        source.reader(item)


def test_two_files_that_state_two_sizes_of_an_image_break_that_sample(tmp_path):
    content = coco(2, [box(1, 0)])
    written(tmp_path / "a.json", content)
    content["images"][1]["width"] = 47
    written(tmp_path / "b.json", content)
    source = listed(tmp_path)

    source.reader(source.items[0])
    with pytest.raises(SampleBroken, match="two values of its width: 48 and 47"):
        source.reader(source.items[1])


@pytest.mark.parametrize(
    ("json_at", "images_at"),
    [
        ("a/instances_train2017.json", "a"),
        ("annotations/instances_train2017.json", "annotations"),
        ("annotations/instances_train2017.json", "."),
        ("annotations/instances_train2017.json", "images"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/person_keypoints_train2017.json", "images/train2017"),
        ("instances_train2017.json", "images/train2017"),
        ("train.json", "train"),
        ("train_annotations.json", "train"),
    ],
)
def test_images_are_found_where_such_sets_have_them(tmp_path, json_at, images_at):
    path = written(tmp_path / json_at, coco(2), folder=tmp_path / images_at)
    (tmp_path / "images").mkdir(exist_ok=True)
    [first, _] = read(path)

    assert first.image == encode_image(photo(0), "png")


def test_the_folder_of_images_can_be_said(tmp_path):
    path = written(tmp_path / "a.json", coco(2), folder=tmp_path / "far/away")

    with pytest.raises(UsageError, match=r"lies in .*images.*, .*say where: images="):
        listed(path)
    source = listed(path, images=str(tmp_path / "far/away"))
    assert source.root == str(tmp_path / "far/away")
    assert [item.key for item in source.items] == ["000", "001"]
    assert len(read(path, images=str(tmp_path / "far/away"))) == 2


def test_names_may_have_folders(tmp_path):
    content = coco(2)
    content["images"][0]["file_name"] = "deep/er/000.png"
    path = written(tmp_path / "annotations/a.json", content, folder=tmp_path / "images")
    items = listed(path).items

    assert [item.key for item in items] == ["images/deep/er/000", "images/001"]
    assert items[0].place == "images/deep/er/000.png"
    assert items[0].size == (tmp_path / items[0].place).stat().st_size


@pytest.mark.parametrize("way", ["up", "absolute", "link", "folder"])
def test_paths_stay_in_the_set_unless_the_user_lets_them_out(tmp_path, way):
    outside = tmp_path / "secret/001.png"
    content = coco(2)
    path = written(tmp_path / "set/a.json", content)
    outside.parent.mkdir()
    outside.write_bytes(encode_image(photo(5), "png"))
    name = {"up": "../secret/001.png", "absolute": str(outside), "link": "link.png",
            "folder": "link/001.png"}[way]  # fmt: skip
    (tmp_path / "set/link.png").symlink_to(outside)
    (tmp_path / "set/link").symlink_to(outside.parent)
    content["images"][1]["file_name"] = name
    path.write_text(json.dumps(content))

    with pytest.raises(SecurityRefused, match=rf"{name}' leads to .*secret/001\.png"):
        listed(path)
    [_, raw] = read(path, allow_outside=True)
    assert raw.image == outside.read_bytes()


def test_one_missing_or_wrong_image_is_one_broken_sample(tmp_path):
    nan, text = float("nan"), "10"
    content = coco(9, [
        box(1, 1, bbox=(1, 2, nan, 4)), box(2, 2, bbox=(1, 2, 3)),
        box(3, 3, bbox=(1, 2, text, 4)), box(4, 4), box(5, 7, area=nan),
        box(7, 6), box(6, 8, bbox=(1, 2, 1e308, 4)),
    ])  # fmt: skip
    del content["annotations"][3]["bbox"]
    content["images"][6]["width"] = 47
    path = written(tmp_path / "src/a.json", content)
    (tmp_path / "src/005.png").unlink()
    converted(listed(path), tmp_path / "dst")
    lines = (tmp_path / "dst/convert_errors.jsonl").read_text().splitlines()
    errors = {(one := json.loads(line))["key"]: one["reason"] for line in lines}

    assert sorted(errors) == [f"00{i}" for i in range(1, 9)]
    for key in ("001", "002", "003", "004"):
        assert f"annotation {int(key)}: bbox must be 4 finite numbers" in errors[key]
    assert "005.png: No such file" in errors["005"]
    assert "47x40 px, the file has 48x40 px" in errors["006"]
    assert list(streamed(tmp_path / "dst")) == ["000"]


@pytest.mark.parametrize("extent", [(0, 5), (-3, 5), (500, 5)])
def test_boxes_that_cannot_be_right_are_kept_and_reported(tmp_path, extent):
    path = written(tmp_path / "src/a.json", coco(1, [box(1, 0, bbox=(2, 3, *extent))]))
    converted(listed(path), tmp_path / "dst")

    [line] = (tmp_path / "dst/convert_errors.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] == "kept"
    assert len(streamed(tmp_path / "dst")["000"]["bboxes"]) == 1


def faulty(change):
    content = copy.deepcopy(coco(2, [box(1, 0), box(2, 1)]))
    change(content)
    return content


FAULTS = {
    "image_id 999 is none of the images, as for 1 of 2":
        lambda c: c["annotations"][1].update(image_id=999),
    "category_id 5 is none of the categories, as for 1 of 2":
        lambda c: c["annotations"][0].update(category_id=5),
    "category_id must be a whole number or text, got None":
        lambda c: c["annotations"][0].pop("category_id"),
    "image_id must be a whole number or text, got True":
        lambda c: c["annotations"][0].update(image_id=True),
    "image id 100 stands twice": lambda c: c["images"][1].update(id=100),
    "file name '000.png' stands twice":
        lambda c: c["images"][1].update(file_name="000.png"),
    "file name './000.png' stands twice":
        lambda c: c["images"][1].update(file_name="./000.png"),
    "annotation id 1 stands twice": lambda c: c["annotations"][1].update(id=1),
    "category id 7 stands twice": lambda c: c["categories"][1].update(id=7),
    "categories 1 and 7 are both named 'zebra'":
        lambda c: c["categories"][1].update(name="zebra"),
    "category 1 has no name": lambda c: c["categories"][1].update(name=None),
    "image 101 has no file_name": lambda c: c["images"][1].update(file_name=""),
    "id must be a whole number or text, got None": lambda c: c["images"][1].pop("id"),
    "has no images": lambda c: c.pop("images"),
    "there is no image": lambda c: c.update(images=[], annotations=[]),
    "must be a list of objects": lambda c: c.update(annotations=[[1, 2]]),
    "images: must be a list of objects": lambda c: c.update(images=5),
    "panoptic": lambda c: c["annotations"][0].update(segments_info=[]),
    r"is no file name": lambda c: c["images"][1].update(file_name="a\0b"),
    r"'\ud800.png' is no file name":
        lambda c: c["images"][1].update(file_name="\ud800.png"),
}  # fmt: skip


@pytest.mark.parametrize("message", FAULTS)
def test_what_does_not_fit_together_is_refused_by_name_and_place(tmp_path, message):
    path = written(tmp_path / "a.json", coco(2))
    path.write_text(json.dumps(faulty(FAULTS[message]), indent=1))

    with pytest.raises(DataRefused) as caught:
        listed(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_error_says_the_line(tmp_path):
    content = faulty(FAULTS["image_id 999 is none of the images, as for 1 of 2"])
    path = written(tmp_path / "a.json", content, indent=1)
    lines = path.read_text().splitlines()
    line = next(i for i, text in enumerate(lines) if "999" in text)
    while lines[line].strip() != "{":
        line -= 1

    with pytest.raises(DataRefused, match=rf"a\.json, line {line + 1}, column 3: "):
        listed(path)


@given(st.data())
def test_a_file_that_is_cut_anywhere_is_refused_with_the_place(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    content = coco(3, [box(1, 0, note="é"), box(2, 1)])
    whole = json.dumps(content, indent=data.draw(st.sampled_from([None, 1])),
                       ensure_ascii=data.draw(st.booleans())).encode()  # fmt: skip
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    path.write_bytes(cut)

    with pytest.raises(DataRefused, match=r"cut\.json, line \d+, column \d+: no sound"):
        listed(path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"images": [}', "line 1, column 13"),
        ('{"images": [\n{"id" 1}]}', "line 2, column 7"),
        ('{"info": [1\n 2]}', "line 2, column 2"),
        ('{"images": []} x', "line 1, column 16"),
        ('{"images": [], "images": []}', "line 1, column 24"),
        ("[]", "line 1, column 1"),
        ("", "line 1, column 1"),
        ('{"info": ' + "[" * 5000, "line 1"),
        ('{"info": {"a": ' + "[" * 50000, "line 1"),
        ('{"info": ' + "1" * 5000 + "}", "line 1, column 10"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(tmp_path, text, place):
    path = tmp_path / "a.json"
    path.write_text(text)

    with pytest.raises(DataRefused, match=f"a.json, {place}"):
        listed(path)


def test_bytes_that_are_no_utf8_are_refused_with_the_place(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"images": [\n{"id": 1, "file_name": "\xff.png"}]}')

    with pytest.raises(DataRefused, match=r"line 2, column 25: .*no UTF-8"):
        listed(path)


def test_chunks_of_a_file_may_end_anywhere(tmp_path, monkeypatch):
    content = coco(3, [box(i, i % 3, note="é€" * i, n=-1.5e-7) for i in range(9)])
    content["images"][1]["file_name"] = "ü.png"
    content |= {"info": 1234567, "licenses": [12345, 6789]}
    path = written(tmp_path / "a.json", content, ensure_ascii=False)
    whole = list(listed(path).items)
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("fiberaug.jobs.sources.coco_file._CHUNK", size)
        assert list(listed(path).items) == whole
        assert listed(path).about["info"] == 1234567
        assert listed(path).about["licenses"] == [12345, 6789]
    monkeypatch.undo()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as Windows begins it
    assert list(listed(path).items) == whole


IDS = st.integers(-5, 2**40) | st.text("abc1", max_size=3)
NUMBERS = st.integers(-100, 100) | st.floats(-1000, 1000, width=32)


@given(st.data())
def test_any_ids_boxes_and_order_arrive_as_pycocotools_reads_them(
    tmp_path_factory, data
):
    folder = tmp_path_factory.getbasetemp() / "any"
    draw = data.draw
    categories = draw(st.lists(IDS.filter(lambda i: isinstance(i, int)), unique=True,
                               min_size=1, max_size=4))  # fmt: skip
    images = draw(st.lists(IDS, unique=True, min_size=1, max_size=4))
    boxes = draw(st.lists(st.tuples(st.sampled_from(images),
                                    st.sampled_from(categories),
                                    st.lists(NUMBERS, min_size=4, max_size=4)),
                          max_size=6))  # fmt: skip
    ids = draw(st.permutations(range(len(boxes))))
    content = {
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b}
            for n, (i, c, b) in zip(ids, boxes, strict=True)
        ],
        "categories": [{"id": c, "name": f"c{c}"} for c in categories],
        "images": [{"id": i, "file_name": f"{n}.png"} for n, i in enumerate(images)],
    }
    path = folder / "a.json"
    folder.mkdir(exist_ok=True)
    for n in range(4):
        if not (folder / f"{n}.png").exists():
            (folder / f"{n}.png").write_bytes(encode_image(photo(n), "png"))
    path.write_text(json.dumps(content))
    theirs = official(path)
    source = listed(path)
    classes = sorted(categories)

    assert source.classes == tuple(f"c{c}" for c in classes)
    for number, item in zip(images, source.items, strict=True):
        found = source.reader(item).notes["objects"]
        expected = theirs.imgToAnns[number]
        assert [one["id"] for one in found] == [a["id"] for a in expected]
        for one, a in zip(found, expected, strict=True):
            x, y, w, h = a["bbox"]
            assert one["bbox"] == [x, y, x + w, y + h]
            assert classes[one["label"]] == a["category_id"]


def test_classes_can_be_said_in_another_order(tmp_path):
    path = written(tmp_path / "a.json", coco(1, [box(1, 0), box(2, 0, category=1)]))
    source = listed(path, classes=["zebra", "yak", "person"])

    objects = source.reader(source.items[0]).notes["objects"]
    assert [one["label"] for one in objects] == [0, 2]
    assert [c.get("id") for c in source.about["categories"]] == [7, None, 1]
    with pytest.raises(UsageError, match=r"categories \['person'\] are none"):
        listed(path, classes=["zebra"])


def test_files_that_name_a_category_differently_are_refused(tmp_path):
    written(tmp_path / "a.json", coco(1))
    written(tmp_path / "b.json", coco(1, (), [{"id": 7, "name": "horse"}]))

    with pytest.raises(DataRefused, match=r"category 7 is 'zebra' in .*a\.json and"):
        listed(tmp_path)


def test_ids_of_boxes_are_a_field_only_where_all_are_numbers(tmp_path):
    content = coco(1, [box(1, 0), box("b", 0)])
    assert "bbox_ids?" not in listed(written(tmp_path / "a.json", content)).fields
    del content["annotations"][1]["id"]
    assert "bbox_ids?" not in listed(written(tmp_path / "a.json", content)).fields


OUTLINES = {
    "there is none": [],
    "its size is [48, 40]": {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
    "its runs have 5 px, the image 1920": {"size": [HEIGHT, WIDTH], "counts": [5]},
    "a run of RLE is negative": {"size": [HEIGHT, WIDTH], "counts": [-80, 2000]},
    "RLE counts must be text or whole": {"size": [HEIGHT, WIDTH], "counts": [1920.0]},
    "no compressed RLE": {"size": [HEIGHT, WIDTH], "counts": "ooo"},
    "no compressed RLE ": {"size": [HEIGHT, WIDTH], "counts": "\x7f"},
    "its runs have": {"size": [HEIGHT, WIDTH], "counts": "0"},
    "of 3 corners or more": [[1, 2, 3, 4]],
    "of 3 corners or more, got": [[1, 2, 3, 4, 5, 6, 7]],
    "a polygon must be numbers": [[1, 2, 3, 4, 5, "6"]],
    "finite numbers": [[1, 2, 3, 4, 5, float("nan")]],
    "longer or farther": [[1, 2, 3, 4, 5, 1e300]],
    "it must be polygons or RLE": "text",
}


@pytest.mark.parametrize("message", OUTLINES)
def test_an_outline_that_is_none_breaks_its_sample_alone(tmp_path, message):
    whole = [box(1, 0, segmentation=TRIANGLES)]
    content = coco(2, [*whole, box(2, 1, segmentation=OUTLINES[message])])
    source = listed(written(tmp_path / "a.json", content), masks=True)

    source.reader(source.items[0])
    with pytest.raises(SampleBroken, match="object 0, id 2: segmentation: ") as caught:
        source.reader(source.items[1])
    assert message.strip() in str(caught.value)
    assert read(tmp_path / "a.json")[1].notes["objects"]  # without masks it is kept


@given(st.binary(min_size=30, max_size=30), st.integers(1, 6), st.booleans())
def test_any_mask_packed_or_not_arrives_as_it_was(content, width, text):
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    mask = bits[: 240 // width * width].reshape(-1, width)
    one = {"segmentation": packed(mask) if text else runs(mask)}

    [found] = outline_masks([one], (width, len(mask)))
    np.testing.assert_array_equal(found, mask)


@given(st.text("".join(map(chr, range(40, 120))), max_size=12))
def test_any_text_as_rle_is_a_mask_or_an_error(text):
    one = {"segmentation": {"size": [4, 5], "counts": text}}
    with contextlib.suppress(SampleBroken):
        assert outline_masks([one], (5, 4)).max() <= 1


def test_masks_that_cannot_be_read_back_are_refused_before_they_are_made():
    one = {"segmentation": [[1, 2, 3, 4, 5, 9]]}
    with pytest.raises(LimitExceeded, match="2 masks of 16000x16000 px"):
        outline_masks([one, one], (16_000, 16_000))
    with pytest.raises(SampleBroken, match="an image of 0x5 px"):
        outline_masks([], (0, 5))


def test_masks_need_sizes_and_outlines_and_pycocotools(tmp_path, monkeypatch):
    content = coco(2, [box(1, 0)])
    path = written(tmp_path / "a.json", content)
    with pytest.raises(UsageError, match="none of 1 objects has a segmentation"):
        listed(path, masks=True)
    content["images"][1]["width"] = None
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"1 of 2 lack them, the first '001\.png'"):
        listed(path, masks=True)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(UsageError, match=r'pip install "fiberaug\[coco\]"'):
        listed(path, masks=True)


def test_a_reader_is_the_same_wherever_the_set_lies(tmp_path):
    content = coco(1, [box(1, 0)])
    one = listed(written(tmp_path / "a/a.json", content))
    other = listed(written(tmp_path / "b/a.json", content))

    assert repr(one.reader) == repr(other.reader)
    assert one.items.digest() == other.items.digest()
    reader = pickle.loads(pickle.dumps(one.reader))
    assert reader(one.items[0]) == one.reader(one.items[0])


@pytest.mark.parametrize(
    ("content", "is_coco"),
    [
        ({"images": [], "annotations": []}, True),
        ({"info": {}, "licenses": [], "images": [{"file_name": "x"}]}, True),
        ({"annotations": [{"image_id": 5}], "images": []}, True),
        ({"images": ["a.jpg"]}, False),
        ({"version": "5", "shapes": [{"images": 1}], "imagePath": "x"}, False),
        ({"annotations": [{"label": 5}]}, False),
        ([{"image_id": 5, "bbox": [1, 2, 3, 4]}], False),
        ({"meta": {"images": [], "annotations": []}}, False),
        ("images", False),
    ],
)
def test_coco_is_told_by_the_keys_of_its_top_level(tmp_path, content, is_coco):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))

    assert looks_like_coco(path) is is_coco
    assert looks_like_coco(tmp_path) is is_coco
    assert not looks_like_coco(tmp_path / "nothing")


def test_other_json_beside_it_is_passed_over_and_said(tmp_path):
    written(tmp_path / "a.json", coco(1))
    (tmp_path / "other.json").write_text("[1]")

    assert listed(tmp_path).said.endswith("passed over, as no COCO: other.json")
    (tmp_path / "a.json").unlink()
    with pytest.raises(UsageError, match=r"has no COCO annotations.*other\.json"):
        listed(tmp_path)
    with pytest.raises(UsageError, match="no file and no folder"):
        listed(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("train\\a.png", "train/a.png"),
        ("C:\\sets\\train\\a.png", "train/a.png"),
        ("/home/me/sets/train/a.png", "train/a.png"),
        ("/home/me/a.png", "a.png"),
    ],
)
def test_paths_of_windows_and_of_other_machines_are_found_below(tmp_path, name, place):
    path = tmp_path / "src" / "all.json"
    written(path, coco() | {"images": [image(0, place)]})
    path.write_text(json.dumps(coco(1, [box(1, 0)]) | {"images": [image(0, name)]}))
    converted(listed(tmp_path / "src"), tmp_path / "out")

    assert list(streamed(tmp_path / "out")) == [place.removesuffix(".png")]


def test_a_path_of_windows_does_not_lead_out_of_the_set(tmp_path):
    (tmp_path / "b.png").write_bytes(encode_image(photo(1), "png"))
    path = written(tmp_path / "src" / "all.json", coco(1))
    images = [image(0), image(1, "..\\b.png")]
    path.write_text(json.dumps(coco() | {"images": images}))

    with pytest.raises(SecurityRefused, match=r"b\.png.*out of"):
        listed(tmp_path / "src")


def test_images_of_lvis_are_named_by_their_address(tmp_path):
    path = tmp_path / "src" / "lvis_v1_val.json"
    written(path, coco() | {"images": [image(0, "train2017/a.png")]})
    entry = image(0, coco_url="http://images.cocodataset.org/train2017/a.png")
    del entry["file_name"]
    lvis = entry | {"not_exhaustive_category_ids": [7], "neg_category_ids": []}
    path.write_text(json.dumps(coco(1, [box(1, 0)]) | {"images": [lvis]}))
    converted(listed(tmp_path / "src"), tmp_path / "out")
    found = streamed(tmp_path / "out")

    assert found["train2017/a"]["bbox_ids"].tolist() == [1]
    assert read(path)[0].notes["image"]["not_exhaustive_category_ids"] == [7]


def test_a_side_of_0_is_one_that_is_not_stated(tmp_path):
    content = coco(1, [box(1, 0)])
    content["images"] = [image(0) | {"width": 0, "height": 0}]
    written(tmp_path / "a_train.json", content, folder=tmp_path)

    assert read(tmp_path)[0].stated is None
    written(tmp_path / "b_train.json", coco(1), folder=tmp_path)
    assert read(tmp_path)[0].stated == (WIDTH, HEIGHT)


@pytest.mark.parametrize("far", [1e39, -1e300, 10**400])
def test_a_box_farther_off_than_any_image_is_named(tmp_path, far):
    content = coco(2, [box(5, 0, (1, far, 3, 4)), box(6, 1)])
    written(tmp_path / "src" / "a.json", content)
    converted(listed(tmp_path / "src"), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "convert_errors.jsonl").read_text())

    assert list(streamed(tmp_path / "out")) == ["001"]
    assert report["reason"].startswith("annotation 5: bbox [1, ")
    assert "is farther off than 1000000000 px" in report["reason"]


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("info", {"year": math.nan}, "cannot be stored: Out of range"),
        ("info", {"about": "\ud800"}, "cannot be stored: .*surrogates"),
        ("info", [[]], None),
        ("licenses", [{"id": math.inf}], "cannot be stored: Out of range"),
        ("categories", [{"id": 7, "name": "\ud800"}], "cannot be stored: .*surrogates"),
        ("info", json.loads("[" * 400 + "]" * 400), "is nested more than 50 deep"),
    ],
)
def test_what_cannot_stand_in_the_manifest_is_refused_first(
    tmp_path, where, value, said
):
    path = written(tmp_path / "src" / "a.json", coco(1, [box(1, 0)]) | {where: value})
    if said is None:
        converted(listed(path), tmp_path / "out")
    else:
        with pytest.raises(DataRefused, match=rf"line 1, column .*{where}: {said}"):
            listed(path)


def test_a_name_too_long_for_a_file_is_refused_shortly(tmp_path):
    path = written(tmp_path / "a.json", coco(1))
    long = image(1, "b" * 5000 + ".png")
    path.write_text(json.dumps(coco() | {"images": [image(0), long]}))

    with pytest.raises(DataRefused, match="is no file name") as caught:
        listed(path)
    assert len(str(caught.value)) < 500


def test_a_pipe_in_place_of_an_image_is_refused_and_not_waited_for(tmp_path):
    path = written(tmp_path / "a.json", coco(2))
    (tmp_path / "001.png").unlink()
    os.mkfifo(tmp_path / "001.png")

    with pytest.raises(DataRefused, match=r"'001\.png' is a pipe or device, no file"):
        listed(path)
