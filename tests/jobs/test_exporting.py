"""Laws of exports: what a set holds stands in the other format, or is counted."""

import numpy as np
import pytest
import yaml
from exports import (
    coco_of,
    coco_set,
    convert,
    exported,
    jpeg,
    jsons,
    masks_set,
    reported,
    tree,
    voc_of,
    voc_set,
    yolo_of,
    yolo_set,
)
from PIL import Image

import fiberaug


def test_a_voc_set_comes_back_with_all_that_it_has(tmp_path):
    src = voc_set(tmp_path / "src")
    convert(src, tmp_path / "shards", source="voc")
    done = exported(tmp_path / "shards", tmp_path / "out", "voc")

    assert (done.samples, done.left_out, done.lost) == (3, 0, {})
    for stem in ("a", "b.v2", "c"):
        for folder, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png"),
                            ("SegmentationObject", "png")):  # fmt: skip
            path = f"{folder}/{stem}.{end}"
            assert (tmp_path / "out" / path).exists() == (src / path).exists()
            if (src / path).exists():
                assert (tmp_path / "out" / path).read_bytes() == (
                    src / path
                ).read_bytes()
        xml = f"Annotations/{stem}.xml"
        assert voc_of(tmp_path / "out" / xml) == voc_of(src / xml)
    listed = (tmp_path / "out/ImageSets/Main/trainval.txt").read_text().splitlines()
    assert listed == ["a", "b.v2", "c"]

    convert(tmp_path / "out", tmp_path / "again", source="voc")
    assert jsons(tmp_path / "again") == jsons(tmp_path / "shards")


def test_boxes_without_area_are_written_and_reported_in_each_format(tmp_path):
    convert(voc_set(tmp_path / "src"), tmp_path / "shards", source="voc")
    for to in ("voc", "coco", "yolo"):
        out = tmp_path / to
        done = exported(tmp_path / "shards", out, to)
        lines = reported(out)

        assert (done.odd, done.left_out) == (2, 0)
        assert [(one["key"], one["outcome"]) for one in lines] == [
            ("JPEGImages/c", "kept")] * 2  # fmt: skip
        assert all("has no area" in one["reason"] for one in lines)
    assert [box for _, box, _ in voc_of(tmp_path / "voc/Annotations/c.xml")[1]] == [
        [0.25, 2, 30, 2], [1.25, 2, 31, 2],
    ]  # fmt: skip
    assert [values[3] for _, values in yolo_of(tmp_path / "yolo/labels/c.txt")] == [
        0
    ] * 2
    coco = coco_of(tmp_path / "coco/annotations/instances.json")
    assert sum(one["bbox"][3] == 0 for one in coco.anns.values()) == 2


def test_origin_1_is_written_as_it_is_read(tmp_path):
    src = voc_set(tmp_path / "src")
    convert(src, tmp_path / "shards", source="voc", origin=1)
    exported(tmp_path / "shards", tmp_path / "out", "voc", origin=1)

    for path in (src / "Annotations").iterdir():
        assert voc_of(tmp_path / "out/Annotations" / path.name) == voc_of(path)


def test_a_coco_set_comes_back_entry_by_entry(tmp_path):
    src = coco_set(tmp_path / "src")
    convert(src, tmp_path / "shards")
    done = exported(tmp_path / "shards", tmp_path / "out", "coco")
    name = "annotations/instances_train2017.json"
    theirs, ours = coco_of(src / name), coco_of(tmp_path / "out" / name.replace(
        "_train2017", ""))  # fmt: skip
    written = [
        {**one, "file_name": f"train2017/{one['file_name']}"}
        for one in theirs.dataset["images"]
    ]

    assert done.lost == {}
    assert ours.dataset["images"] == written
    assert ours.dataset["categories"] == theirs.dataset["categories"]
    assert ours.anns == theirs.anns
    assert ours.dataset["info"] == {"description": "ours"}
    assert ours.dataset["licenses"] == [{"id": 2, "name": "MIT"}]
    captions = coco_of(tmp_path / "out/annotations/captions.json")
    assert [(one["image_id"], one["caption"]) for one in captions.anns.values()] == [
        (71, "no 0"), (71, "no 1"),
    ]  # fmt: skip
    assert [one["id"] for one in captions.dataset["images"]] == [70, 71, 72]

    convert(tmp_path / "out", tmp_path / "again")
    again, before = jsons(tmp_path / "again"), jsons(tmp_path / "shards")
    assert [one.pop("image")["id"] for one in again.values()] == [70, 71, 72]
    for one in before.values():
        del one["image"]
    assert list(again.values()) == list(before.values())


