"""Laws of single operations: each has a folder, and is applied alone and always."""

import json

import albumentations as A
import numpy as np
import pytest
from foldered import augmented, lines, photos, pixels, summed, tree
from plainsets import KINDS
from sets import photo

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.foldering.operations import each_of, whole

RECIPE = fiberaug.Recipe.parse("""
version: 1
cpu:
  - HorizontalFlip: {p: 0.001}
  - OneOf: {transforms: [{VerticalFlip: {p: 1}}], p: 0.001}
  - Affine: {rotate: [5, 30], p: 0.001}
  - HorizontalFlip:
  - fiberaug.processors.Rotate: {limit: [5, 9]}
  - Normalize:
normalize: {mean: [0.5, 0.5, 0.5]}
""")
NAMES = ("HorizontalFlip", "OneOf", "Affine", "HorizontalFlip-2", "Rotate")


def test_each_operation_is_applied_to_every_photo_in_its_own_folder(tmp_path):
    src = photos(tmp_path / "in")
    summary = augmented(src, tmp_path / "out", RECIPE, each=True, seed=3)

    assert (summary.operations, summary.pictures, summary.photos) == (NAMES, 30, 6)
    files = tree(tmp_path / "out")
    assert {name.split("/")[0] for name in files} == {*NAMES, "augment.json"}
    for i in range(6):
        place = f"{('cat', 'dog')[i % 2]}/p{i:03d}.png"
        for name in ("HorizontalFlip", "HorizontalFlip-2"):
            assert np.array_equal(
                pixels(tmp_path / "out" / name / place), photo(i)[:, ::-1]
            )
        assert np.array_equal(pixels(tmp_path / "out/OneOf" / place), photo(i)[::-1])
        assert not np.array_equal(pixels(tmp_path / "out/Rotate" / place), photo(i))


def test_processing_info_says_what_was_done_to_each_file(tmp_path):
    src = photos(tmp_path / "in")
    augmented(src, tmp_path / "out", RECIPE, each=True, copies=2, seed=3)

    for name in NAMES:
        info = json.loads(
            (tmp_path / "out" / name / "processing_info.json").read_text()
        )
        assert (info["operation"], info["seed"]) == (name, 3)
        found = {n for n in tree(tmp_path / "out" / name) if n.endswith(".png")}
        assert set(info["files"]) == found
        assert len(found) == 12
        applied = {
            line["file"]: line["record"]["applied_transforms"]
            for line in lines(tmp_path / "out" / name / "records.jsonl")
        }
        assert {file: one["applied"] for file, one in info["files"].items()} == applied
    assert info["params"] == {"limit": [5, 9]}
    angles = [one["applied"][0]["params"]["angle"] for one in info["files"].values()]
    assert all(5 <= abs(angle) <= 9 for angle in angles)
    assert len(set(angles)) == 12


def test_each_folder_replays_with_its_own_recipe(tmp_path):
    src = photos(tmp_path / "in")
    augmented(src, tmp_path / "out", RECIPE, each=True)

    for name in ("Affine", "Rotate"):
        source = fiberaug.StreamingDataset(
            src, transform=tmp_path / "out" / name / "recipe.yaml",
            cache_dir=tmp_path / "cache",
        )  # fmt: skip
        for line in lines(tmp_path / "out" / name / "records.jsonl"):
            image = fiberaug.replay(line["record"], source)["image"]
            found = pixels(tmp_path / "out" / name / line["file"])
            assert np.array_equal(image.permute(1, 2, 0).numpy(), found)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_annotations_are_in_every_folder(tmp_path, kind):
    src = KINDS[kind](tmp_path / "in")
    recipe = [{"HorizontalFlip": {}}, {"Affine": {"rotate": [20, 20]}}]
    augmented(src, tmp_path / "out", recipe, each=True)

    for name in ("HorizontalFlip", "Affine"):
        dataset = fiberaug.StreamingDataset(
            tmp_path / "out" / name, train=False, cache_dir=tmp_path / "cache"
        )
        assert sum(len(sample["bboxes"]) for sample in dataset) >= 10


def test_the_same_command_again_does_nothing_and_goes_on_where_it_was(tmp_path):
    src = photos(tmp_path / "in")
    first = augmented(src, tmp_path / "out", RECIPE, each=True)
    sums = summed(tmp_path / "out")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    again = augmented(src, tmp_path / "out", RECIPE, each=True)

    assert (first.known, again.known) == (False, True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times
    with pytest.raises(UsageError, match="another command"):
        augmented(src, tmp_path / "out", RECIPE, each=True, copies=2)
    with pytest.raises(UsageError, match="another command"):
        augmented(src, tmp_path / "out", RECIPE)
    assert summed(tmp_path / "out") == sums


def test_operations_are_objects_or_recipes():
    class Own(fiberaug.ImageProcessor):
        def __init__(self, level=3):
            self.level = level

    def sharpen(image):
        return image

    flip = A.HorizontalFlip(p=0.25)
    found = each_of([flip, Own(level=5), sharpen, flip, A.Normalize()])
    assert [one.name for one in found] == ["HorizontalFlip", "Own", "sharpen",
                                           "HorizontalFlip-2"]  # fmt: skip
    assert (found[0].transform.p, flip.p) == (1, 0.25)
    assert found[1].params == {"level": "5"}
    assert [one.name for one in each_of(A.Compose([flip]))] == ["HorizontalFlip"]
    assert each_of([{"HorizontalFlip": {}}])[0].recipe.cpu == (
        {"HorizontalFlip": {"p": 1.0}},
    )
    for empty in ([], [{"Normalize": {}}], fiberaug.Recipe()):
        with pytest.raises(UsageError, match="no operation"):
            each_of(empty)
    with pytest.raises(UsageError, match="no operation"):
        whole(fiberaug.Recipe())


def test_an_operation_that_is_not_known_is_refused(tmp_path):
    for each in (False, True):
        with pytest.raises(UsageError, match="HorizontalFlop"):
            augmented(
                photos(tmp_path / "in"),
                tmp_path / "out",
                [{"HorizontalFlop": {}}],
                each=each,
            )
    assert not (tmp_path / "out").exists()
