"""Laws of what goes with a picture: it moves along, by hand, in the source's format."""

import csv
import io
import json
from xml.etree import ElementTree as ET

import albumentations as A
import cv2
import numpy as np
import pytest
import yaml
from foldered import FLIP, augmented, lines, photos, pixels, png, put, records, tree
from PIL import Image
from sets import DATA, photo

import fiberaug
from fiberaug.errors import UsageError

WIDTH, HEIGHT = 48, 40


def voc_xml(objects, size=(WIDTH, HEIGHT)):
    text = "".join(
        f"<object><name>{name}</name>{extra}<bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b, extra in objects
    )
    return (
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{text}</annotation>"
    )


def voc_objects(path):
    """Objects of a VOC file, by ElementTree: name, box, what else is said."""
    return [
        (
            node.findtext("name"),
            [
                float(node.findtext(f"bndbox/{e}"))
                for e in ("xmin", "ymin", "xmax", "ymax")
            ],
            {c.tag: c.text for c in node if c.tag not in {"name", "bndbox"}},
        )
        for node in ET.parse(path).getroot().iter("object")  # noqa: S314  # our own file
    ]


CROP = [{"Crop": {"x_min": 8, "y_min": 4, "x_max": 40, "y_max": 36, "p": 1}}]


@pytest.fixture
def voc(tmp_path):
    src = tmp_path / "in"
    put(src / "JPEGImages/a.png", png(photo(0)))
    put(src / "JPEGImages/b.png", png(photo(1)))
    put(src / "Annotations/a.xml", voc_xml([
        ("red cell", (1, 2, 11, 20), "<difficult>1</difficult><pose>Left</pose>"),
        ("platelet", (0, 0, 5, 40), "<truncated>1</truncated>"),
        ("red cell", (30.5, 10, 48, 40), "<difficult>0</difficult>"),
    ]))  # fmt: skip
    put(src / "Annotations/b.xml", voc_xml([]))
    put(src / "ImageSets/Main/train.txt", "a\n")
    put(src / "ImageSets/Main/val.txt", "b\n")
    put(src / "ImageSets/Main/cell_train.txt", "a  1\nb -1\n")
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0, *[9] * (3 * 253)]
    for folder, ids in (("SegmentationClass", (1, 2)), ("SegmentationObject", (1, 7))):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[5:20, 2:9], mask[30:, 40:] = ids
        image = Image.fromarray(mask)
        image.putpalette(palette)
        file = io.BytesIO()
        image.save(file, "PNG")
        put(src / folder / "a.png", file.getvalue())
    return src


def test_boxes_and_attributes_of_voc_follow_a_flip(voc, tmp_path):
    augmented(voc, tmp_path / "out")

    assert voc_objects(tmp_path / "out/Annotations/a.xml") == [
        ("red cell", [37, 2, 47, 20], {"difficult": "1", "pose": "Left"}),
        ("platelet", [43, 0, 48, 40], {"truncated": "1"}),
        ("red cell", [0, 10, 17.5, 40], {"difficult": "0"}),
    ]
    assert voc_objects(tmp_path / "out/Annotations/b.xml") == []
    root = ET.parse(tmp_path / "out/Annotations/a.xml").getroot()  # noqa: S314
    assert root.findtext("filename") == "a.png"
    assert root.findtext("segmented") == "1"


def test_what_a_crop_drops_takes_its_attributes_along(voc, tmp_path):
    augmented(voc, tmp_path / "out", CROP, copies=2)

    for copy in range(2):
        path = tmp_path / f"out/Annotations/a_{copy}.xml"
        assert voc_objects(path) == [
            ("red cell", [0, 0, 3, 16], {"difficult": "1", "pose": "Left"}),
            ("red cell", [22.5, 6, 32, 32], {"difficult": "0"}),
        ]
        root = ET.parse(path).getroot()  # noqa: S314
        assert root.findtext("filename") == f"a_{copy}.png"
        assert (root.findtext("size/width"), root.findtext("size/height")) == (
            "32",
            "32",
        )
    lists = {p.name: p.read_text() for p in (tmp_path / "out/ImageSets/Main").iterdir()}
    assert lists == {
        "train.txt": "a_0\na_1\n", "val.txt": "b_0\nb_1\n",
        "cell_train.txt": "a_0  1\na_1  1\nb_0 -1\nb_1 -1\n",
    }  # fmt: skip


