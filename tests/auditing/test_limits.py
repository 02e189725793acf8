"""Limits and laws of parameters are those of the libraries: each is drawn and tried."""

import json
from functools import partial

import albumentations as A
import kornia.augmentation as K
import numpy as np
import pytest
import torch

from fiberaug.auditing.asked import Leaf, asked_leaves
from fiberaug.auditing.binomial import band
from fiberaug.auditing.counters import LeafCounter
from fiberaug.auditing.limits import limits_of
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.spec import spec_of
from fiberaug.mixes.building import build_mixes
from fiberaug.params import encode
from fiberaug.seeding import key

pytestmark = pytest.mark.filterwarnings("ignore:ShiftScaleRotate is a special case")
DRAWS, ALPHA = 400, 1e-7
IMAGE = np.zeros((40, 64, 3), np.uint8)

CPU = {
    "Affine": (
        {"rotate": (-20, 30), "scale": {"x": (0.8, 1.3), "y": (0.5, 0.9)}},
        {"rotate", "scale.x", "scale.y"},
    ),
    "Blur": ({"blur_limit": (3, 9)}, {"kernel"}),
    "CLAHE": ({"clip_limit": (2, 5)}, {"clip_limit"}),
    "ColorJitter": (
        {"brightness": 0.4, "contrast": (0.5, 0.9), "saturation": 0.1, "hue": 0.2},
        {"brightness", "contrast", "saturation", "hue"},
    ),
    "Defocus": ({"radius": (2, 4), "alias_blur": (0.2, 0.3)}, {"radius", "alias_blur"}),
    "Downscale": ({"scale_range": (0.3, 0.7)}, {"scale"}),
    "HueSaturationValue": (
        {"hue_shift_limit": 8, "sat_shift_limit": (3, 9), "val_shift_limit": 5},
        {"hue_shift", "sat_shift", "val_shift"},
    ),
    "ISONoise": (
        {"color_shift": (0.1, 0.3), "intensity": (0.2, 0.4)},
        {"color_shift", "intensity"},
    ),
    "ImageCompression": ({"quality_range": (30, 60)}, {"quality"}),
    "PlasmaBrightnessContrast": (
        {"brightness_range": (-0.2, 0.1), "contrast_range": (-0.1, 0.3)},
        {"brightness_factor", "contrast_factor"},
    ),
    "PlasmaShadow": ({"shadow_intensity_range": (0.1, 0.6)}, {"intensity"}),
    "RandomBrightnessContrast": ({"contrast_limit": (-0.1, 0.4)}, {"alpha"}),
    "RandomGamma": ({"gamma_limit": (60, 150)}, {"gamma"}),
    "RandomResizedCrop": (
        {"size": (16, 16), "scale": (0.2, 0.6), "ratio": (0.5, 0.9)},
        {"scale", "ratio"},
    ),
    "RandomScale": ({"scale_limit": (-0.4, 0.2)}, {"scale"}),
    "Rotate": ({"limit": (-100, 170)}, {"angle"}),
    "SafeRotate": ({"limit": (-10, 70)}, {"rotate"}),
    "Sharpen": ({"alpha": (0.1, 0.9)}, {"alpha"}),
    "ShiftScaleRotate": ({"rotate_limit": (-15, 60)}, {"rotate"}),
    "ShotNoise": ({"scale_range": (0.1, 0.4)}, {"scale"}),
    "Solarize": ({"threshold_range": (0.2, 0.8)}, {"threshold"}),
    "UnsharpMask": (
        {"blur_limit": (3, 9), "sigma_limit": (0.5, 2), "alpha": (0.1, 0.7)},
        {"ksize", "sigma", "alpha"},
    ),
}
GPU = {
    "ColorJiggle": {"brightness": 0.3, "contrast": (0.4, 0.9), "hue": 0.2},
    "ColorJitter": {"brightness": 0.3, "saturation": (0.4, 1.9), "hue": (-0.1, 0.4)},
    "RandomAffine": {"degrees": 25},
    "RandomBrightness": {"brightness": (0.6, 1.7)},
    "RandomClahe": {"clip_limit": (3.0, 20.0), "grid_size": (4, 4)},
    "RandomContrast": {"contrast": (0.6, 1.7)},
    "RandomGamma": {"gamma": (0.5, 1.7), "gain": (0.8, 1.1)},
    "RandomGaussianBlur": {"kernel_size": (3, 3), "sigma": (0.2, 1.4)},
    "RandomHue": {"hue": (-0.1, 0.4)},
    "RandomPlasmaBrightness": {"roughness": (0.2, 0.6), "intensity": (0.1, 0.8)},
    "RandomPlasmaContrast": {"roughness": (0.2, 0.6)},
    "RandomPlasmaShadow": {"shade_intensity": (-0.8, -0.2)},
    "RandomRGBShift": {"r_shift_limit": 0.2, "g_shift_limit": 0.4},
    "RandomRotation": {"degrees": (-15.0, 60.0)},
    "RandomSaturation": {"saturation": (0.6, 1.7)},
    "RandomSnow": {"snow_coefficient": (0.2, 0.7), "brightness": (1.0, 3.0)},
}


