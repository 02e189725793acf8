"""Laws of where an export writes: each sample has its files, no name is trusted."""

import shutil

import numpy as np
import pytest
from exports import (
    coco_of,
    convert,
    exported,
    jpeg,
    jsons,
    pixels_of,
    put,
    reported,
    tree,
    voc_set,
    yolo_of,
)
from sets import samples

import fiberaug
from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.exporting import export
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.preparing import masks_member


def test_class_folders_come_back_as_the_same_files(tmp_path):
    for i in range(12):
        put(tmp_path / f"src/{['cat', 'dog'][i % 2]}/x{i % 3}/p{i}.v2.jpg", jpeg(i))
    put(tmp_path / "src/dog/q%25.png", mask_member(np.full((9, 9), 7)))
    convert(tmp_path / "src", tmp_path / "shards")
    exported(tmp_path / "shards", tmp_path / "out", "folder")

    assert tree(tmp_path / "out") == tree(tmp_path / "src")


def test_parts_become_folders_lists_and_files_of_their_own(tmp_path):
    for i in range(10):
        put(tmp_path / f"src/{['cat', 'dog'][i % 2]}/p{i}.jpg", jpeg(i))
    convert(tmp_path / "src", tmp_path / "shards", split="train=0.6,val=0.4")
    done = exported(tmp_path / "shards", tmp_path / "out", "folder")
    alone = exported(tmp_path / "shards", tmp_path / "val", "folder", split="val")

    assert done.parts == {"train": 6, "val": 4}
    assert alone.parts == {"val": 4}
    files = {
        name.partition("/")[2]: sha for name, sha in tree(tmp_path / "out").items()
    }
    assert files == tree(tmp_path / "src")
    assert tree(tmp_path / "val") == {
        name: sha
        for name, sha in tree(tmp_path / "out").items()
        if name.startswith("val/")
    }
    with pytest.raises(UsageError, match=r"no part 'x'; .*\['train', 'val'"):
        exported(tmp_path / "shards", tmp_path / "x", "folder", split="x")

    convert(voc_set(tmp_path / "src2"), tmp_path / "boxes", source="voc",
            split="train=0.6,val=0.4")  # fmt: skip
    for to in ("voc", "coco", "yolo"):
        exported(tmp_path / "boxes", tmp_path / to, to)
    lists = {
        part: set((tmp_path / f"voc/ImageSets/Main/{part}.txt").read_text().split("\n"))
        - {""}
        for part in ("train", "val")
    }
    assert sorted(lists["train"] | lists["val"]) == ["a", "b.v2", "c"]
    for part, stems in lists.items():
        coco = coco_of(tmp_path / f"coco/annotations/instances_{part}.json")
        names = {f"{stem}.jpg" for stem in stems}
        assert {one["file_name"] for one in coco.imgs.values()} == names
        for to in ("coco", "yolo"):
            assert {
                p.name for p in (tmp_path / to / "images" / part).iterdir()
            } == names
        labels = {p.stem for p in (tmp_path / "yolo/labels" / part).iterdir()}
        assert labels == stems


