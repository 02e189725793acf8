"""Exports of real data, compared entry by entry with what the sources say."""

import tarfile

import numpy as np
import pytest
from exports import (
    coco_of,
    convert,
    exported,
    jsons,
    pixels_of,
    put,
    reported,
    tree,
    voc_of,
    yolo_of,
)
from PIL import Image
from sets import DATA

import fiberaug

needs_data = pytest.mark.skipif(
    not (DATA / "bccd").is_dir(), reason="FIBERAUG_DATA names no folder"
)


@needs_data
def test_blood_cells_are_the_same_through_coco_and_yolo(tmp_path):
    """Pascal VOC -> shards -> COCO -> shards and -> YOLO -> shards, box by box."""
    src = DATA / "bccd"
    convert(src, tmp_path / "shards", keep_order=False)
    wanted = {path.stem: voc_of(path)[1] for path in (src / "Annotations").iterdir()}
    coco = exported(tmp_path / "shards", tmp_path / "coco", "coco")
    yolo = exported(tmp_path / "shards", tmp_path / "yolo", "yolo")
    voc = exported(tmp_path / "shards", tmp_path / "voc", "voc")

    assert {done.samples for done in (coco, yolo, voc)} == {364}
    assert {done.odd for done in (coco, yolo, voc)} == {2}  # those without area
    for to in ("coco", "yolo", "voc"):
        odd = reported(tmp_path / to)
        assert {one["key"][-5:] for one in odd} == {"00338", "00343"}
        assert all("has no area" in one["reason"] for one in odd)
    classes = ["Platelets", "RBC", "WBC"]
    document = coco_of(tmp_path / "coco/annotations/instances.json")
    assert [one["name"] for one in document.cats.values()] == classes
    for image in document.imgs.values():
        stem = image["file_name"].removesuffix(".jpg")
        entries = document.loadAnns(document.getAnnIds(imgIds=[image["id"]]))
        corners = [
            (classes[one["category_id"] - 1],
             [one["bbox"][0], one["bbox"][1], one["bbox"][0] + one["bbox"][2],
              one["bbox"][1] + one["bbox"][3]])
            for one in entries
        ]  # fmt: skip
        assert corners == [(name, box) for name, box, _ in wanted[stem]]
        lines = yolo_of(tmp_path / f"yolo/labels/{stem}.txt")
        size = image["width"], image["height"]
        assert [classes[label] for label, _ in lines] == [n for n, _, _ in wanted[stem]]
        for (_, values), (_, box, _) in zip(lines, wanted[stem], strict=True):
            assert pixels_of(values, size) == pytest.approx(box, abs=1e-3)
        assert voc_of(tmp_path / f"voc/Annotations/{stem}.xml")[1] == wanted[stem]
        data = (src / f"JPEGImages/{stem}.jpg").read_bytes()
        for to, folder in (("coco", "images"), ("yolo", "images"),
                           ("voc", "JPEGImages")):  # fmt: skip
            assert (tmp_path / to / folder / f"{stem}.jpg").read_bytes() == data
    first = {
        key[-5:]: one["objects"] for key, one in jsons(tmp_path / "shards").items()
    }
    for to in ("coco", "yolo"):
        convert(tmp_path / to, tmp_path / f"{to}-again", source=to)
        again = jsons(tmp_path / f"{to}-again")
        assert len(again) == 364
        for key, one in again.items():
            before = first[key[-5:]]
            assert [x["label"] for x in one["objects"]] == [x["label"] for x in before]
            assert [x["bbox"] for x in one["objects"]] == [x["bbox"] for x in before]


@needs_data
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
@pytest.mark.parametrize(
    "name", [pytest.param("simple", marks=pytest.mark.slow), "hard"]
)
def test_cables_keep_their_masks_and_instances(tmp_path, name):
    src = DATA / f"cables/cable_dataset_{name}"
    convert(src, tmp_path / "shards")
    exported(tmp_path / "shards", tmp_path / "coco", "coco")
    exported(tmp_path / "shards", tmp_path / "voc", "voc")
    exported(tmp_path / "shards", tmp_path / "folder", "folder")
    coco = coco_of(tmp_path / "coco/annotations/instances.json")

    for image in coco.imgs.values():
        stem = image["file_name"].removesuffix(".jpg")
        count = len(list(src.glob(f"{stem}_mask_[0-9]*.png")))
        own = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert len(own) == count > 0
        for j, entry in enumerate(own):
            mask = np.asarray(Image.open(src / f"{stem}_mask_{j}.png").convert("L")) > 0
            assert np.array_equal(coco.annToMask(entry), mask)
            assert entry["area"] == mask.sum()
            beside = Image.open(tmp_path / f"folder/masks/{stem}_mask_{j}.png")
            assert np.array_equal(np.asarray(beside) > 0, mask)
        union = np.asarray(Image.open(src / f"{stem}_mask_all.png").convert("L")) > 0
        for path in (f"voc/SegmentationClass/{stem}.png", f"folder/masks/{stem}.png"):
            assert np.array_equal(np.asarray(Image.open(tmp_path / path)) > 0, union)
    convert(tmp_path / "folder", tmp_path / "again")
    before, after = (_masks(tmp_path / n) for n in ("shards", "again"))
    assert before.keys() == after.keys()
    for key, (mask, masks) in before.items():
        assert np.array_equal(after[key][0], mask)
        assert np.array_equal(after[key][1], masks)