def check(leaf, drawn):
    """What is drawn is within the limits of a leaf, and as they say distributed."""
    counter = LeafCounter(leaf)
    for params in drawn:
        counter.see(json.loads(json.dumps(encode(params))), {"key": "k"}, 1000)
    assert not counter.strays
    for name, limits in counter.limits.items():
        sketch = counter.sketches[name]
        assert sketch.count >= DRAWS, name
        if limits.low < limits.high:
            assert sketch.summary()["max"] > sketch.summary()["min"]
        if sketch.has_law:
            assert sketch.distance() < band(sketch.count, ALPHA), name
    return counter


def cpu_draws(name, arguments):
    transform = getattr(A, name)(**arguments, p=1)
    engine = CpuEngine(as_pipeline(A.Compose([transform, A.NoOp(p=1)])), ["image"])
    for visit in range(DRAWS):
        made = engine({"image": IMAGE}, partial(key, 3, 0, 0, visit, 0))
        yield made.operations[0][1]


def cpu_leaf(name, arguments):
    transform = A.Compose([getattr(A, name)(**arguments, p=1)])
    identity = json.loads(json.dumps(as_pipeline(transform).identity()))
    return asked_leaves({"cpu": identity})[0]


@pytest.mark.parametrize("name", CPU)
def test_what_albumentations_draws_is_within_what_is_asked(name):
    arguments, parameters = CPU[name]
    leaf = cpu_leaf(name, arguments)
    counter = check(leaf, cpu_draws(name, arguments))
    assert set(counter.limits) == parameters


@pytest.mark.parametrize("name", CPU)
def test_what_other_arguments_draw_is_found(name):
    """Limits are narrowed to a tenth of what is drawn from: most values are strays."""
    arguments, parameters = CPU[name]
    counter = LeafCounter(cpu_leaf(name, arguments))
    counter.limits = {
        parameter: limits._replace(high=limits.low + (limits.high - limits.low) / 10)
        for parameter, limits in counter.limits.items()
    }
    for params in cpu_draws(name, arguments):
        counter.see(encode(params), {"key": "k"}, 1000)
    assert set(counter.strays) == parameters
    for parameter in parameters:
        assert counter.sketches[parameter].outside > DRAWS / 2


def test_a_crop_of_what_is_too_long_for_its_range_is_no_stray():
    """After ten tries the library crops as much as the ratio of sides allows."""
    arguments = {"size": (8, 8), "scale": (0.5, 0.6), "ratio": (0.5, 0.9)}
    pipeline = as_pipeline(A.Compose([A.RandomResizedCrop(**arguments, p=1)]))
    engine, counter = (
        CpuEngine(pipeline, ["image"]),
        LeafCounter(cpu_leaf("RandomResizedCrop", arguments)),
    )
    made = engine(
        {"image": np.zeros((8, 64, 3), np.uint8)}, partial(key, 0, 0, 0, 0, 0)
    )
    counter.see(encode(made.operations[0][1]), {"key": "k"}, 1000)
    assert counter.sketches["scale"].summary()["max"] < 0.2
    assert not counter.strays


def gpu_leaf(module):
    return asked_leaves({"gpu": [encode(spec_of(module))]})[0]


@pytest.mark.parametrize("name", GPU)
def test_what_kornia_draws_is_within_what_is_asked(name):
    torch.manual_seed(0)
    operation = KorniaOperation(getattr(K, name)(**GPU[name], p=1.0))
    params = operation.draw((DRAWS, 3, 8, 8))
    rows = [operation.row(params, row) for row in range(DRAWS)]
    counter = check(gpu_leaf(operation), rows)
    assert counter.limits


def test_rows_that_share_a_draw_have_no_law():
    shared = K.RandomContrast((0.6, 1.7), p=0.5, same_on_batch=True)
    leaf = gpu_leaf(KorniaOperation(shared))
    assert (leaf.trials, leaf.chance) == ("units", 0.5)
    assert limits_of(leaf)["contrast_factor"].law == ""
    batch = K.RandomHorizontalFlip(p=0.4, p_batch=0.5)
    assert gpu_leaf(KorniaOperation(batch)).chance == pytest.approx(0.2)
    assert gpu_leaf(KorniaOperation(batch)).trials == "units"


@pytest.mark.parametrize(
    "section",
    [{"MixUp": {"alpha": 0.3}}, {"CutMix": {"alpha": 2.0}},
     {"MixUpOrCutMix": {"cutmix_alpha": 0.4, "switch_prob": 1.0}}],
)  # fmt: skip
def test_what_mixes_draw_is_within_what_is_asked(section):
    (mix,) = build_mixes([section])
    draws = mix.placed(mix.draw(np.random.default_rng(1), DRAWS), (40, 48))
    (leaf,) = asked_leaves({"batch": [mix.spec()]})
    counter = check(leaf, [draw.params for draw in draws])
    assert {"beta"} <= {limits.law for limits in counter.limits.values()}


def test_what_is_not_certain_has_no_limits():
    safe = {"contrast_limit": (-0.1, 0.4), "ensure_safe_range": True}
    assert limits_of(cpu_leaf("RandomBrightnessContrast", safe)) == {}
    assert limits_of(cpu_leaf("Rotate", {"limit": (-200, 200)})) == {}
    wide = K.ColorJitter(brightness=1.5)
    assert "brightness_factor" not in limits_of(gpu_leaf(KorniaOperation(wide)))
    unknown = Leaf(path="0", name="Rotate", chance=1.0, known=False)
    assert limits_of(unknown) == {}