def test_ids_that_are_not_unique_count_anew_and_that_is_told(tmp_path):
    convert(coco_set(tmp_path / "src"), tmp_path / "shards")
    found = jsons(tmp_path / "shards")
    rows = [
        {"__key__": key, "image": jpeg(i),
         "json": {**one, "image": {**one["image"], "id": 5},
                  "objects": [{**thing, "id": 6} for thing in one["objects"]]}}
        for i, (key, one) in enumerate(found.items())
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "same", classes=["a", "b"], progress=False)
    done = exported(tmp_path / "same", tmp_path / "out", "coco")
    coco = coco_of(tmp_path / "out/annotations/instances.json")

    assert sorted(coco.imgs) == [1, 2, 3]
    assert sorted(coco.anns) == [1, 2, 3]
    assert [len(coco.getAnnIds(imgIds=[i])) for i in (1, 2, 3)] == [2, 0, 1]
    assert done.lost["ids of images, which count anew"] == 3
    assert done.lost["ids of objects, which count anew"] == 3


@pytest.mark.parametrize(
    ("lines", "extra"),
    [
        (["0 0.5 0.5 0.25 0.123456789\n1 0.1 0.2 0 0\n", "", "1 0 0 0 0\n"], ""),
        (["0 0.5 0.5 0.25 0.5 0.875\n", ""], ""),
        (["0 0.1 0.1 0.9 0.1 0.9 0.9\n1 0 0 1 0 1 1 0 1\n", ""], ""),
        (["0 0.5 0.5 0.25 0.5 0.25 0.5 2 0 0 0\n", ""],
         "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"),
        (["0 0.5 0.5 0.25 0.5 0.25 0.5 0.75 0.75\n", ""], "kpt_shape: [2, 2]\n"),
    ],
    ids=["boxes", "scores", "outlines", "keypoints", "places"],
)  # fmt: skip
def test_a_yolo_set_comes_back_line_by_line(tmp_path, lines, extra):
    src = yolo_set(tmp_path / "src", lines, extra=extra)
    convert(src, tmp_path / "shards")
    done = exported(tmp_path / "shards", tmp_path / "out", "yolo")

    assert (done.parts, done.lost) == (dict.fromkeys(("train", "val"), len(lines)), {})
    for part in ("train", "val"):
        for i, text in enumerate(lines):
            image = f"images/{part}/p{i}.jpg"
            assert (tmp_path / "out" / image).read_bytes() == (src / image).read_bytes()
            label = f"labels/{part}/p{i}.txt"
            ours = yolo_of(tmp_path / "out" / label)
            theirs = [] if text is None else yolo_of(src / label)
            assert [label for label, _ in ours] == [label for label, _ in theirs]
            for (_, one), (_, other) in zip(ours, theirs, strict=True):
                # px are kept to four digits
                assert one == pytest.approx(other, abs=1e-4 / 40)
    described, before = (
        yaml.safe_load((folder / "data.yaml").read_text())
        for folder in (tmp_path / "out", src)
    )
    assert list(described.pop("names").values()) == before.pop("names")
    assert described.pop("nc") == 2
    assert described == before

    convert(tmp_path / "out", tmp_path / "again")
    assert jsons(tmp_path / "again") == jsons(tmp_path / "shards")


