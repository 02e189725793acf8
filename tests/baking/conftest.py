"""What laws of baking share: a set with fields of every kind, and two streams compared.

The comparison reads the shards with ``tarfile`` for keys and records, and the baked set
with the loader for everything else.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sets import photo

import fiberaug
from fiberaug.baking.materializing import materialize

FIELDS = {
    "image": "png;jpg",
    "label": "cls;json:label",
    "bboxes": "json:objects[].bbox",
    "bbox_labels": "json:objects[].label",
    "bbox_ids": "json:objects[].id",
    "keypoints": "json:keypoints",
    "keypoint_labels": "json:names",
    "polygons": "json:polygons",
    "mask": "mask.png",
    "masks": "masks.npz",
    "caption?": "txt",
    "depth": "depth.npy",
    "pair": "pair.npz",
    "note": "note.txt",
    "raw?": "dat",
    "about": "json:about",
}
"""A field of every kind that a loader understands, and of every kind it carries."""


def everything(count):
    """Samples that have all of :data:`FIELDS`; objects and options differ."""
    for i in range(count):
        generator = np.random.default_rng(i)
        objects = [
            {"bbox": [1 + j + i / 7, 2, 20 + j, 30 - i / 3], "label": j, "id": 10 * j}
            for j in range(i % 3)
        ]
        corners = [[2, 3], [20.25, 4], [11, 30.125]]
        masks, raw = io.BytesIO(), io.BytesIO()
        np.savez(masks, masks=generator.integers(0, 2, (i % 3, 40, 48), np.uint8))
        np.savez(raw, b=np.arange(i), a=np.float64([[i / 3]]))
        mask = generator.integers(0, 5, (40, 48)).astype(np.uint16 if i % 2 else "u1")
        sample = {
            "__key__": f"{'ab'[i % 2]}/k{i:03d}",
            "image": photo(i),
            "label": [i, i / 3][i % 2],
            "json": {
                "objects": objects, "keypoints": [[1.1 * i % 40, 9], [4, 5.5]],
                "names": ["left", i], "polygons": [corners] * (i % 2),
                "about": {"é": [1, 2.5, None, True], "i": i, "text": "x" * (i % 4)},
            },
            "mask": mask + (300 if i % 2 else 0),
            "masks.npz": masks.getvalue(),
            "depth": generator.normal(size=(3, 2)).astype(np.float32),
            "pair.npz": raw.getvalue(),
            "note": f"niño {i}\n",
        }  # fmt: skip
        if i % 4:
            sample |= {"caption": f"photo {i}", "dat": bytes([i, 0, 255])}
        yield sample


@pytest.fixture
def rich(write_set):
    """The folder of a set with all kinds of fields."""
    return write_set(everything(23), "rich", "40kB")


@pytest.fixture
def rich_fields():
    return FIELDS


@pytest.fixture
def bake(tmp_path):
    """A function (shards, name=, **options) that bakes into a folder and gives it."""

    def run(shards, name="baked", **options):
        given = {"shard_size": "40kB", "workers": 1, "progress": False}
        materialize(shards, tmp_path / name, **(given | options))
        return tmp_path / name

    return run


@pytest.fixture
def hashes():
    """A function: SHA-256 of every file of a folder, by name."""
    return lambda folder: {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).iterdir()
    }


def members_of(folder):
    """(key, members) of every sample of a set, in the order of its manifest."""
    manifest = json.loads((Path(folder) / "dataset.json").read_bytes())
    found = []
    for shard in manifest["shards"]:
        with tarfile.open(Path(folder) / shard["name"]) as file:
            for member in file:
                head, slash, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = head + slash + stem
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                found[-1][1][extension] = file.extractfile(member).read()
    return found


@pytest.fixture
def members():
    return members_of


def rows_of(batch):
    """One dict of plain values a row, padding left out."""
    pads = batch["is_pad"].tolist()
    skipped = {"is_pad", "__url__", "record", "__key__"}
    return [
        {name: value[row] for name, value in batch.items() if name not in skipped}
        for row in range(len(pads))
        if not pads[row]
    ]


def assert_equal(one, other, name):
    """Both are the same, of the same type, bit for bit."""
    assert type(one) is type(other), name
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.numpy().tobytes() == other.numpy().tobytes(), name
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), name
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right, name)
    elif isinstance(one, dict):
        assert list(one) == list(other), name
        for key, value in one.items():
            assert_equal(value, other[key], name)
    else:
        assert repr(one) == repr(other), name


def assert_stream(dataset, folder, epochs, *, transform=None, batch_size=7):
    """The baked set is the stream of these epochs: samples, fields, keys, records."""
    rows, keys, records = [], [], []
    options = {"collate": "list"}
    with fiberaug.DataLoader(dataset, batch_size, **options) as loader:
        for epoch in epochs:
            loader.set_epoch(epoch)
            for batch in loader:
                rows += rows_of(batch)
                kept = [i for i, pad in enumerate(batch["is_pad"].tolist()) if not pad]
                keys += [batch["__key__"][i] for i in kept]
                records += [batch["record"][i].to_json() for i in kept]
    baked = fiberaug.StreamingDataset(
        str(folder), shuffle=False, transform=transform, on_error="raise"
    )
    with fiberaug.DataLoader(baked, batch_size, **options) as loader:
        found = [row for batch in loader for row in rows_of(batch)]
    assert len(found) == len(rows) > 0
    for row, again in zip(rows, found, strict=True):
        texts = again.pop("baked_record")
        assert isinstance(texts, dict)
        for name in row.keys() | again.keys():
            one, other = row.get(name), again.get(name)
            assert_equal(one, other, name)
    held = members_of(folder)
    assert [members["record.json"].decode() for _, members in held] == records
    names = [key.rpartition("/") for key, _ in held]
    assert len({key for key, _ in held}) == len(held)
    olds = [key.rpartition("/") for key in keys]
    assert [folder for folder, _, _ in names] == [folder for folder, _, _ in olds]
    assert [n.split("-", 2)[2] for _, _, n in names] == [n for _, _, n in olds]
    return found


@pytest.fixture
def same_stream():
    """A function that compares a baked set with the stream that it was baked from."""
    return assert_stream
