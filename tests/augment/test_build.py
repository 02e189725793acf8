"""A recipe names known operations with bounded arguments, or is refused by place."""

import sys
import warnings

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.build import (
    arguments_of,
    build_operations,
    known_operations,
)

SIZED = {"height": 8, "width": 8}
REQUIRED = {
    "AtLeastOneBBoxRandomCrop": SIZED,
    "CenterCrop": SIZED,
    "CropAndPad": {"px": 1},
    "CropNonEmptyMaskIfExists": SIZED,
    "GridElasticDeform": {"num_grid_xy": (2, 2), "magnitude": 1},
    "LongestMaxSize": {"max_size": 8},
    "RandomCrop": SIZED,
    "RandomResizedCrop": {"size": (8, 8)},
    "RandomSizedBBoxSafeCrop": SIZED,
    "RandomSizedCrop": {"min_max_height": (4, 8), "size": (8, 8)},
    "Resize": SIZED,
    "SmallestMaxSize": {"max_size": 8},
}
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


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"RandomResizeCrop": {}}, "did you mean 'RandomResizedCrop'"),
        ({"x" * 500: {}}, "there is no operation 'xxx"),
        ({"HorizontalFlip": {"q": 1}}, "HorizontalFlip has no argument 'q'.*takes p"),
        (
            {"Resize": {"heigth": 8, "width": 8}},
            "Resize has no argument 'heigth'; did you mean 'height'.; it takes height,",
        ),
        ({"OneOf": {"transform": []}}, "OneOf has no argument 'transform'; did you"),
        ({"HorizontalFlip": {"strict": True}}, "no argument 'strict'"),
        ({"HorizontalFlip": {"p": 3}}, "HorizontalFlip: p must be from 0 to 1, got 3"),
        ({"GaussNoise": {"std": 1}}, "no argument 'std'; did you mean 'std_range'"),
        ({"RandomFog": {"alpha_coef": 2}}, "alpha_coef: .*less than .* to 1, got 2"),
        (
            {"ToGray": {"method": "max2"}},
            "method takes .* or max or pca or .* got 'max2'",
        ),
        (
            {"RandomGravel": {"gravel_roi": [0, 0, 1]}},
            r"gravel_roi: .*, got \[0, 0, 1\]",
        ),
        ({"GaussNoise": {"std_range": [0.9, 0.1]}}, r"std_range: .*\[0.9, 0.1\]"),
        ({"Resize": {"height": 8}}, "Resize: width: Field required"),
        ({"Resize": {"height": 8.5, "width": 8}}, "height: .*integer.*got 8.5"),
        ({"Resize": {"height": 60000, "width": 8}}, "height .* 1 to 8192, got 60000"),
        ({"RandomResizedCrop": {"size": [9000, 10]}}, "size .* to 8192, got 9000"),
        ({"Affine": {"scale": {"x": 11}}}, "Affine: scale must be .* to 10, got 11"),
        ({"Resize": {"height": "9", "width": 8}}, "height takes a number, got '9'"),
        ({"HorizontalFlip": {"p": "1e-3"}}, "YAML takes 1e-3 for text"),
        ({"HorizontalFlip": {"p": True}}, "p takes a number, got True"),
        (
            {"GridDropout": {"fill": ["1e9"]}},
            "fill takes a number or inpaint_ns .*'1e9'",
        ),
        ({"Affine": {"fit_output": 1}}, "fit_output takes true or false, got 1"),
        ({"Lambda": {"image": "abs"}}, "takes code"),
        ({"Equalize": {"mask": None}}, "takes code"),
        ({"FDA": {"reference_images": ["/etc/passwd"]}}, "reads files"),
        ({"TextImage": {"font_path": "/etc/passwd"}}, "reads a font file"),
        ({"Pad3D": {"padding": 1}}, "no operation 'Pad3D'"),
        ({"Perspective": {"fit_output": True}}, "fit_output: .*False, got True"),
        (
            {"OneOf": {"transforms": [{"Flop": {}}]}},
            r"cpu\[0\].OneOf\[0\]: there is no",
        ),
        (
            {"OneOf": {"transforms": [{"Blur": {}}, {"Blur": {"limit": 3}}]}},
            r"cpu\[0\].OneOf\[1\]: Blur has no argument 'limit'; did you mean",
        ),
        ({"OneOf": {"transforms": []}}, "transforms holds at least 1 operation"),
        ({"OneOf": None}, "OneOf: .*required.* 'transforms'"),
        ({"OneOf": {"transforms": [{"Blur": {"p": 0}}]}}, "OneOf .*ZeroDivisionError"),
        ({"OneOf": {"transforms": [{"Blur": {}}], "p": "no"}}, "p takes a number"),
        ({"OneOf": {"transforms": [{"Blur": {}}], "p": 2}}, "p must be from 0 to 1"),
        ({"SomeOf": {"transforms": [{"Blur": {}}], "n": 1.5}}, "n: .*integer.*got 1.5"),
        ({"SomeOf": {"transforms": [{"Blur": {}}], "n": 2}}, "greater than number of"),
        (
            {"SomeOf": {"transforms": [{"Blur": {}}], "replace": 1}},
            "replace takes true",
        ),
        ({"OneOrOther": {"transforms": [{"Blur": {}}]}}, "not equal to 2"),
        ({"OneOrOther": {"first": {"Blur": {}}}}, r"write transforms: \[..., ...\]"),
        ({"AdditiveNoise": {"noise_params": {"ranges": [["-0.1", 1]]}}}, "a number"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_with_its_place(operation, words):
    with pytest.raises(fiberaug.UsageError, match=words) as caught:
        build_operations([operation])

    assert str(caught.value).startswith("cpu[0]")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_place_counts_from_zero_in_each_list():
    inner = {"OneOf": {"transforms": [{"HorizontalFlip": {}}, {"Flip": {}}]}}
    with pytest.raises(
        fiberaug.UsageError, match=r"cpu\[1\]\.Sequential\[0\]\.OneOf\[1\]"
    ):
        build_operations(
            [{"HorizontalFlip": {}}, {"Sequential": {"transforms": [inner]}}]
        )


def test_arguments_that_albumentations_would_drop_are_refused():
    """Its metaclass warns, and goes on with the defaults."""
    with pytest.raises(fiberaug.UsageError, match="AdditiveNoise"):
        build_operations([{"AdditiveNoise": {"noise_params": {"ranges": 5}}}])


# ---- own operations ------------------------------------------------------------------


class Blurred:
    """An operation of the user's own."""

    def __init__(self, k, label="x"):
        if k < 0:
            raise ValueError("k is at least 0")
        self.arguments = (k, label)
        self.transforms = "its own"


OWN = {"mypackage.Blurred": Blurred}


def test_an_own_operation_gets_its_arguments_and_keeps_its_place():
    first, own, last = build_operations(
        [
            {"HorizontalFlip": None},
            {"mypackage.Blurred": {"k": 10**6, "label": "1"}},
            {"VerticalFlip": {}},
        ],
        OWN,
    )

    assert [type(first), type(last)] == [A.HorizontalFlip, A.VerticalFlip]
    assert own.arguments == (10**6, "1")


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"mypackage.Blured": {}}, "did you mean 'mypackage.Blurred'.; import the mod"),
        ({"os.system": {"command": "true"}}, "no operation 'os.system' is registered"),
        ({"mypackage.Blurred": {"j": 1}}, "Blurred refuses .*argument 'j'"),
        ({"mypackage.Blurred": {"k": -1}}, "Blurred refuses .*k is at least 0"),
        ({"mypackage.Blurred": None}, "Blurred refuses .*argument: 'k'"),
        ({"mypackage.Blurred": {"k": 0, "input_path": "/etc"}}, "names no files"),
        ({"mypackage.Blurred": {"k": [0] * 1025}}, "k has at most 1024 items"),
        ({"mypackage.Blurred": {"k": "x" * 1025}}, "k has at most 1024 characters"),
        (
            {"OneOf": {"transforms": [{"mypackage.Blurred": {"k": 1}}]}},
            r"cpu\[0\].OneOf\[0\]: .*'mypackage.Blurred' stands at the top",
        ),
    ],
)
def test_an_own_operation_is_refused_with_its_place_and_name(operation, words):
    with pytest.raises(fiberaug.UsageError, match=words) as caught:
        build_operations([operation], OWN)

    assert str(caught.value).startswith("cpu[0]")


