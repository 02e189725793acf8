"""Laws of writing samples: what was written is what training gets."""

import json

import numpy as np
import pytest
from sets import photo, samples

from fiberaug import ShardWriter, StreamingDataset, convert
from fiberaug.errors import LimitExceeded, UsageError
from fiberaug.shards import writer as shard_writer
from fiberaug.shards.manifest import Manifest

FIELDS = {
    "image": "png",
    "label": "cls;json:label",
    "mask?": "mask.png",
    "bboxes?": "json:objects[].bbox",
    "bbox_labels?": "json:objects[].label",
    "keypoints?": "json:keypoints",
    "caption?": "txt",
    "depth": "depth.npy",
    "tags": "tags.json",
    "note": "note.txt",
    "fibre": "json:fibre.kind",
}


def as_trained(folder, fields="auto"):
    """Return what evaluation without a transform delivers, by key."""
    dataset = StreamingDataset(folder, fields=fields, train=False, record="none")
    return {sample["__key__"]: sample for sample in dataset}


def full(i):
    mask = np.zeros((40, 48), np.uint16)
    mask[i, 3:9] = 1 + 300 * (i % 2)
    return {
        "__key__": f"kabel {i}/ä",
        "image": photo(i),
        "label": i,
        "mask": mask,
        "bboxes": [[1, 2, 3 + i, 4], [0.5, 0, 9, 9]][: i % 3],
        "bbox_labels": ["Kratzer", "Staub"][: i % 3],
        "keypoints": [[i, 2.5]],
        "caption": f"Faser Nr. {i}",
        "depth": np.full((2, 3), i, np.float32),
        "tags": ["a", i],
        "note": "x",
        "json": {"fibre": {"kind": "OS2"}},
    }


def test_every_field_comes_back_in_training(tmp_path):
    with ShardWriter(tmp_path / "set", shard_size="20kB") as writer:
        for i in range(7):
            writer.write(full(i))
    found = as_trained(tmp_path / "set", FIELDS)

    assert len(found) == 7
    assert len(list((tmp_path / "set").glob("*.tar"))) > 1
    for i in range(7):
        wrote, read = full(i), found[f"kabel {i}/ä"]
        assert np.array_equal(read["image"].permute(1, 2, 0), wrote["image"])
        assert np.array_equal(read["mask"], wrote["mask"])
        assert read["bboxes"].shape == (i % 3, 4)
        assert read["bboxes"].tolist() == wrote["bboxes"]
        assert list(read["bbox_labels"]) == [0, 1][: i % 3]
        assert np.array_equal(read["keypoints"], wrote["keypoints"])
        assert np.array_equal(read["depth"], wrote["depth"])
        assert (read["caption"], read["tags"], read["note"], read["fibre"]) == (
            f"Faser Nr. {i}", ["a", i], "x", "OS2"
        )  # fmt: skip
        assert read["label"] == i
    assert Manifest.read(tmp_path / "set").classes == ("Kratzer", "Staub")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 0, 2**40], [3, 0, 2**40]),
        ([0.5, -1.0, 3.0], [0.5, -1.0, 3.0]),
        (["dog", "cat", "dog"], [0, 1, 0]),
        ([[1, 0], [0.5, 0.25], [0, 0]], [[1, 0], [0.5, 0.25], [0, 0]]),
    ],
    ids=["ids", "numbers", "names", "vectors"],
)
def test_every_kind_of_label_comes_back_in_training(tmp_path, labels, expected):
    rows = [sample | {"label": x} for sample, x in zip(samples(3), labels, strict=True)]
    convert(rows, tmp_path / "set", progress=False)

    found = as_trained(tmp_path / "set")

    read = [np.asarray(found[f"k{i:03d}"]["label"]) for i in range(3)]
    assert [x.tolist() for x in read] == expected
    kind = {int: "i", float: "f", list: "f"}[type(expected[0])]
    assert {x.dtype.kind for x in read} == {kind}


def test_negative_samples_first_or_last(tmp_path):
    for name, counts in {"first": (0, 2, 0), "last": (2, 0, 0)}.items():
        rows = [
            {"__key__": f"{i}", "image": photo(i), "bboxes": [[1, 2, 3, 4]] * n}
            for i, n in enumerate(counts)
        ]
        convert(rows, tmp_path / name, progress=False)
        found = as_trained(tmp_path / name)
        assert [len(found[f"{i}"]["bboxes"]) for i in range(3)] == list(counts)