def test_boxes_are_the_same_through_every_format(tmp_path):
    """VOC -> shards -> COCO -> shards -> YOLO -> shards -> VOC."""
    src = voc_set(tmp_path / "0")
    for step, to in enumerate(("coco", "yolo", "voc"), 1):
        convert(tmp_path / f"{step - 1}", tmp_path / f"shards{step}",
                source="auto" if step != 1 else "voc")  # fmt: skip
        exported(tmp_path / f"shards{step}", tmp_path / f"{step}", to)
    for stem in ("a", "b.v2", "c"):
        size, objects = voc_of(tmp_path / f"3/Annotations/{stem}.xml")
        before, wanted = voc_of(src / f"Annotations/{stem}.xml")
        assert size == before
        for (name, box, _), (other, theirs, _) in zip(objects, wanted, strict=True):
            assert name == other
            assert box == pytest.approx(theirs, abs=1e-3)
        image = f"JPEGImages/{stem}.jpg"
        assert (tmp_path / "3" / image).read_bytes() == (src / image).read_bytes()


def test_masks_come_back_as_images_and_masks(tmp_path):
    src = masks_set(tmp_path / "src")
    convert(src, tmp_path / "shards")
    done = exported(tmp_path / "shards", tmp_path / "out", "folder")

    assert done.lost == {}
    ours, theirs = tree(tmp_path / "out"), tree(src)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)),
                              np.asarray(Image.open(src / name)))  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_masks_of_objects_become_runs_and_masks_of_classes_segmentation(tmp_path):
    convert(masks_set(tmp_path / "src"), tmp_path / "shards")
    done = exported(tmp_path / "shards", tmp_path / "coco", "coco")
    coco = coco_of(tmp_path / "coco/annotations/instances.json")

    assert done.lost == {"masks of class ids": 3}
    assert list(coco.cats.values()) == [{"id": 1, "name": "object"}]
    for image in coco.imgs.values():
        stem = image["file_name"].removesuffix(".jpg")
        for j, own in enumerate(coco.getAnnIds(imgIds=[image["id"]])):
            path = tmp_path / f"src/masks/{stem}_mask_{j}.png"
            mask = np.asarray(Image.open(path)) > 0
            assert np.array_equal(coco.annToMask(coco.anns[own]), mask)
            rows, columns = np.nonzero(mask)
            x, y, w, h = coco.anns[own]["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
    assert len(coco.anns) == 3

    done = exported(tmp_path / "shards", tmp_path / "voc", "voc")
    assert done.lost == {"masks of objects": 2}
    for i in range(3):
        name = f"sub/p{i}.png"
        assert (tmp_path / "voc/SegmentationClass" / name).read_bytes() == (
            tmp_path / "src/masks" / name
        ).read_bytes()
        assert voc_of(tmp_path / f"voc/Annotations/sub/p{i}.xml") == ((48, 40), [])


def test_what_has_no_place_is_counted(tmp_path):
    rows = [
        {"__key__": f"k{i}", "image": jpeg(i), "label": 1, "caption": "x",
         "depth.npy": b"0",
         "json": {"objects": [{"bbox": [1, 2, 3, 4], "label": 0, "tags": [1]}],
                  "patient": "p"}}
        for i in range(2)
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "shards", classes=["a", "b"], progress=False)
    lost = {
        to: exported(tmp_path / "shards", tmp_path / to, to).lost
        for to in ("voc", "yolo", "coco", "folder")
    }

    both = {".depth.npy files": 2, "caption of images": 2, "patient of images": 2}
    assert lost["voc"] == lost["yolo"]
    assert lost["voc"] == both | {"labels of photos": 2, "tags of objects": 2}
    assert lost["coco"] == {".depth.npy files": 2, "labels of photos": 2}
    assert lost["folder"] == both | {"objects": 2}