def test_both_masks_of_voc_move_and_keep_their_palette(voc, tmp_path):
    augmented(voc, tmp_path / "out")

    for folder in ("SegmentationClass", "SegmentationObject"):
        old, new = (
            Image.open(root / folder / "a.png") for root in (voc, tmp_path / "out")
        )
        with old, new:
            assert new.mode == "P"
            assert new.getpalette() == old.getpalette()
            assert np.array_equal(np.array(new), np.array(old)[:, ::-1])


class Mirror(fiberaug.ImageProcessor):
    def _process_sample(self, sample):
        matrix = np.array([[-1, 0, sample["image"].shape[1]], [0, 1, 0]], float)
        return fiberaug.processors.warp_sample(sample, matrix)


def test_what_an_own_operation_cannot_move_is_left_out_and_told(voc, tmp_path):

    summary = augmented(voc, tmp_path / "out", [Mirror()])

    assert any("SegmentationObject" in told for told in summary.told)
    assert not (tmp_path / "out/SegmentationObject").exists()
    old, new = (
        Image.open(root / "SegmentationClass/a.png") for root in (voc, tmp_path / "out")
    )
    with old, new:
        assert np.array_equal(np.array(new), np.array(old)[:, ::-1])
    assert voc_objects(tmp_path / "out/Annotations/a.xml")[0] == (
        "red cell", [37, 2, 47, 20], {"difficult": "1", "pose": "Left"},
    )  # fmt: skip


@pytest.mark.parametrize("recipe", [
    [{"RandomBrightnessContrast": {"p": 1}}], [{"HorizontalFlip": {"p": 0}}],
])  # fmt: skip
def test_annotations_that_nothing_moves_stay_to_the_last_digit(tmp_path, recipe):
    """Also boxes without area, and those beyond their image."""
    src = tmp_path / "in"
    objects = [
        ("a", (1.123456789, 2, 3.3333333333, 4), ""), ("b", (5, 5, 5, 9), ""),
        ("a", (-3, 0, 60, 40), ""),
    ]  # fmt: skip
    put(src / "JPEGImages/a.png", png(photo(0)))
    put(src / "Annotations/a.xml", voc_xml(objects))
    augmented(src, tmp_path / "out", recipe)

    found = voc_objects(tmp_path / "out/Annotations/a.xml")
    assert [(name, tuple(box)) for name, box, _ in found] == [o[:2] for o in objects]


def test_a_box_that_came_back_to_its_place_has_its_own_digits(tmp_path):
    """Through an operation that could have moved it, in single precision."""
    src, box = tmp_path / "in", (1.123456789, 2, 3.3333333333, 30.0000001)
    put(src / "JPEGImages/a.png", png(photo(0)))
    put(src / "Annotations/a.xml", voc_xml([("a", box, "")]))
    augmented(src, tmp_path / "out", [*FLIP, *FLIP])

    ((_, found, _),) = voc_objects(tmp_path / "out/Annotations/a.xml")
    assert tuple(found) == box
    assert np.array_equal(pixels(tmp_path / "out/JPEGImages/a.png"), photo(0))


@pytest.fixture
def yolo(tmp_path):
    src = tmp_path / "in"
    put(src / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dög]\n")
    for part, name in (("train", "a"), ("train", "b"), ("val", "c")):
        put(src / f"images/{part}/{name}.png", png(photo(ord(name))))
    put(src / "labels/train/a.txt", "1 0.25 0.5 0.25 0.5\n0 0.75 0.5 0.5 0.2\n")
    put(src / "labels/val/c.txt", "")
    return src


