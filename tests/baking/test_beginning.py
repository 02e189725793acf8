"""Laws of ``prefix``: what is called deterministic is, and the rest draws as before."""

import json
import random
import warnings
from functools import partial

import albumentations as A
import numpy as np
import pytest
import yaml
from every_transform_cases import CASES, Case, darker, transforms
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.augment.build import build_operations
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline, pipeline_hash
from fiberaug.baking.beginning import beginning, why_it_draws
from fiberaug.baking.remaining import divide
from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.seeding import key

RECIPE = """
version: 1
cpu:
  - SmallestMaxSize: {max_size: 30, p: 1.0}
  - PadIfNeeded: {min_height: 36, min_width: 40, p: 1.0}
  - ToGray: {p: 1.0}
  - HorizontalFlip: {p: 0.5}
  - CenterCrop: {height: 24, width: 24, p: 1.0}
  - OneOf: {p: 0.5, transforms: [{GaussNoise: {p: 1.0}}, {Blur: {p: 1.0}}]}
normalize: {mean: [0.4, 0.5, 0.6], std: [0.2, 0.21, 0.22]}
"""
BAKED = ("SmallestMaxSize", "PadIfNeeded", "ToGray")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def built(name, p=1.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transforms()[name](**CASES.get(name, Case()).arguments, p=p)


def built_of(recipe):
    return as_pipeline(build_operations(recipe.operations))


def buildable(name):
    return "font_path" not in CASES.get(name, Case()).arguments


DETERMINISTIC = sorted(
    name for name in transforms() if buildable(name) and not why_it_draws(built(name))
)


def test_the_usual_ones_are_found_and_those_that_draw_are_not():
    found = set(DETERMINISTIC)

    assert found >= {
        "Resize", "LongestMaxSize", "SmallestMaxSize", "CenterCrop", "Crop", "Pad",
        "PadIfNeeded", "ToGray", "HorizontalFlip", "Transpose", "InvertImg",
    }  # fmt: skip
    assert not found & {
        "RandomCrop", "RandomResizedCrop", "Affine", "GaussNoise", "ColorJitter",
        "CoarseDropout", "RandomRotate90", "D4", "MaskDropout", "Lambda", "Normalize",
        "ToFloat", "CropNonEmptyMaskIfExists", "ConstrainedCoarseDropout", "FDA",
        "RandomSizedBBoxSafeCrop", "BBoxSafeRandomCrop", "TextImage", "ToTensorV2",
        "Mosaic", "CLAHE", "GridElasticDeform", "PixelDropout", "XYMasking",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(transforms()))
def test_none_that_may_not_be_applied_is_baked(name):
    if buildable(name):
        assert why_it_draws(built(name, p=0.5)) is not None


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(DETERMINISTIC), height=st.integers(1, 150),
    width=st.integers(1, 150), channels=st.sampled_from([1, 3]),
    content=st.integers(0, 2**32), seeds=st.tuples(st.integers(0), st.integers(0)),
)  # fmt: skip
def test_what_is_called_deterministic_gives_the_same_under_any_seed(
    name, height, width, channels, content, seeds
):
    generator = np.random.default_rng(content)
    image = generator.integers(0, 256, (height, width, channels), np.uint8)
    mask = generator.integers(0, 9, (height, width), np.uint8)
    boxes = np.array([[0.0, 0, width, height, 3], [0, 0, 1, 1, 4]])
    outs = []
    for seed in seeds:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        compose = A.Compose(
            [built(name), A.NoOp(p=1)], seed=seed % 2**32,
            bbox_params=A.BboxParams("pascal_voc", filter_invalid_bboxes=True),
        )  # fmt: skip
        try:
            out = compose(image=image, mask=mask, bboxes=boxes)
        except Exception as error:  # noqa: BLE001  # a crop that is too large, ...
            outs.append((type(error), str(error)))
        else:
            outs.append(tuple(np.asarray(out[n]).tobytes() for n in sorted(out)))
    assert outs[0] == outs[1]


