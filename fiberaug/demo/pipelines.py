"""The three Albumentations pipelines of the demo."""

import os

import cv2

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import goes online

import albumentations as A

__all__ = [
    "CABINET_PX",
    "CROP_PX",
    "cabinet_pipeline",
    "endface_pipeline",
    "training_pipeline",
    "validation_pipeline",
]

CROP_PX = 96
"""Height and width of what the network sees."""

CABINET_PX = 1008
"""Longer side of an augmented cabinet."""

_REFLECT = cv2.BORDER_REFLECT_101


def training_pipeline() -> A.Compose:
    """Return what is done to a training image: turn, crop, flip, light, blur, noise."""
    return A.Compose(
        [
            A.Affine(
                rotate=(-180, 180), translate_px=(-6, 6), border_mode=_REFLECT, p=1.0
            ),
            A.RandomResizedCrop((CROP_PX, CROP_PX), scale=(0.7, 1), ratio=(0.9, 1.1)),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(p=0.7),
            A.OneOf([A.GaussianBlur(), A.GaussNoise(std_range=(0.02, 0.08))], p=0.3),
            A.Normalize(),
        ]
    )


def validation_pipeline() -> A.Compose:
    """Return what makes a validation image fit the network."""
    return A.Compose([A.Resize(CROP_PX, CROP_PX), A.Normalize()])


def endface_pipeline() -> A.Compose:
    """Return operations like those of the training, at full size, for the report."""
    return A.Compose(
        [
            A.Affine(rotate=(-180, 180), border_mode=_REFLECT, p=1.0),
            A.RandomResizedCrop((192, 192), scale=(0.6, 0.95), ratio=(0.9, 1.1)),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(0.15, 0.2, p=0.7),
            A.OneOf([A.GaussianBlur(), A.GaussNoise(std_range=(0.02, 0.08))], p=0.5),
        ]
    )


def cabinet_pipeline(size: tuple[int, int]) -> A.Compose:
    """Return a large window of a cabinet, reduced, turned, and in another light.

    Args:
        size: Upright height and width of a cabinet, px.
    """
    height, width = round(0.7 * size[0]), round(0.7 * size[1])
    return A.Compose(
        [
            A.RandomCrop(height, width),
            A.LongestMaxSize(min(CABINET_PX, width)),
            A.HorizontalFlip(p=0.5),
            A.Affine(
                rotate=(-12, 12), scale=(0.9, 1.1), keep_ratio=True, fill=32, p=0.8
            ),
            A.ColorJitter(hue=(-0.06, 0.06), p=0.9),
        ]
    )