def test_an_iterable_is_written_in_its_order_and_the_same_each_time(tmp_path):
    first = convert(samples(9), tmp_path / "a", shard_size="10kB", progress=False)
    again = convert(samples(9), tmp_path / "b", shard_size="10kB", progress=False)

    assert first == again == Manifest.read(tmp_path / "a")
    assert list(as_trained(tmp_path / "a")) == [f"k{i:03d}" for i in range(9)]
    assert first.counts == {"0": 3, "1": 2, "2": 2, "3": 2}


def test_names_have_the_ids_that_were_given_or_come_as_they_come(tmp_path):
    rows = [
        {"__key__": str(i), "label": x} for i, x in enumerate(["dog", "cat", "dog"])
    ]
    free = convert(rows, tmp_path / "free", progress=False)
    given = convert(rows, tmp_path / "given", classes=["cat", "dog"], progress=False)

    assert (free.classes, free.counts) == (("dog", "cat"), {"dog": 2, "cat": 1})
    assert (given.classes, given.counts) == (("cat", "dog"), {"cat": 1, "dog": 2})
    with pytest.raises(UsageError, match=r"'dog' is none of the classes \['cat'\]"):
        convert(rows, tmp_path / "few", classes=["cat"], progress=False)
    with pytest.raises(UsageError, match="twice"):
        ShardWriter(tmp_path / "no", classes=["a", "a"])


def test_accents_make_no_second_class(tmp_path):
    rows = [
        {"__key__": str(i), "label": x} for i, x in enumerate(["\u00e9", "e\u0301"])
    ]

    assert convert(rows, tmp_path / "set", progress=False).counts == {"\u00e9": 2}


@pytest.mark.parametrize("key", [None, "", 7, "a.b", "../a", "a/", "__x__/a", "a\n"])
def test_a_key_that_does_not_come_back_is_refused(tmp_path, key):
    with ShardWriter(tmp_path / "set") as writer:
        writer.write({"__key__": "good", "label": 1})
        with pytest.raises(UsageError, match="key"):
            writer.write({"__key__": key, "label": 1})

    assert Manifest.read(tmp_path / "set").samples == 1


def test_a_key_is_used_once_in_the_whole_set(tmp_path):
    with ShardWriter(tmp_path / "set", shard_size=1) as writer:
        for key in ("a", "b"):
            writer.write({"__key__": key, "label": 1})
        with pytest.raises(UsageError, match="'a' was written before"):
            writer.write({"__key__": "a", "label": 1})

    assert len(Manifest.read(tmp_path / "set").shards) == 2


def test_a_sample_that_is_refused_leaves_no_trace(tmp_path):
    """Its key is free, its bytes are not written."""
    with ShardWriter(tmp_path / "set") as writer:
        with pytest.raises(UsageError):
            writer.write({"__key__": "a", "label": object()})
        writer.write({"__key__": "a", "label": 1})

    assert Manifest.read(tmp_path / "set").counts == {"1": 1}


def test_an_error_leaves_no_data_set_and_no_temporary_file(tmp_path):
    def some():
        yield from samples(3)
        raise RuntimeError("the disk fell down")

    with pytest.raises(RuntimeError):
        convert(some(), tmp_path / "set", shard_size="6kB", progress=False)
    left = {path.suffix for path in (tmp_path / "set").iterdir()}
    assert not (tmp_path / "set/dataset.json").exists()
    assert ".part" not in left

    assert convert(samples(3), tmp_path / "set", progress=False).samples == 3


def test_a_shard_that_cannot_be_finished_leaves_no_temporary_file(
    tmp_path, monkeypatch
):
    def broken(*_, **__):
        raise LimitExceeded("too large")

    writer = ShardWriter(tmp_path / "set")
    writer.write({"__key__": "a", "label": 1})
    monkeypatch.setattr(shard_writer, "write_atomically", broken)
    with pytest.raises(LimitExceeded):
        writer.close()

    assert [p.name for p in (tmp_path / "set").iterdir()] == [".converting.json"]


def test_a_set_without_samples_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no sample"):
        convert([], tmp_path / "set", progress=False)


def test_arguments_of_a_folder_are_not_ignored_for_samples(tmp_path):
    for options in ({"resize": 9}, {"encode": "gif"}, {"shard_size": "0MB"}):
        with pytest.raises(UsageError):
            convert(samples(1), tmp_path / "set", progress=False, **options)
    assert not (tmp_path / "set").exists()


def test_fields_stand_in_the_data_set(tmp_path):
    with ShardWriter(tmp_path / "set", fields={"image": "png"}) as writer:
        writer.write({"__key__": "a", "image": photo(0)})

    stored = json.loads((tmp_path / "set/dataset.json").read_bytes())
    assert stored["fields"] == {"image": "png"}
    assert stored["producer"]["program"] == "fiberaug"