SOMETIMES = [
    (A.PadIfNeeded(9, 9, position="random", p=1), "draws"),
    (A.PadIfNeeded(5, 5, position="random", p=1), "draws"),
    (A.CenterCrop(900, 900, pad_if_needed=True, pad_position="random", p=1), "dra"),
    (A.LongestMaxSize([32, 64], p=1), "draws"),
    (A.ConstrainedCoarseDropout(mask_indices=[201], p=1), "looks at"),
    (A.CropNonEmptyMaskIfExists(1, 1, p=1), "looks at"),
    (A.Resize(9, 9, p=0.99), "p=0.99"),
    (A.Lambda(image=darker, p=1), "nothing is known"),
    (A.OneOf([A.Resize(9, 9, p=1), A.Resize(8, 8, p=1)], p=1), "no single"),
    (A.Sequential([A.Resize(9, 9, p=1), A.D4(p=1)], p=1), "holds D4, which draws"),
    (A.Sequential([A.Resize(9, 9, p=1)], p=0.5), "p=0.5"),
    (A.CenterCrop(5000, 5000, p=1), "cannot be tried"),
    (A.ToFloat(p=1), "makes float32"),
]


@pytest.mark.parametrize("number", range(len(SOMETIMES)))
def test_what_draws_only_sometimes_is_found_out(number):
    leaf, why = SOMETIMES[number]
    assert why in why_it_draws(leaf)


def test_a_sequence_of_such_is_one():
    sequence = A.Sequential([A.Resize(9, 9, p=1), A.HorizontalFlip(p=1)], p=1)
    assert beginning([sequence, A.D4(p=1)]) == (1, "D4 draws")
    assert beginning([sequence]) == (1, "nothing is left")


def test_the_longest_beginning_is_taken_and_the_rest_is_left(recipe):
    done, rest, why = divide(recipe)

    assert tuple(name for one in done.cpu for name in one) == BAKED
    assert why == "HorizontalFlip is applied with p=0.5"
    whole = yaml.safe_load(RECIPE)
    assert [*done.to_dict()["cpu"], *rest.to_dict()["cpu"]] == whole["cpu"]
    assert rest.normalize == whole["normalize"]
    assert done.normalize is None


def test_the_draws_of_the_rest_are_those_of_the_whole_where_keys_are(recipe):
    """The beginning takes nothing from the generators, and the rest finds all."""
    whole = fiberaug.Recipe.from_file(recipe)
    done, rest, _ = divide(recipe)
    engines = [
        CpuEngine(built_of(part), ["image", "mask"]) for part in (whole, done, rest)
    ]
    for i in range(40):
        keys = partial(key, i, 0, 0, 0, 0)
        sample = {"image": photo(i), "mask": photo(i)[:, :, 0] // 32}
        one = engines[0](sample, keys)
        baked = engines[1](sample, partial(key, i + 7, 0, 0, 0, 0)).fields
        other = engines[2](baked, keys)
        for name in ("image", "mask"):
            assert (one.fields[name] == other.fields[name]).all()
        assert len(one.operations) == len(other.operations) + 3


def test_one_copy_of_every_sample_is_baked_under_its_own_key(
    recipe, write_set, bake, members
):
    content = samples(
        20, mask=lambda i: photo(i)[:, :, 0] // 32,
        bboxes=lambda i: [[1, 2, 20, 30]], bbox_labels=lambda i: [i],
    )  # fmt: skip
    shards = write_set(content)
    folder = bake(shards, recipe=recipe, prefix=True, shard_size="20kB", workers=2)

    done = A.Compose(
        [A.SmallestMaxSize(30, p=1), A.PadIfNeeded(36, 40, p=1), A.ToGray(p=1)]
    )
    olds = list(fiberaug.StreamingDataset(shards, train=False, transform=done))
    news = list(fiberaug.StreamingDataset(str(folder), train=False))
    assert [key for key, _ in members(folder)] == [f"k{i:03d}" for i in range(20)]
    assert len(list(folder.glob("shard-*.tar"))) > 1
    for old, new in zip(olds, news, strict=True):
        assert old["__key__"] == new["__key__"]
        for name in ("image", "mask", "bboxes", "bbox_labels"):
            assert (old[name] == new[name]).all()
        assert (
            json.loads(old["record"])["applied_transforms"]
            == (new["baked_record"]["applied_transforms"])
        )
    rest = fiberaug.Recipe.from_file(folder / "recipe.yaml")
    assert [name for one in rest.cpu for name in one] == [
        "HorizontalFlip", "CenterCrop", "OneOf",
    ]  # fmt: skip
    made = json.loads((folder / "dataset.json").read_text())
    assert made["producer"]["arguments"]["materialized"] == "prefix"
    assert [n for one in made["about"]["baked_operations"] for n in one] == [*BAKED]
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(str(folder), transform=folder / "recipe.yaml"), 20
    ) as loader:
        (batch,) = loader
    assert batch["image"].shape == (20, 3, 24, 24)
    assert str(batch["image"].dtype) == "torch.float32"