def test_boxes_of_yolo_follow_a_flip(yolo, tmp_path):
    augmented(yolo, tmp_path / "out")
    files = tree(tmp_path / "out")

    assert {n for n in files if not n.endswith((".json", ".jsonl"))} == {
        "images/train/a.png", "images/train/b.png", "images/val/c.png", "data.yaml",
        "labels/train/a.txt", "labels/val/c.txt", "recipe.yaml",
    }  # fmt: skip
    found = [[float(v) for v in line.split()] for line in
             files["labels/train/a.txt"].decode().splitlines()]  # fmt: skip
    assert np.allclose(found, [[1, 0.75, 0.5, 0.25, 0.5], [0, 0.25, 0.5, 0.5, 0.2]],
                       atol=3e-5)  # fmt: skip
    assert files["labels/val/c.txt"] == b""
    assert yaml.safe_load(files["data.yaml"]) == {
        "train": "images/train", "val": "images/val", "nc": 2,
        "names": {0: "cat", 1: "dög"},
    }  # fmt: skip


def test_parts_of_yolo_that_share_a_folder_are_listed(tmp_path):
    src = tmp_path / "in"
    put(src / "data.yaml", "train: train.txt\nval: val.txt\nnames: [cat]\n")
    for name in "abc":
        put(src / f"images/{name}.png", png(photo(ord(name))))
        put(src / f"labels/{name}.txt", "0 0.5 0.5 0.5 0.5\n")
    put(src / "train.txt", "images/a.png\nimages/b.png\n")
    put(src / "val.txt", "images/c.png\n")
    augmented(src, tmp_path / "out", copies=2)

    about = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (about["train"], about["val"]) == ("train.txt", "val.txt")
    assert (
        tmp_path / "out/val.txt"
    ).read_text() == "./images/c_0.png\n./images/c_1.png\n"
    again = fiberaug.StreamingDataset(tmp_path / "out", cache_dir=tmp_path / "cache")
    assert again.num_samples == 6


def test_classes_of_yolo_without_a_description_come_along(tmp_path):
    src = tmp_path / "in"
    put(src / "classes.txt", "cat\ndog\n")
    put(src / "images/a.png", png(photo(0)))
    put(src / "images/a.txt", "1 0.5 0.5 0.5 0.5\n")
    augmented(src, tmp_path / "out")

    files = tree(tmp_path / "out")
    assert files["classes.txt"] == b"cat\ndog\n"
    assert "data.yaml" not in files
    assert files["images/a.txt"].startswith(b"1 0.5 0.5")


def test_outlines_of_yolo_are_cut_at_the_edge(tmp_path):
    src = tmp_path / "in"
    put(src / "data.yaml", "train: images\nnames: [cat]\n")
    put(src / "images/a.png", png(photo(0)))
    corners = [(4, 8), (24, 8), (24, 30), (4, 30)]
    text = " ".join(f"{x / WIDTH:.8f} {y / HEIGHT:.8f}" for x, y in corners)
    put(src / "labels/a.txt", f"0 {text}\n")
    augmented(src, tmp_path / "out", CROP)

    label, *values = map(float, (tmp_path / "out/labels/a.txt").read_text().split())
    found = {
        (round(x * 32), round(y * 32))
        for x, y in zip(values[::2], values[1::2], strict=True)
    }
    assert label == 0
    assert found == {(0, 4), (16, 4), (16, 26), (0, 26)}


