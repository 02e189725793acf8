"""Laws of sources: told by what lies there, asked where that is two, never guessed."""

import importlib
import json
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
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


NAMES = [
    "a", "images", "labels", "masks", "annotations", "Annotations", "0.jpg", "0.txt",
    "0.xml", "0_mask.png", "x.npy", "x.tar", "data.yaml", "c.yml", "classes.txt",
    "obj.names", "metadata.csv", "metadata.jsonl", "state.json", "dataset_info.json",
    "dataset_dict.json", "_annotations.coco.json", "instances.json", "index.json",
    "train.tfrecord-00000-of-00002",
]  # fmt: skip
CONTENT = {
    ".yaml": b"train: images\nnames: [a]\n", ".yml": b"val: a\nnc: 1\n",
    ".xml": b"<annotation>", ".jpg": b"\xff\xd8\xff",
}  # fmt: skip
COCO = b'{"images": [{"file_name": "0.jpg"}], "annotations": [], "version": 2}'
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@settings(max_examples=300, deadline=None)
@given(paths=st.lists(PATHS, max_size=6))
@example(paths=["images/0.jpg", "labels/0.txt"])
@example(paths=["a/images/0.jpg", "a/labels/0.txt"])
def test_no_module_that_would_tell_a_folder_for_its_own_is_left_out(
    tmp_path_factory, paths
):
    """The modules themselves are asked, whatever the names say before."""
    folder = tmp_path_factory.mktemp("set")
    for name in paths:
        path = folder / name
        if not any(one.is_file() for one in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(CONTENT.get(path.suffix, COCO))
    for name, kind in KINDS.items():
        if not kind.telling:
            continue
        module, _, function = kind.telling.partition(".")
        asked = importlib.import_module(f"fiberaug.jobs.sources.{module}")
        assert kind.looks(folder) == getattr(asked, function)(folder), name


def test_a_folder_of_photos_loads_no_module_of_other_sources(tmp_path):
    (photos(tmp_path) / "images").rename(tmp_path / "cats")
    code = (
        "import sys; from pathlib import Path;"
        "from fiberaug.jobs.sources.finding import find_source;"
        "find_source(Path(sys.argv[1])); print(*sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "fiberaug.jobs.sources.folder" in found
    assert not {"yaml", "torch", "webdataset", "pyarrow", "albumentations"} & {*found}
    assert "fiberaug.jobs.sources.shards" not in found