def test_a_gray_beginning_keeps_its_channel(write_set, bake):
    transform = [A.Resize(20, 20, p=1), A.ToGray(num_output_channels=1, p=1), A.D4()]
    folder = bake(write_set(4), recipe=transform, prefix=True)

    rest = fiberaug.Recipe.from_file(folder / "recipe.yaml")
    assert rest.decode == {"color": "keep", "depth": "keep"}
    row = next(iter(fiberaug.StreamingDataset(str(folder), transform=rest)))
    assert row["image"].shape == (1, 20, 20)


def test_broken_samples_are_left_out_of_the_copy(write_set, bake):
    content = [
        {"__key__": f"k{i}", "jpg": cut_jpeg(i) if i == 2 else
         encode_image(photo(i, 120, 160), "jpeg"), "label": 0}
        for i in range(6)
    ]  # fmt: skip
    folder = bake(write_set(content), recipe=[A.Resize(30, 30, p=1)], prefix=True)

    rows = list(fiberaug.StreamingDataset(str(folder), train=False))
    assert [row["__key__"] for row in rows] == ["k0", "k1", "k3", "k4", "k5"]
    (line,) = (folder / "materialize_errors.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "k2"


@pytest.mark.parametrize(
    ("transform", "told"),
    [
        ([A.HorizontalFlip(), A.Resize(9, 9, p=1)], "first operation.*p=0.5"),
        (None, "has no operation to bake"),
        (
            A.Compose([A.Resize(9, 9, p=1)], bbox_params=A.BboxParams("pascal_voc")),
            "cannot be divided",
        ),
        ([A.Resize(9, 9, p=1), A.Lambda(image=print, p=1)], "cannot be written"),
        ([A.Resize(9, 9, p=1), lambda sample: sample], "cannot be written"),
    ],
    ids=["draws", "nothing", "parameters", "lambda", "callable"],
)
def test_what_cannot_be_divided_is_refused_before_anything_is_read(
    write_set, bake, tmp_path, transform, told
):
    with pytest.raises(UsageError, match=told):
        bake(write_set(3), recipe=transform, prefix=True)
    assert not (tmp_path / "baked").exists()


@pytest.mark.parametrize(
    "rest",
    [
        A.GaussNoise(std_range=(0.1, 0.3), p=0.25),
        A.OneOf([A.Blur(blur_limit=(3, 5), p=1), A.CoarseDropout(p=0.5)], p=0.4),
        A.SomeOf([A.D4(), A.InvertImg(p=1)], n=1, p=0.9),
        A.RandomResizedCrop((11, 12), scale=(0.3, 0.9)),
        A.Normalize(mean=(0.1, 0.2, 0.3), std=(1e-6, 1, 2)),
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_transforms_are_written_as_a_recipe_that_builds_the_same(rest):
    divided = divide([A.Resize(9, 9, p=1), rest])
    again = built_of(divided.rest)
    assert pipeline_hash(again, {}) == pipeline_hash(as_pipeline([rest]), {})