def test_keypoints_of_yolo_that_leave_are_not_labelled(tmp_path):
    src = tmp_path / "in"
    put(src / "data.yaml", "train: images\nnames: [cat]\nkpt_shape: [3, 3]\n")
    put(src / "images/a.png", png(photo(0)))
    points = [(12, 10, 2), (2, 10, 2), (20, 20, 0)]
    text = " ".join(f"{x / WIDTH:.8f} {y / HEIGHT:.8f} {v}" for x, y, v in points)
    put(src / "labels/a.txt", f"0 0.5 0.5 0.5 0.5 {text}\n")
    augmented(src, tmp_path / "out", CROP)

    values = [*map(float, (tmp_path / "out/labels/a.txt").read_text().split())]
    assert np.allclose(values[5:], [4 / 32, 6 / 32, 2, 0, 0, 0, 0, 0, 0], atol=1e-4)


CATEGORIES = [
    {"id": 3, "name": "cable", "supercategory": "wire"},
    {"id": 9, "name": "plug"},
]


def coco_set(src, annotations, name="annotations/instances.json", images=("a", "b")):
    for i, image in enumerate(images):
        put(src / f"images/{image}.png", png(photo(i)))
    put(src / name, json.dumps({
        "info": {"year": 2020},
        "images": [{"id": 10 + i, "file_name": f"{image}.png", "width": WIDTH,
                    "height": HEIGHT, "license": 4} for i, image in enumerate(images)],
        "annotations": annotations, "categories": CATEGORIES,
    }))  # fmt: skip
    return src


ONE = {
    "id": 70, "image_id": 10, "category_id": 9, "bbox": [1, 2, 10, 20], "iscrowd": 0,
    "area": 111.5, "segmentation": [[1, 2, 11, 2, 11, 22], [0, 0, 48, 0, 48, 40]],
    "track": "x",
}  # fmt: skip
TWO = {
    "id": 71, "image_id": 10, "category_id": 3, "bbox": [0, 0, 4, 40], "iscrowd": 1,
    "area": 100, "segmentation": {"size": [40, 48], "counts": [0, 160, 1760]},
}  # fmt: skip


def test_objects_of_coco_follow_a_flip_with_all_that_is_said(tmp_path):
    src = coco_set(tmp_path / "in", [ONE, TWO])
    summary = augmented(src, tmp_path / "out")
    found = json.loads((tmp_path / "out/annotations/instances.json").read_text())

    assert found["images"][0] == {
        "id": 10, "file_name": "a.png", "width": 48, "height": 40, "license": 4,
    }  # fmt: skip
    assert [image["id"] for image in found["images"]] == [10, 11]
    assert found["categories"] == CATEGORIES
    assert found["info"] == {"year": 2020}
    one, two = found["annotations"]
    assert one["bbox"] == [37, 2, 10, 20]
    assert (one["id"], one["image_id"], one["category_id"], one["track"]) == (
        70,
        10,
        9,
        "x",
    )
    assert [set(zip(o[::2], o[1::2], strict=True)) for o in one["segmentation"]] == [
        {(47, 2), (37, 2), (37, 22)}, {(48, 0), (0, 0), (0, 40)},
    ]  # fmt: skip
    assert one["area"] == 10 * 20 / 2 + 48 * 40 / 2
    assert (two["bbox"], two["iscrowd"], two["id"]) == ([44, 0, 4, 40], 1, 71)
    assert "segmentation" not in two
    assert any("RLE" in told for told in summary.told)


def test_copies_of_coco_are_images_of_their_own(tmp_path):
    src = coco_set(tmp_path / "in", [ONE, TWO])
    augmented(src, tmp_path / "out", CROP, copies=2)
    found = json.loads((tmp_path / "out/annotations/instances.json").read_text())

    assert [(i["id"], i["file_name"]) for i in found["images"]] == [
        (1, "a_0.png"), (2, "a_1.png"), (3, "b_0.png"), (4, "b_1.png"),
    ]  # fmt: skip
    assert [(a["id"], a["image_id"], a["bbox"]) for a in found["annotations"]] == [
        (1, 1, [0, 0, 3, 18]), (2, 2, [0, 0, 3, 18]),
    ]  # fmt: skip
    assert all(i["width"] == i["height"] == 32 for i in found["images"])


