"""Presets are recipes: they parse, build, fit samples, and are what pages say."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from sets import samples

import fiberaug
from fiberaug.augment.build import build_operations
from fiberaug.mixes.building import build_mixes
from fiberaug.presets import names, preset, text_of
from fiberaug.publishing import published_schema

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"
SIDES = {"detection-light": 640, "segmentation": 512} | {
    f"torchvision-{name}": 176 for name in ("ta-wide", "ra", "augmix")
}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MASK = {"mask": lambda i: np.full((40, 48), i % 3, np.uint8)}
BOXES = {
    "bboxes": lambda _: np.array([[4, 4, 30, 20]], np.float32),
    "bbox_labels": lambda _: np.array([1]),
}

every_preset = pytest.mark.parametrize("name", names())


@every_preset
def test_a_preset_is_a_recipe_that_builds(name):
    recipe = preset(name)

    assert build_operations(recipe.operations)
    assert recipe.normalize == IMAGENET
    jsonschema.validate(
        {**yaml.safe_load(text_of(name)), "batch": None}, published_schema()
    )
    if recipe.batch:
        build_mixes(recipe.batch)
    json.dumps(recipe.to_dict())


@every_preset
def test_a_preset_makes_batches_of_one_size_that_vary(name, write_set):
    extra = {"detection-light": BOXES, "segmentation": MASK}.get(name, {})
    recipe = preset(name)
    alone = fiberaug.Recipe(
        cpu=recipe.cpu, decode=recipe.decode, normalize=recipe.normalize
    )
    shards = write_set(samples(6, **extra))
    first, again, other = (
        next(iter(fiberaug.DataLoader(dataset, 6)))
        for dataset in (
            fiberaug.StreamingDataset(shards, transform=alone, seed=seed)
            for seed in (2, 2, 3)
        )
    )
    side = SIDES.get(name, 224)

    assert first["image"].shape == (6, 3, side, side)
    assert np.array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert all(record.replayable for record in first["record"])


def test_deit_is_what_the_paper_says():
    recipe = preset("deit")
    found = [next(iter(operation)) for operation in recipe.cpu]

    assert found == [
        "RandomResizedCrop", "HorizontalFlip", "RandAugment", "RandAugment",
        "RandomErasing",
    ]  # fmt: skip
    # Two operations at 9 of 10, each done with probability 0.5.
    for operation in recipe.cpu[2:4]:
        arguments = operation["RandAugment"]
        assert (arguments["num_ops"], arguments["magnitude"]) == (1, 27)
        assert arguments["p"] == 0.5
    assert recipe.cpu[4]["RandomErasing"] == {"p": 0.25, "value": "random"}
    assert recipe.batch == (
        {"MixUpOrCutMix": {
            "mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.5,
            "smoothing": 0.1,
        }},
    )  # fmt: skip


def test_a_preset_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(fiberaug.UsageError, match=r"'dei'; did you mean 'deit'"):
        preset("dei")
    for wrong in ("../schema/recipe", "deit.yaml", "", "/etc/passwd"):
        with pytest.raises(fiberaug.UsageError, match="there are byol, deit"):
            preset(wrong)


def test_the_page_lists_every_preset():
    text = PAGE.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == names()
