"""Constructor arguments for every Kornia class that batches can be given to.

Images of the cases are 40 x 48 px: sides that grids of 4 divide, and that differ.
"""

from typing import Any

import kornia.augmentation as K
import torch
from torch import nn

SIZE = (40, 48)
"""(height, width) of images, px."""

CASES: dict[str, list[dict[str, Any]]] = {
    "CenterCrop": [
        {"size": (24, 32)},
        {"size": 20, "cropping_mode": "resample", "resample": "nearest"},
    ],
    "ColorJiggle": [
        {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
        {
            "brightness": (0.8, 1.2),
            "contrast": 0.2,
            "saturation": 0.2,
            "hue": (-0.1, 0.2),
            "order": (3, 0, 2, 1),
        },
    ],
    "ColorJitter": [
        {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
        {"brightness": 0.2, "contrast": (0.5, 1.5), "order": [1, 0]},
    ],
    "Denormalize": [{"mean": (0.1, 0.2, 0.3), "std": (0.9, 0.8, 0.7)}],
    "LongestMaxSize": [{"max_size": 30}],
    "Normalize": [
        {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        {"mean": 0.5, "std": 0.25},
        {"mean": torch.tensor([0.4, 0.5, 0.6]), "std": torch.tensor([0.2, 0.2, 0.3])},
    ],
    "PadTo": [
        {"size": (44, 56), "pad_value": 0.5},
        {"size": (32, 64), "pad_mode": "replicate", "crop_if_exceeds": False},
    ],
    "RandomAffine": [
        {"degrees": 20, "translate": (0.1, 0.2), "scale": (0.8, 1.2), "shear": 5},
        {
            "degrees": (-10.0, 30.0),
            "scale": (0.8, 1.0, 0.9, 1.3),
            "shear": (-5.0, 5.0, -3.0, 8.0),
            "resample": "nearest",
            "align_corners": True,
            "padding_mode": "border",
        },
        {
            "degrees": 10.0,
            "padding_mode": "fill",
            "fill_value": torch.tensor([0.1, 0.5, 0.9]),
        },
    ],
    "RandomAutoContrast": [{}, {"clip_output": False}],
    "RandomBoxBlur": [
        {"kernel_size": (3, 5)},
        {"border_type": "constant", "normalized": False},
    ],
    "RandomBrightness": [{"brightness": (0.7, 1.3)}],
    "RandomChannelDropout": [{}, {"num_drop_channels": 2, "fill_value": 0.25}],
    "RandomChannelShuffle": [{}],
    "RandomClahe": [{"clip_limit": (2.0, 40.0), "grid_size": (4, 4)}],
    "RandomContrast": [{"contrast": (0.7, 1.3), "clip_output": False}],
    "RandomCrop": [
        {"size": (24, 32)},
        {"size": (24, 32), "padding": 4, "fill": 0.5},
        {"size": (44, 40), "pad_if_needed": True, "padding_mode": "reflect"},
        {
            "size": (24, 32),
            "padding": (1, 2, 3, 4),
            "fill": (0.1, 0.2, 0.3),
            "cropping_mode": "resample",
        },
    ],
    "RandomElasticTransform": [
        {"kernel_size": (17, 17), "sigma": (4.0, 4.0)},
        {"alpha": (2.0, 0.5), "padding_mode": "border", "align_corners": True},
    ],
    "RandomEqualize": [{}],
    "RandomErasing": [{}, {"scale": (0.1, 0.2), "ratio": (1.2, 3.0), "value": 0.5}],
    "RandomFisheye": [
        {
            "center_x": torch.tensor([-0.3, 0.3]),
            "center_y": torch.tensor([-0.3, 0.3]),
            "gamma": torch.tensor([0.9, 1.0]),
        }
    ],
    "RandomGamma": [{"gamma": (0.5, 1.5), "gain": (0.9, 1.1)}],
    "RandomGaussianBlur": [
        {"kernel_size": (3, 5), "sigma": (0.1, 2.0)},
        {
            "kernel_size": 3,
            "sigma": torch.tensor([0.5, 1.5]),
            "border_type": "constant",
            "separable": False,
        },
    ],
    "RandomGaussianIllumination": [{}, {"gain": 0.1, "sign": (-1.0, -0.5)}],
    "RandomGaussianNoise": [{"mean": 0.05, "std": 0.1}],
    "RandomGrayscale": [{}, {"rgb_weights": torch.tensor([0.2, 0.5, 0.3])}],
    "RandomHorizontalFlip": [{}],
    "RandomHue": [{"hue": (-0.2, 0.3)}],
    "RandomInvert": [{}, {"max_val": torch.tensor(0.9)}],
    "RandomJPEG": [{"jpeg_quality": (10.0, 80.0)}, {"jpeg_quality": 20.0}],
    "RandomJigsaw": [{}, {"grid": (2, 3), "ensure_perm": False}],
    "RandomLinearCornerIllumination": [{}, {"gain": (0.1, 0.2), "sign": (0.1, 1.0)}],
    "RandomLinearIllumination": [{}, {"gain": 0.2}],
    "RandomMedianBlur": [{}, {"kernel_size": (5, 3)}],
    "RandomMotionBlur": [
        {"kernel_size": 5, "angle": 35.0, "direction": 0.5},
        {
            "kernel_size": (3, 9),
            "angle": (10.0, 50.0),
            "direction": (-0.2, 0.9),
            "border_type": "replicate",
            "resample": "bilinear",
        },
    ],
    "RandomPerspective": [
        {"distortion_scale": 0.4},
        {"sampling_method": "area_preserving", "align_corners": True},
    ],
    "RandomPlanckianJitter": [{}, {"mode": "CIED", "select_from": [1, 4, 7]}],
    "RandomPlasmaBrightness": [{"roughness": (0.2, 0.6), "intensity": (0.1, 0.8)}],
    "RandomPlasmaContrast": [{}],
    "RandomPlasmaShadow": [{"shade_intensity": (-0.8, -0.2)}],
    "RandomPosterize": [{"bits": 3}, {"bits": (2.0, 5.0)}],
    "RandomRGBShift": [{}, {"r_shift_limit": 0.2, "g_shift_limit": (-0.1, 0.4)}],
    "RandomRain": [
        {"number_of_drops": (10, 40), "drop_height": (3, 9), "drop_width": (-4, 4)}
    ],
    "RandomResizedCrop": [
        {"size": (24, 32)},
        {
            "size": (56, 32),
            "scale": (0.2, 0.6),
            "ratio": (0.5, 2.0),
            "align_corners": False,
        },
        {"size": (24, 24), "cropping_mode": "resample"},
        {"size": (24, 32), "resample": "nearest"},
    ],
    "RandomRotation": [{"degrees": 45.0}, {"degrees": (10, 90), "resample": "nearest"}],
    "RandomRotation90": [{"times": (-1, 2)}],
    "RandomSaltAndPepperNoise": [{}, {"amount": 0.2, "salt_vs_pepper": (0.2, 0.4)}],
    "RandomSaturation": [{"saturation": (0.5, 1.5)}],
    "RandomSharpness": [{}, {"sharpness": (0.5, 2.0)}],
    "RandomShear": [{"shear": 10.0}, {"shear": (-10.0, 10.0, -5.0, 5.0)}],
    "RandomSnow": [{"snow_coefficient": (0.2, 0.7), "brightness": (1.0, 3.0)}],
    "RandomSolarize": [{}, {"thresholds": (0.3, 0.7), "additions": (-0.2, 0.2)}],
    "RandomThinPlateSpline": [{}, {"scale": 0.1, "padding_mode": "border"}],
    "RandomTranslate": [
        {"translate_x": (-0.2, 0.2), "translate_y": (-0.1, 0.3)},
        {"translate_x": (0.0, 0.25), "padding_mode": "reflection"},
    ],
    "RandomVerticalFlip": [{}],
    "Resize": [
        {"size": (24, 32)},
        {"size": 30, "side": "long", "align_corners": False, "antialias": True},
        {"size": (60, 50), "resample": "nearest"},
    ],
    "SmallestMaxSize": [{"max_size": 20}],
}
"""Class name to constructor arguments; the first are the plainest."""

RESIZES = {
    "CenterCrop",
    "LongestMaxSize",
    "PadTo",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "SmallestMaxSize",
}
"""Classes that take no probability below 1."""


def build(name: str, arguments: dict[str, Any], p: float | None = None) -> nn.Module:
    """Return the augmentation, of probability ``p`` where the class has one."""
    if p is not None and name not in RESIZES:
        arguments = {**arguments, "p": p}
    made: nn.Module = getattr(K, name)(**arguments)
    return made


def every_case() -> list[Any]:
    """Return (name, arguments) of all cases."""
    return [(name, given) for name, cases in CASES.items() for given in cases]


def images(rows: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Return float32 [rows, channels, 40, 48] in [0, 1]: smooth, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((rows, channels, 6, 7), generator=generator)
    smooth = nn.functional.interpolate(coarse, SIZE, mode="bilinear")
    noise = torch.rand((rows, channels, *SIZE), generator=generator)
    return (0.8 * smooth + 0.2 * noise).clamp(0, 1)