@pytest.mark.filterwarnings("ignore:__array__")  # pycocotools and numpy 2
def test_pycocotools_reads_what_is_written(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    one = {**ONE, "segmentation": [[1, 2, 11, 2, 11, 22]]}
    src = coco_set(tmp_path / "in", [one])
    augmented(
        src, tmp_path / "out", [{"Affine": {"rotate": [30, 30], "p": 1}}], copies=3
    )
    read = coco.COCO(str(tmp_path / "out/annotations/instances.json"))

    assert len(read.imgs) == 6
    for annotation in read.anns.values():
        mask = read.annToMask(annotation)
        x, y, width, height = annotation["bbox"]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert rows[0] >= y - 1
        assert rows[-1] <= y + height + 1
        assert columns[0] >= x - 1
        assert columns[-1] <= x + width + 1
        assert mask.sum() > 50


def test_each_annotation_file_of_coco_keeps_its_own_photos(tmp_path):
    src = tmp_path / "in"
    for i, name in enumerate(("train/a", "val/b")):
        put(src / f"images/{name}.png", png(photo(i)))
        part, stem = name.split("/")
        entry = {"id": 5, "file_name": f"{stem}.png", "width": WIDTH, "height": HEIGHT}
        put(src / f"annotations/instances_{part}.json", json.dumps({
            "images": [entry], "categories": CATEGORIES,
            "annotations": [{**ONE, "id": i, "image_id": 5}],
        }))  # fmt: skip
        put(src / f"annotations/captions_{part}.json", json.dumps({
            "images": [entry], "annotations": [
                {"id": 1, "image_id": 5, "caption": f"a {stem}"},
                {"id": 2, "image_id": 5, "caption": "more"}],
        }))  # fmt: skip
    recipe = [*FLIP, {"fiberaug.processors.ChangeCase": {"case": "upper"}}]
    augmented(src, tmp_path / "out", recipe)

    for part, stem in (("train", "a"), ("val", "b")):
        found = json.loads(
            (tmp_path / f"out/annotations/instances_{part}.json").read_text()
        )
        assert [image["file_name"] for image in found["images"]] == [f"{stem}.png"]
        assert [a["bbox"] for a in found["annotations"]] == [[37, 2, 10, 20]]
        said = json.loads(
            (tmp_path / f"out/annotations/captions_{part}.json").read_text()
        )
        assert [a["caption"] for a in said["annotations"]] == [
            f"A {stem.upper()}",
            "more",
        ]
        assert (tmp_path / f"out/images/{part}/{stem}.png").is_file()


def test_keypoints_of_coco_move_and_are_counted_again(tmp_path):
    src = tmp_path / "in"
    points = [12, 10, 2, 2, 10, 1, 0, 0, 0]
    coco_set(src, [{**ONE, "category_id": 3, "keypoints": points, "num_keypoints": 2}],
             images=("a",))  # fmt: skip
    about = json.loads((src / "annotations/instances.json").read_text())
    about["categories"][0]["keypoints"] = ["head", "tail", "ear"]
    put(src / "annotations/instances.json", json.dumps(about))
    augmented(src, tmp_path / "out", CROP)
    found = json.loads((tmp_path / "out/annotations/instances.json").read_text())

    (one,) = found["annotations"]
    assert one["keypoints"] == [4, 6, 2, 0, 0, 0, 0, 0, 0]
    assert one["num_keypoints"] == 1


def test_masks_in_a_folder_of_their_own_and_beside_the_photos(tmp_path):
    for layout in ("images/a.png masks/a.png", "a.png a_mask.png"):
        image, mask = layout.split()
        src, out = (
            tmp_path / mask.replace("/", "-"),
            tmp_path / f"out-{image.count('/')}",
        )
        plane = np.zeros((HEIGHT, WIDTH), np.uint8)
        plane[3:9, 1:7] = 255
        put(src / image, png(photo(0)))
        put(src / mask, png(plane))
        augmented(src, out, copies=2)

        for copy in range(2):
            name = (
                mask.replace("a_mask", "a#")
                .replace("/a.", "/a#.")
                .replace("#", f"_{copy}")
            )
            name = name if "/" in mask else f"a_{copy}_mask.png"
            found = cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(found, plane[:, ::-1])


def test_masks_of_single_objects_move_and_keep_their_level(tmp_path):
    src = tmp_path / "in"
    planes = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    planes[0, 3:9, 1:7], planes[1, 10:30, 2:5], planes[2] = 255, 128, 0
    put(src / "a.png", png(photo(0)))
    for i, plane in enumerate(planes):
        put(src / f"a_mask_{i}.png", png(plane))
    put(src / "a_mask_all.png", png((planes.max(0) > 0).astype(np.uint8) * 255))
    augmented(src, tmp_path / "out", CROP)

    for i, plane in enumerate(planes):
        found = cv2.imread(str(tmp_path / f"out/a_mask_{i}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(found, plane[4:36, 8:40]), i
    whole = cv2.imread(str(tmp_path / "out/a_mask_all.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(whole, (planes.max(0) > 0)[4:36, 8:40] * 255)


@pytest.mark.parametrize("mode", ["1", "L", "I;16"])
def test_a_mask_is_written_in_the_mode_that_it_has(tmp_path, mode):
    src, plane = tmp_path / "in", np.zeros((HEIGHT, WIDTH), np.uint8)
    plane[3:9, 1:7] = 1
    values = {
        "1": plane.astype(bool),
        "L": plane * 5,
        "I;16": plane.astype(np.uint16) * 999,
    }
    put(src / "images/a.png", png(photo(0)))
    (src / "masks").mkdir()
    Image.fromarray(values[mode]).save(src / "masks/a.png")
    augmented(src, tmp_path / "out")

    with Image.open(tmp_path / "out/masks/a.png") as image:
        assert image.mode == mode
        assert np.array_equal(np.array(image), values[mode][:, ::-1])


def test_captions_of_a_folder_go_through_the_recipe(tmp_path):
    src = photos(tmp_path / "in", 4)
    put(src / "cat/p000.txt", "Eine Kätzin\n")
    recipe = fiberaug.Recipe(
        cpu=(*FLIP, {"fiberaug.processors.ChangeCase": {"case": "upper"}})
    )
    augmented(src, tmp_path / "out", recipe, copies=2)
    augmented(src, tmp_path / "plain")

    files = tree(tmp_path / "out")
    captions = {
        name: data.decode() for name, data in files.items() if name.endswith("txt")
    }
    assert captions == {f"cat/p000_{i}.txt": "EINE KÄTZIN\n" for i in range(2)}
    assert (tmp_path / "plain/cat/p000.txt").read_text() == "Eine Kätzin\n"
    line = records(tmp_path / "out")["cat/p000_0.png"]
    assert [t["name"] for t in line["record"]["applied_transforms"]] == [
        "HorizontalFlip", "ChangeCase",
    ]  # fmt: skip


def test_photos_that_share_a_caption_do_not_share_what_is_made_of_it(tmp_path):
    put(tmp_path / "in/a.png", png(photo(0)))
    put(tmp_path / "in/a.bmp", cv2.imencode(".bmp", photo(1))[1].tobytes())
    put(tmp_path / "in/a.txt", "Two of them")
    recipe = [{"fiberaug.processors.ChangeCase": {"case": "random"}}]
    augmented(tmp_path / "in", tmp_path / "out", recipe)

    names = {
        name
        for name in tree(tmp_path / "out")
        if name[0] == "a" and "g" not in name[:2]
    }
    assert {"a.bmp", "a.txt", "a-2.png", "a-2.txt"} <= names
    drawn = {
        line["file"]: line["record"]["applied_transforms"][0]["params"]["case"]
        for line in lines(tmp_path / "out/records.jsonl")
    }
    for name, case in drawn.items():
        text = (tmp_path / "out" / name).with_suffix(".txt").read_text()
        assert text == getattr("Two of them", case)()


def test_a_table_is_written_with_the_boxes_of_the_copies(tmp_path):
    src = tmp_path / "in"
    put(src / "a.png", png(photo(0)))
    put(src / "b.png", png(photo(1)))
    put(src / "metadata.csv", "path,xmin,ymin,xmax,ymax,class,score\n"
        'a.png,1,2,11,20,"a, b",0.5\na.png,30,0,48,9,cat,0.25\n'
        "b.png,,,,,,\n")  # fmt: skip
    augmented(src, tmp_path / "out", copies=2)

    with (tmp_path / "out/metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [
        (
            r["image"],
            r["label"],
            r["x_min"],
            r["y_min"],
            r["x_max"],
            r["y_max"],
            r["score"],
        )
        for r in rows
    ]
    assert found == [
        *(row for i in range(2) for row in (
            (f"a_{i}.png", "a, b", "37", "2", "47", "20", "0.5"),
            (f"a_{i}.png", "cat", "0", "0", "18", "9", "0.25"),
        )),
        ("b_0.png", "", "", "", "", "", ""), ("b_1.png", "", "", "", "", "", ""),
    ]  # fmt: skip


class LosesABox(fiberaug.ImageProcessor):
    def _process_sample(self, sample):
        return sample.replace(bboxes=sample["bboxes"][1:])


def test_an_operation_that_drops_boxes_without_their_ids_is_refused(voc, tmp_path):
    with pytest.raises(UsageError, match="bbox_ids"):
        augmented(voc, tmp_path / "out", [LosesABox()])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bccd", "cables/cable_dataset_hard"])
def test_real_sets_are_the_flipped_ones(tmp_path, name):
    """Every box and mask of 64 photos, against arithmetic on what the source says."""
    if not (DATA / name).is_dir():
        pytest.skip("no ../shared/data")
    src = tmp_path / "in"
    src.mkdir()
    for path in sorted((DATA / name).rglob("*")):
        if path.is_file() and path.name < "BloodImage_00080":
            put(src / path.relative_to(DATA / name), path.read_bytes())
    augmented(src, tmp_path / "out", encode="png")
    if name == "bccd":
        checked = 0
        for path in (src / "Annotations").iterdir():
            old = [
                o for o in voc_objects(path) if o[1][0] < o[1][2] and o[1][1] < o[1][3]
            ]
            new = voc_objects(tmp_path / "out/Annotations" / path.name)
            assert [o[0] for o in new] == [o[0] for o in old]
            assert [o[2] for o in new] == [o[2] for o in old]
            expected = [[640 - b[2], b[1], 640 - b[0], b[3]] for _, b, _ in old]
            assert [b for _, b, _ in new] == expected
            checked += len(new)
        assert checked > 500
        return
    masks = sorted(src.rglob("*_mask_*.png"))
    assert len(masks) > 30
    for path in masks:
        old = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        new = cv2.imread(
            str(tmp_path / "out" / path.relative_to(src)), cv2.IMREAD_UNCHANGED
        )
        assert np.array_equal(new, old[:, ::-1])


def test_a_compose_of_albumentations_will_do(voc, tmp_path):
    augmented(voc, tmp_path / "out", A.Compose([A.HorizontalFlip(p=1)]))

    assert not (tmp_path / "out/recipe.yaml").exists()
    assert np.array_equal(pixels(tmp_path / "out/JPEGImages/a.png"), photo(0)[:, ::-1])
    assert voc_objects(tmp_path / "out/Annotations/a.xml")[0][1] == [37, 2, 47, 20]