def _masks(shards):
    dataset = fiberaug.StreamingDataset(str(shards), train=False)
    return {one["__key__"]: (one["mask"], one["masks"]) for one in dataset}


@needs_data
def test_clothes_come_back_as_the_same_files(tmp_path):
    convert(DATA / "clothing-small/test", tmp_path / "shards", keep_order=False)
    exported(tmp_path / "shards", tmp_path / "out", "folder")

    assert tree(tmp_path / "out") == tree(DATA / "clothing-small/test")


@needs_data
def test_photos_of_every_orientation_keep_boxes_of_either_frame(tmp_path):
    """The same box of the same motif, said in the stored or the upright frame."""
    from PIL import ImageOps

    photos = sorted((DATA / "exif-orientation").glob("*.jpg"))
    for frame in ("stored", "upright"):
        src, wanted = tmp_path / frame, {}
        for path in photos:
            put(src / f"JPEGImages/{path.name}", path.read_bytes())
            with Image.open(path) as image:
                turn = image.getexif()
                stored = Image.new("L", image.size)
                stored.getexif().update(turn)
                size = image.size
                if frame == "upright":
                    stored = Image.new("L", ImageOps.exif_transpose(image).size)
                    size = stored.size
            box = (size[0] // 8, size[1] // 4, size[0] // 2, size[1] // 3)
            stored.paste(255, box)
            wanted[path.stem] = ImageOps.exif_transpose(stored).getbbox()
            edges = "".join(
                f"<{edge}>{value}</{edge}>"
                for edge, value in zip(
                    ("xmin", "ymin", "xmax", "ymax"), box, strict=True
                )
            )
            put(src / f"Annotations/{path.stem}.xml",
                f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height>"
                f"</size><object><name>x</name><bndbox>{edges}</bndbox></object>"
                "</annotation>")  # fmt: skip
        convert(src, tmp_path / f"{frame}-shards", annotation_frame=frame)
        streamed = fiberaug.StreamingDataset(str(tmp_path / f"{frame}-shards"),
                                             train=False)  # fmt: skip
        for sample in streamed:
            stem = sample["__key__"].rpartition("/")[2]
            assert tuple(sample["bboxes"][0]) == wanted[stem]
        for to in ("voc", "coco", "yolo"):
            out = tmp_path / f"{frame}-{to}"
            exported(tmp_path / f"{frame}-shards", out, to)
            convert(out, tmp_path / f"{frame}-{to}-again", source=to,
                    annotation_frame="upright")  # fmt: skip
            again = jsons(tmp_path / f"{frame}-{to}-again")
            assert len(again) == len(photos)
            for key, one in again.items():
                stem = key.rpartition("/")[2]
                assert tuple(one["objects"][0]["bbox"]) == wanted[stem]


@needs_data
@pytest.mark.slow
def test_arrays_and_foreign_shards_become_folders_of_their_classes(tmp_path):
    done = exported(DATA / "cifar10-shards", tmp_path / "cifar", "folder")
    assert (done.samples, done.lost) == (7000, {})
    with tarfile.open(DATA / "cifar10-shards/test-000000.tar") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    for name, data in members.items():
        if name.endswith(".jpg"):
            label = members[name.replace(".jpg", ".cls")].decode().strip()
            assert (tmp_path / "cifar" / label / name).read_bytes() == data

    convert(DATA / "mnist28.npz", tmp_path / "shards", encode="png")
    done = exported(tmp_path / "shards", tmp_path / "mnist", "folder", workers=2)
    arrays = np.load(DATA / "mnist28.npz")
    assert done.samples == len(arrays["train_y"]) + len(arrays["test_y"])
    for part in ("train", "test"):
        counts = np.bincount(arrays[f"{part}_y"], minlength=10)
        folders = tmp_path / "mnist" / part
        found = [len(list((folders / str(i)).iterdir())) for i in range(10)]
        assert found == counts.tolist()
        hashes = {
            np.asarray(Image.open(path)).tobytes() for path in (folders / "7").iterdir()
        }
        wanted = arrays[f"{part}_x"][arrays[f"{part}_y"] == 7]
        assert hashes == {image.tobytes() for image in wanted}
