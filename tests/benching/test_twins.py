"""Laws of twins: the same numbers give nearly the same pixels; others stay."""

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.augment.build import arguments_of as of_worker
from fiberaug.augment.build import build_operations
from fiberaug.benching.twins import TWINS, in_worker, on_batch
from fiberaug.gpu.building import build_gpu, own_operations
from fiberaug.gpu.program import Program
from fiberaug.gpu.spec import arguments_of as of_kornia

HEIGHT, WIDTH = 48, 66
ONE = 1.01
"""A level: workers round after each operation."""

CASES = [
    # (operation whose draws are one number, largest difference, mean difference)
    ({"HorizontalFlip": {"p": 1}}, 0, 0),
    ({"VerticalFlip": {"p": 1}}, 0, 0),
    ({"Rotate": {"limit": [25, 25], "p": 1}}, ONE, 0.3),
    ({"Rotate": {"limit": [-40, -40], "p": 1}}, ONE, 0.3),
    ({"Affine": {"rotate": 25, "p": 1}}, ONE, 0.3),
    ({"Affine": {"rotate": [-20, -20], "scale": 0.8, "p": 1}}, ONE, 0.3),
    ({"Affine": {"scale": {"x": 1.3, "y": 0.7}, "rotate": 30, "p": 1}}, ONE, 0.3),
    ({"Affine": {"scale": [1.2, 1.2], "keep_ratio": True, "p": 1}}, ONE, 0.3),
    ({"RandomCrop": {"height": HEIGHT, "width": WIDTH}}, 0, 0),
    ({"CenterCrop": {"height": 31, "width": 20}}, 0, 0),
    ({"CenterCrop": {"height": 30, "width": 21}}, 0, 0),
    ({"Resize": {"height": 31, "width": 40}}, ONE, 0.4),
    ({"ColorJitter": {"brightness": [1.3, 1.3], "contrast": [1, 1],
                      "saturation": [1, 1], "hue": 0, "p": 1}}, ONE, 0.6),
    ({"ColorJitter": {"brightness": 0, "contrast": [0.6, 0.6],
                      "saturation": 0, "hue": 0, "p": 1}}, ONE, 0.6),
    ({"ColorJitter": {"brightness": 0, "contrast": 0,
                      "saturation": [1.5, 1.5], "hue": [0, 0], "p": 1}}, ONE, 0.6),
    ({"ColorJitter": {"brightness": 0, "contrast": 0,
                      "saturation": 0, "hue": [0.1, 0.1], "p": 1}}, 6, 1),
    ({"RandomBrightnessContrast": {"brightness_limit": [-0.2, -0.2],
                                   "contrast_limit": 0, "p": 1}}, ONE, 0.5),
    ({"RandomBrightnessContrast": {"brightness_limit": 0,
                                   "contrast_limit": [0.3, 0.3], "p": 1}}, ONE, 0.5),
    ({"HueSaturationValue": {"hue_shift_limit": [18, 18], "sat_shift_limit": 0,
                             "val_shift_limit": 0, "p": 1}}, 6, 1),
    ({"ToGray": {"p": 1}}, ONE, 0.3),
    ({"GaussianBlur": {"blur_limit": [7, 7], "sigma_limit": [1.5, 1.5], "p": 1}},
     ONE, 0.3),
    ({"GaussianBlur": {"blur_limit": 0, "sigma_limit": [0.8, 0.8], "p": 1}}, ONE, 0.3),
    ({"Solarize": {"threshold_range": [0.3, 0.3], "p": 1}}, ONE, 0.01),
    ({"Posterize": {"num_bits": 3, "p": 1}}, 0.01, 0.01),
    ({"Posterize": {"num_bits": [5, 5], "p": 1}}, 0.01, 0.01),
    ({"InvertImg": {"p": 1}}, 0.01, 0.01),
    ({"RandomGamma": {"gamma_limit": [80, 80], "p": 1}}, ONE, 0.6),
    ({"RGBShift": {"r_shift_limit": 0, "g_shift_limit": 0, "b_shift_limit": 0,
                   "p": 1}}, 0.01, 0.01),
]  # fmt: skip
DRAWN = {
    "ChannelShuffle", "GaussNoise", "RandomResizedCrop", "AugMix", "AutoAugment",
    "RandAugment", "RandomErasing", "TrivialAugmentWide",
}  # fmt: skip
"""Operations whose draws cannot be held still."""


def named(case):
    return next(iter(case[0]))


@pytest.fixture(scope="module")
def picture():
    """Smooth colours, uint8 [H, W, 3], that reach both ends."""
    small = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)
    wide = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return (np.clip(1.4 * wide - 0.2, 0, 1) * 255).astype(np.uint8)


def by_worker(operation, picture):
    return A.Compose(build_operations([operation]), seed=0)(image=picture)["image"]


