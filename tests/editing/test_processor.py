"""Region edits of files and of samples, outside of shards."""

import json

import numpy as np
import pytest
import torch
from editors import CLASSES, Patches, Repaint, jpeg, members_of, photo

import fiberaug
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.editing import RegionEdit
from fiberaug.errors import ReplayMismatch, SampleBroken, StoreError, UsageError

HOW = {"window": 32, "margin": 4, "feather": 2}


@pytest.fixture
def folder(tmp_path):
    """Photos with labels beside them; one stored sideways, one of no objects."""
    for i, (name, turn) in enumerate([("a/one", 1), ("two", 6), ("three", 1)]):
        path = tmp_path / "in" / f"{name}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photo(80, 60, i), turn))
        if name != "three":
            members = members_of(
                photo(80, 60, i), [(10, 10, 30, 30)], ["disc"], frame="upright"
            )
            path.with_suffix(".json").write_bytes(members["json"])
    return tmp_path


def edit(folder, editor=None, **options):
    return RegionEdit(
        editor or Repaint(), folder / "in", folder / "out", names=CLASSES,
        **(HOW | options),
    )  # fmt: skip


def test_a_file_is_edited_with_what_stands_beside_it(folder):
    path = edit(folder).process("a/one.JPG")

    assert path == folder / "out/a/one.png"
    before = decode_image((folder / "in/a/one.JPG").read_bytes(), limits=ImageLimits())
    after = decode_image(path.read_bytes(), limits=ImageLimits())
    plane = (folder / "out/a/one.edit.png").read_bytes()
    changed = decode_mask(plane, limits=ImageLimits())
    assert (before[0][changed == 0] == after[0][changed == 0]).all()
    assert (changed[10:30, 10:30] == 255).all()
    line = json.loads((folder / "out/a/operations.jsonl").read_text())
    assert line["file"] == "a/one.JPG"
    assert line["params"]["editor"]["sha256"] == "0" * 64
    assert line["params"]["window"] == [32, 32]
    assert line["info"][0]["box"] == [10, 10, 30, 30]


def test_a_folder_is_edited_and_what_cannot_be_is_named(folder):
    done, refused = edit(folder).process_folder()

    assert [path.name for path in done] == ["one.png", "two.png"]
    assert list(refused) == ["three.JPG"]
    header = decode_image(done[1].read_bytes(), limits=ImageLimits())[1]
    assert header.orientation == 6


def test_an_edited_file_is_made_again_from_what_stands_beside_it(folder):
    edit(folder, seed=4).process("two.JPG", seed=9)

    made = edit(folder).replay("two.JPG")

    assert made.members["png"] == (folder / "out/two.png").read_bytes()
    assert made.provenance.params.seed == 9
    (folder / "in/two.JPG").write_bytes(jpeg(photo(80, 60, 99), 6))
    with pytest.raises(ReplayMismatch):
        edit(folder).replay("two.JPG")


def test_files_that_are_not_there_or_lead_elsewhere_are_named(folder):
    with pytest.raises(StoreError, match="cannot read"):
        edit(folder).process("four.JPG")
    with pytest.raises(UsageError, match="inside of input_path"):
        edit(folder).process("../two.JPG")
    with pytest.raises(UsageError, match="give RegionEdit an input_path"):
        RegionEdit(Repaint()).process("two.JPG")
    with pytest.raises(SampleBroken, match="nothing to be edited"):
        edit(folder).process("three.JPG")
    with pytest.raises(UsageError, match="'colour'"):
        edit(folder, colour="red")


def shards(tmp_path):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 10:30] = 1
    with fiberaug.ShardWriter(tmp_path / "set", classes=CLASSES) as writer:
        for i in range(6):
            writer.write({
                "__key__": f"k{i}", "image": photo(80, 60, i), "mask": mask,
                "bboxes": np.array([[10, 10, 30, 30], [50, 20, 70, 40]], np.float32),
                "bbox_labels": np.array([0, 1]),
            })  # fmt: skip
    return str(tmp_path / "set")


def test_as_a_transform_it_edits_samples_and_their_labels(tmp_path):
    folder = shards(tmp_path)
    plain = list(fiberaug.StreamingDataset(folder, train=False))
    transform = RegionEdit(Patches(), mode="paste", to="bar", names=CLASSES, **HOW)

    dataset = fiberaug.StreamingDataset(folder, train=False, transform=transform)
    found, again = list(dataset), list(dataset)

    for old, new, same in zip(plain, found, again, strict=True):
        assert (new["image"] == same["image"]).all(), "keyed by the sample"
        changed = (new["image"] != old["image"]).any(0)
        assert changed[12:28, 12:28].all()
        assert new["bbox_labels"].tolist() == [2, 2]
        assert (new["mask"][10:30, 10:30] == 255).all()
        assert not (new["mask"][old["mask"] == 0][changed[old["mask"] == 0] == 0]).any()


def test_boxes_that_are_dropped_are_dropped_with_their_labels(tmp_path):
    transform = RegionEdit(Repaint(), names=CLASSES, classes=("ring",), **HOW)

    dataset = fiberaug.StreamingDataset(
        shards(tmp_path), train=False, transform=transform
    )

    for one in dataset:
        assert one["bboxes"].tolist() == [[50, 20, 70, 40]]
        assert one["bbox_labels"].tolist() == [1]


def test_it_never_generates_in_a_worker_of_a_loader(tmp_path):
    transform = RegionEdit(Repaint(), names=CLASSES, **HOW)
    dataset = fiberaug.StreamingDataset(
        shards(tmp_path), train=False, transform=transform
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)

    with pytest.raises(UsageError, match="never generate in a DataLoader worker"):
        list(loader)