def test_a_format_that_holds_nothing_of_a_set_is_refused(tmp_path):
    fiberaug.convert(samples(3), tmp_path / "shards", progress=False)
    for to in ("voc", "yolo", "coco"):
        with pytest.raises(UsageError, match="holds none but the image"):
            exported(tmp_path / "shards", tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_samples_that_cannot_be_written_are_left_out_and_listed(tmp_path):
    rows = [
        {"__key__": "good", "image": jpeg(0),
         "json": {"objects": [{"bbox": [1, 2, 3, 4], "label": 0}]}},
        {"__key__": "wrong", "image": jpeg(1),
         "json": {"objects": [{"bbox": [1, 2, 3, 4], "label": 7}]}},
        {"__key__": "short", "image": jpeg(2),
         "json": {"objects": [{"bbox": [1, 2, 3], "label": 0}]}},
        {"__key__": "l" * 250, "image": jpeg(3), "json": {"objects": []}},
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "shards", classes=["x"], progress=False)
    for to in ("voc", "coco", "yolo"):
        out = tmp_path / to
        done = exported(tmp_path / "shards", out, to)
        lines = reported(out)

        assert (done.samples, done.left_out) == (1, 3)
        assert {one["key"]: one["outcome"] for one in lines} == dict.fromkeys(
            ("wrong", "short", "l" * 250), "left out"
        )
        images = [path.stem for path in out.rglob("*.jpg")]
        assert images == ["good"]
        with pytest.raises(SampleBroken, match="key wrong"):
            exported(tmp_path / "shards", tmp_path / f"{to}-fail", to, on_error="fail")


def test_keys_that_stand_twice_are_refused_before_anything_is_written(
    tmp_path, foreign
):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in "ab":
        foreign(folder / f"{name}.tar", [("same", {"jpg": jpeg(), "cls": b"0"})])
    with pytest.raises(DataRefused, match="two samples would be written as 'same'"):
        exported(folder, tmp_path / "out", "folder", classes=["x"])

    convert(folder, tmp_path / "shards", source="shards")
    done = exported(tmp_path / "shards", tmp_path / "out2", "folder", classes=["x"])
    assert done.samples == 2


@pytest.mark.parametrize(
    "keys",
    [
        ["100%", "100%25"],
        ["images/a", "images/images/a"],
        ["images/train/a", "images/val/a"],
        ["train/a", "a"],
        ["images/a%2Eb", "b/images/a"],
        ["%2Ehidden", "x"],
        ["JPEGImages/a", "JPEGImages/b/a"],
    ],
)
def test_whatever_the_keys_each_sample_has_its_own_files(tmp_path, keys):
    rows = [
        {"__key__": key, "image": jpeg(i), "label": 0,
         "json": {"part": "train",
                  "objects": [{"bbox": [0, 0, i + 1, 1], "label": 0}]}}
        for i, key in enumerate(keys)
    ]  # fmt: skip
    fiberaug.convert(rows, tmp_path / "shards", classes=["c"], progress=False)
    for to in ("voc", "coco", "yolo", "folder"):
        out = tmp_path / to
        if keys[0] == "100%":  # of files: %25 stands for the sign itself
            with pytest.raises(DataRefused, match="would be written as '100%'"):
                exported(tmp_path / "shards", out, to)
            continue
        exported(tmp_path / "shards", out, to)
        found = {path.read_bytes() for path in out.rglob("*.jpg")}
        assert found == {jpeg(i) for i in range(len(keys))}
        if to != "folder":
            convert(out, tmp_path / f"{to}-again", source=to)
            widths = [
                one["objects"][0]["bbox"][2]
                for one in jsons(tmp_path / f"{to}-again").values()
            ]
            assert sorted(widths) == [1, 2]


def test_names_that_cannot_be_folders_are_refused_before_anything(tmp_path):
    for bad in ("a/b", "..", ".x", "ä" * 128, ""):
        rows = [{"__key__": "a", "image": jpeg(), "label": 0}]
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        fiberaug.convert(rows, tmp_path / "shards", classes=[bad], progress=False)
        with pytest.raises(UsageError, match="cannot be a folder"):
            exported(tmp_path / "shards", tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "xml"}, "to must be coco, voc, yolo, folder, got 'xml'"),
        ({"to": "yolo", "lines": "x"}, "lines must be boxes, outlines, keypoints"),
        ({"to": "voc", "lines": "boxes"}, "lines is for yolo"),
        ({"to": "yolo", "origin": 1}, "origin must be 0, or 1 for voc"),
        ({"to": "voc", "origin": 2}, "origin must be 0, or 1 for voc"),
        ({"to": "voc", "workers": 0}, "workers must be >= 1, got 0"),
        ({"to": "voc", "on_error": "x"}, "on_error must be skip or fail"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        export(tmp_path / "none", tmp_path / "out", **options)


def test_a_plain_set_is_exported_without_shards(tmp_path):
    src = voc_set(tmp_path / "src")
    done = exported(src, tmp_path / "out", "yolo", index_dir=tmp_path / "index")

    assert done.samples == 3
    ((_, values), _) = yolo_of(tmp_path / "out/labels/a.txt")
    assert pixels_of(values, (48, 40)) == pytest.approx([0.25, 2, 30, 33])
    with pytest.raises(UsageError, match="lies inside of"):
        exported(src, src / "out", "yolo")


def test_an_image_that_would_be_taken_for_a_mask_is_left_out_and_listed(tmp_path):
    masks = [np.ones((1, 40, 48), np.uint8), np.zeros((1, 40, 48), np.uint8)]
    rows = [
        {"__key__": key, "image": jpeg(i), "masks.npz": masks_member(masks[i])}
        for i, key in enumerate(("a", "a_mask_0"))
    ]
    fiberaug.convert(rows, tmp_path / "shards", progress=False)
    fields = {"image": "jpg", "masks": "masks.npz"}
    done = exported(tmp_path / "shards", tmp_path / "out", "folder", fields=fields)

    assert (done.samples, done.left_out) == (1, 1)
    assert sorted(tree(tmp_path / "out")) == [
        "export_errors.jsonl", "images/a.jpg", "masks/a_mask_0.png",
    ]  # fmt: skip