def test_a_dotted_name_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(fiberaug.UsageError, match="import the module"):
        build_operations([{"trap.Blur": {}}])

    assert "trap" not in sys.modules


def test_a_mistake_inside_of_an_own_operation_is_not_hidden():
    def broken():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        build_operations([{"mine.broken": {}}], {"mine.broken": broken})


# ---- what is known -------------------------------------------------------------------


def test_operations_of_a_strangers_class_are_not_known():
    """A class that somebody imported is not reachable by name."""

    class Evil(A.ImageOnlyTransform):
        """Not of the library."""

    assert "Evil" not in known_operations()
    assert {"RandomResizedCrop", "OneOf", "ColorJitter"} <= set(known_operations())


def test_no_argument_names_a_file_or_holds_code():
    found = {
        (name, argument): str(annotation)
        for name in known_operations()
        for argument, (annotation, *_) in arguments_of(name).items()
    }
    suspicious = ["path", "file", "font", "metadata", "_fn", "reference", "_key"]

    assert [k for k in found if any(word in k[1] for word in suspicious)] == []
    assert [k for k, v in found.items() if "Callable[" in v or "ndarray" in v] == []


def test_no_operation_asks_for_something_that_is_no_field_of_a_sample():
    for name, kind in known_operations().items():
        if name == "Equalize" or issubclass(kind, A.BaseCompose):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = kind(**REQUIRED.get(name, {}))
        assert set(built.targets_as_params) <= {"image", "mask", "bboxes"}, name