def by_batch(operation, picture, rows=2):
    program = Program([("0", build_gpu([operation])[0])], unit=16, seed=0, fused=False)
    image = torch.from_numpy(picture).permute(2, 0, 1).expand(rows, -1, -1, -1)
    places = [(i, 0) for i in range(rows)]
    drawn, _ = program.draw(0, places, (3, *picture.shape[:2]))
    return program.run(image, drawn).permute(0, 2, 3, 1).numpy() * 255


def test_each_twin_is_tried_or_known_to_draw():
    assert {named(case) for case in CASES} | DRAWN == {twin.worker for twin in TWINS}


@pytest.mark.parametrize(("operation", "most", "mean"), CASES)
def test_the_same_numbers_give_nearly_the_same_pixels(operation, most, mean, picture):
    there = on_batch(operation).operation
    assert there is not None
    here, rows = by_worker(operation, picture), by_batch(there, picture)

    assert rows.shape[1:] == here.shape
    apart = np.abs(rows - here)
    assert apart.max() <= most + 1e-3
    assert apart.mean() <= mean + 1e-3


@pytest.mark.parametrize(("operation", "most", "mean"), CASES)
def test_there_and_back_is_the_same_operation(operation, most, mean, picture):
    back = in_worker(on_batch(operation).operation).operation

    assert named((back,)) == named((operation,))
    here, again = (by_worker(op, picture) for op in (operation, back))
    assert np.array_equal(here, again)


CROP = {"size": [24, 30], "scale": [0.3, 0.6], "ratio": [0.8, 1.2]}


def test_crops_of_random_size_have_one_size_and_come_back(picture):
    operation = {"RandomResizedCrop": CROP}
    there = on_batch(operation).operation
    whole = {
        "RandomResizedCrop": {**CROP, "scale": [1, 1], "ratio": [WIDTH / HEIGHT] * 2}
    }

    assert by_batch(there, picture).shape == (2, 24, 30, 3)
    assert in_worker(there).operation == operation
    same = np.abs(
        by_batch(on_batch(whole).operation, picture) - by_worker(whole, picture)
    )
    assert same.max() <= ONE


def test_noise_is_as_strong_on_both_sides(picture):
    operation = {"GaussNoise": {"std_range": [0.05, 0.05], "p": 1}}
    grey = np.full_like(picture, 128)
    here = by_worker(operation, grey).std()

    assert by_batch(on_batch(operation).operation, grey).std() == pytest.approx(
        here, rel=0.1
    )
    assert in_worker(on_batch(operation).operation).operation == operation


def test_shifts_reach_as_far_on_both_sides(picture):
    operation = {"RGBShift": {"r_shift_limit": 51, "p": 1}}
    there = on_batch(operation).operation["RandomRGBShift"]

    assert there["r_shift_limit"] == pytest.approx(0.2)
    assert there["g_shift_limit"] == pytest.approx(20 / 255)  # the default
    back = in_worker({"RandomRGBShift": there}).operation
    assert A.RGBShift(**back["RGBShift"]).r_shift_limit == pytest.approx((-0.2, 0.2))


@pytest.mark.parametrize("name", sorted(DRAWN - {"GaussNoise", "RandomResizedCrop"}))
def test_what_draws_alike_on_both_sides_keeps_its_arguments(name):
    given = {"p": 0.3}
    if "Augment" in name:
        given = {"fill": [1, 2, 3], "interpolation": "bilinear", **given}
    there = on_batch({name: given}).operation

    assert named((there,)).removeprefix("fiberaug.").removeprefix("Random") == (
        name.removeprefix("Random")
    )
    assert in_worker(there).operation == {name: given}
    (built,) = build_gpu([there])
    for argument, value in given.items():
        kept = getattr(built, argument, getattr(built, "module", built))
        assert argument == "p" or list(kept) == value or kept == value


def test_arguments_of_the_table_exist():
    for twin in TWINS:
        kind = own_operations().get(twin.batch)
        batch = of_kornia(twin.batch) if kind is None else {}
        assert set(twin.of_worker) <= set(of_worker(twin.worker)), twin
        assert set(twin.of_batch) <= set(batch), twin


