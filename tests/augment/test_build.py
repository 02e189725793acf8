"""A recipe names known operations with bounded arguments, or is refused by place."""

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.build import build_pipeline, known_operations

RECIPE = """
version: 1
cpu:
  - RandomResizedCrop: {size: [32, 32]}
  - OneOf: {p: 0.5, transforms: [{GaussNoise: {p: 1}}, {GaussianBlur: {p: 1}}]}
  - HorizontalFlip:
normalize: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""


def test_a_recipe_is_the_pipeline_that_one_would_write(write_set, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    written = A.Compose(
        [
            A.RandomResizedCrop((32, 32)),
            A.OneOf([A.GaussNoise(p=1), A.GaussianBlur(p=1)], p=0.5),
            A.HorizontalFlip(),
            A.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )
    shards = write_set(10)
    sets = [
        fiberaug.StreamingDataset(shards, transform=given)
        for given in (tmp_path / "recipe.yaml", fiberaug.Recipe.parse(RECIPE), written)
    ]
    batches = [next(iter(fiberaug.DataLoader(s, 10)))["image"] for s in sets]

    assert np.array_equal(batches[0], batches[1])
    assert np.array_equal(batches[0], batches[2])
    assert sets[0].recipe_hash == sets[1].recipe_hash == sets[2].recipe_hash


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"RandomResizeCrop": {}}, "did you mean 'RandomResizedCrop'"),
        ({"HorizontalFlip": {"q": 1}}, "'q' are not valid"),
        ({"HorizontalFlip": {"p": 3}}, "less than or equal to 1"),
        ({"Resize": {"height": 60000, "width": 8}}, "at most 8192 px, got 60000"),
        ({"RandomResizedCrop": {"size": [9000, 10]}}, "at most 8192 px"),
        ({"Lambda": {"image": "abs"}}, "takes code"),
        ({"FDA": {"reference_images": ["/etc/passwd"]}}, "reads files"),
        ({"os.system": {"command": "true"}}, "no operation"),
        ({"OneOf": {"transforms": [{"Flop": {}}]}}, r"cpu\[0\].OneOf\[0\]"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_with_its_place(operation, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        build_pipeline([operation])


def test_operations_of_a_strangers_class_are_not_known():
    """A class that somebody imported is not reachable by name."""

    class Evil(A.ImageOnlyTransform):
        """Not of the library."""

    assert "Evil" not in known_operations()
    assert {"RandomResizedCrop", "OneOf", "ColorJitter"} <= set(known_operations())
