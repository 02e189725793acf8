"""Whatever is given as ``transform`` becomes a pipeline, or an error."""

import albumentations as A
import numpy as np
import pytest
from sets import samples

import fiberaug
from fiberaug.augment.resolve import recipe_hash, resolve_transform
from fiberaug.processors import Flip

RECIPE = """
version: 1
decode: {color: gray}
cpu:
  - HorizontalFlip: {p: 0.5}
  - fiberaug.processors.Flip: {direction: vertical}
"""


def test_a_recipe_is_taken_as_object_path_or_text_of_a_path(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    hashes = set()
    for given in (
        fiberaug.Recipe.parse(RECIPE),
        tmp_path / "r.yaml",
        str(tmp_path / "r.yaml"),
    ):
        resolved = resolve_transform(given)
        hashes.add(recipe_hash(resolved.pipeline, {}, {}, None))
        assert dict(resolved.decode) == {"color": "gray"}
    given = resolve_transform([A.HorizontalFlip(p=0.5), Flip(direction="vertical")])
    hashes.add(recipe_hash(given.pipeline, {}, {}, None))
    assert len(hashes) == 1


def test_nothing_and_an_empty_recipe_are_no_pipeline():
    assert resolve_transform(None) == (None, None, {})
    assert resolve_transform(fiberaug.Recipe()).pipeline is None


def test_the_hash_names_all_that_pixels_depend_on():
    def decoder(data):
        return np.zeros((1, 1, 3), np.uint8)

    pipeline = resolve_transform(A.HorizontalFlip()).pipeline
    hashes = [
        recipe_hash(pipeline, {"decoder": "opencv"}, {}, None),
        recipe_hash(None, {"decoder": "opencv"}, {}, None),
        recipe_hash(pipeline, {"decoder": "opencv", "color": "gray"}, {}, None),
        recipe_hash(pipeline, {"decoder": "opencv"}, {"tif": decoder}, None),
        recipe_hash(pipeline, {"decoder": "opencv"}, {"tif": len}, None),
        recipe_hash(pipeline, {"decoder": "opencv"}, {}, 255),
    ]
    assert len(set(hashes)) == len(hashes)


def test_decoding_is_said_once(write_set):
    shards = write_set(samples(3))
    recipe = fiberaug.Recipe.parse(RECIPE)
    batch = next(iter(fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, transform=recipe), 3
    )))  # fmt: skip
    assert batch["image"].shape == (3, 1, 40, 48)
    assert batch["record"][0].decode["color"] == "gray"
    with pytest.raises(fiberaug.UsageError, match="decode is given twice"):
        fiberaug.StreamingDataset(shards, transform=recipe, decode={"depth": "keep"})


def test_a_run_with_its_own_decoding_is_replayed_from_its_folder(write_set, tmp_path):
    dataset = fiberaug.StreamingDataset(
        write_set(samples(4)),
        transform=A.RandomGamma(p=1),
        decode={"color": "gray", "max_side": 64},
        ignore_index=255,
    )
    with fiberaug.DataLoader(dataset, 4, log=tmp_path / "run") as loader:
        (batch,) = loader
    for row, record in enumerate(batch["record"]):
        again = fiberaug.replay(record, tmp_path / "run")
        assert np.array_equal(again["image"], batch["image"][row])