limits = st.tuples(st.integers(-80, 80), st.integers(-80, 80)).map(sorted)
shares = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(
    lambda ends: sorted(end / 100 for end in ends)
)
chances = st.integers(0, 100).map(lambda percent: percent / 100)
RANGES = {
    "Rotate": limits.map(lambda ends: {"limit": ends}),
    "Affine": limits.map(lambda ends: {"rotate": ends}),
    "Solarize": shares.map(lambda ends: {"threshold_range": ends}),
    "RandomGamma": shares.map(
        lambda ends: {"gamma_limit": [round(100 + 50 * end, 6) for end in ends]}
    ),
    "HueSaturationValue": limits.map(
        lambda ends: {
            "hue_shift_limit": ends, "sat_shift_limit": [0, 0],
            "val_shift_limit": [0, 0],
        }
    ),
    "RandomBrightnessContrast": shares.map(
        lambda ends: {"brightness_limit": ends, "contrast_limit": [0, 0]}
    ),
    "GaussianBlur": shares.map(
        lambda ends: {"blur_limit": [5, 5], "sigma_limit": [e + 0.1 for e in ends]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), p=chances)
def test_ranges_and_chances_come_back_as_they_were(name, data, p):
    arguments = {**data.draw(RANGES[name]), "p": p}
    there = on_batch({name: arguments})
    ((_, moved),) = there.operation.items()
    ((back, found),) = in_worker(there.operation).operation.items()

    assert moved["p"] == p
    assert back == name
    full = {n: known.default for n, known in of_worker(name).items()} | found
    for argument, value in arguments.items():
        assert full[argument] == pytest.approx(value, abs=1e-9), argument


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        ({"Rotate": {"limit": 10, "border_mode": 4}}, "border_mode"),
        ({"Affine": {"shear": 10}}, "shear"),
        ({"Affine": {"translate_percent": [0, 0.1]}}, "one side"),
        ({"Affine": {"translate_px": [-3, 3]}}, "translate_px"),
        ({"RandomBrightnessContrast": {}}, "at once"),
        ({"HueSaturationValue": {}}, "saturation"),
        ({"RandomResizedCrop": {"size": [8, 8], "interpolation": 2}}, "interpolation"),
        ({"RandomCrop": {"height": 8, "width": 8, "pad_if_needed": True}}, "pad"),
        ({"RandomCrop": {"height": 8, "width": 8, "p": 0.5}}, "p=0.5"),
        ({"GaussNoise": {}}, "std_range"),
        ({"Posterize": {"num_bits": [3, 5]}}, "num_bits"),
        ({"Equalize": {}}, "spread"),
        ({"ToGray": {"method": "max"}}, "method"),
        ({"RGBShift": {"r_shift_limit": [-5, 20]}}, "r_shift_limit"),
        ({"GaussianBlur": {"sigma_limit": 2.0}}, "sigma_limit"),
        ({"CLAHE": {}}, "lightness"),
        ({"Normalize": {}}, "[0, 1]"),
        ({"Perspective": {}}, "distributions"),
        ({"MotionBlur": {}}, "kernel"),
        ({"OneOf": {"transforms": [{"HorizontalFlip": {}}]}}, "no such"),
        ({"mine.Blur": {"k": 3}}, "no such"),
    ],
)
def test_an_operation_that_batches_cannot_say_stays_and_says_why(operation, word):
    there = on_batch(operation)
    assert there.operation is None
    assert word in there.note


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        ({"RandomHorizontalFlip": {"same_on_batch": True}}, "same_on_batch"),
        ({"RandomHorizontalFlip": {"p_batch": 0.5}}, "p_batch"),
        ({"RandomAffine": {"degrees": 5, "padding_mode": "border"}}, "padding_mode"),
        ({"Resize": {"size": [8, 8]}}, "align_corners"),
        ({"Resize": {"size": 8, "align_corners": False}}, "one number"),
        ({"RandomCrop": {"size": [8, 8], "padding": 2}}, "padding"),
        ({"RandomPosterize": {"bits": 3}}, "bits"),
        ({"RandomSolarize": {"thresholds": 0.1}}, "additions"),
        ({"ColorJitter": {"order": [0, 1, 2, 3]}}, "order"),
        ({"RandomGaussianBlur": {"kernel_size": [3, 5], "sigma": [1, 2]}}, "kernel"),
        ({"RandomElasticTransform": {}}, "no such"),
        ({"RandomErasing": {}}, "masks"),
        ({"Normalize": {"mean": [0.5] * 3, "std": [0.5] * 3}}, "normalize"),
        ({"ImageSequential": {"transforms": [], "random_apply": 1}}, "no such"),
    ],
)
def test_an_operation_that_workers_cannot_say_stays_and_says_why(operation, word):
    here = in_worker(operation)
    assert here.operation is None
    assert word in here.note


def test_a_twin_that_differs_says_in_what():
    wide = {"GaussianBlur": {"blur_limit": 23, "sigma_limit": [0.1, 2.0]}}
    exact = {"GaussianBlur": {"blur_limit": [9, 9], "sigma_limit": [0.1, 2.0]}}

    assert on_batch(wide).operation["RandomGaussianBlur"]["kernel_size"] == [23, 23]
    assert "small kernels" in on_batch(wide).note
    assert on_batch(exact).note == ""
