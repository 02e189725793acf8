"""Laws of sources: told by what lies there, asked where that is two, never guessed."""

import json

import pytest
from sets import DATA, photo

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.sources.finding import KINDS, find_source
from fiberaug.jobs.sources.options import SourceOptions

GIVEN = {
    "classes": ["a"], "images": "x", "listed": "x", "columns": {"image": "x"},
    "origin": 1, "masks": True, "allow_outside": True,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_that_would_not_be_heeded_is_refused(kind, tmp_path):
    for name, value in GIVEN.items():
        if name in KINDS[kind].takes.split():
            continue
        with pytest.raises(UsageError, match=f"{name}=.* says nothing of .*{kind}"):
            find_source(tmp_path, kind, SourceOptions(**{name: value}))


def test_what_every_kind_takes_is_an_option():
    for kind in KINDS.values():
        assert set(kind.takes.split()) <= set(GIVEN)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("clothing-small/train", "folder"), ("cifar10-shards", "shards"),
        ("cifar10_jpeg.npz", "arrays"), ("bccd", "voc"),
        ("cables/cable_dataset_hard", "masks"), ("big-photos", "folder"),
        ("exif-orientation", "folder"),
    ],
)  # fmt: skip
def test_real_sets_are_told(path, kind):
    if not (DATA / path).exists():
        pytest.skip("the data is not beside this checkout")
    assert find_source(DATA / path).kind == kind


def photos(folder):
    for i in range(4):
        path = folder / "images" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    return folder


def yolo(folder):
    photos(folder)
    (folder / "labels").mkdir()
    (folder / "labels/0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("path: .\ntrain: images\nnames: [a]\n")


def coco(folder):
    photos(folder)
    content = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 48, "height": 40}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def table(folder):
    photos(folder)
    rows = ["file_name,label", *(f"images/{i}.jpg,{i % 2}" for i in range(4))]
    (folder / "metadata.csv").write_text("\n".join(rows))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(yolo, "yolo"), (coco, "coco"), (table, "csv"), (photos, "folder")],
)
def test_a_set_is_told_and_said(make, kind, tmp_path):
    make(tmp_path / "set")
    found = find_source(tmp_path / "set")

    assert found.kind == kind
    assert found.said
    manifest = fiberaug.convert(tmp_path / "set", tmp_path / "out", progress=False)
    assert manifest.producer["arguments"]["from"] == kind


def test_two_that_are_possible_are_asked_for(tmp_path):
    yolo(tmp_path / "set")
    coco(tmp_path / "set")

    with pytest.raises(UsageError, match="as coco and as yolo; say which"):
        find_source(tmp_path / "set")
    assert find_source(tmp_path / "set", "yolo").kind == "yolo"


def test_a_kind_that_is_none_names_those_that_are(tmp_path):
    with pytest.raises(UsageError, match=r"auto, folder, csv, coco, .* got 'tar'"):
        find_source(tmp_path, "tar")
