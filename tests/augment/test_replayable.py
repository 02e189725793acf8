"""Whether a pipeline can be rebuilt, and whether it draws, is tried."""

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.augment.replayable import draws, why_not_replayable
from fiberaug.processors import ChangeCase, Flip, Rotate


def only_gray(image):
    assert image.shape[2] == 1
    return image


class Gray(fiberaug.ImageProcessor):
    def _process(self, image):
        return only_gray(image)


@pytest.mark.parametrize(
    "transform",
    [
        A.HorizontalFlip(),
        A.RandomCrop(900, 900),
        [Flip(), A.ColorJitter(), ChangeCase()],
        Gray(),
        A.FromFloat(dtype="uint8"),
        A.SelectiveChannelTransform([A.GaussNoise(p=1)], channels=(1,), p=1),
    ],
    ids=["flip", "large crop", "list", "gray", "float", "channels"],
)
def test_a_pipeline_that_runs_on_some_image_is_tried_on_it(transform):
    assert why_not_replayable(as_pipeline(transform)) is None


def test_a_pipeline_that_runs_on_none_cannot_be_tried():
    assert "cannot be tried" in why_not_replayable(as_pipeline(A.Crop(0, 0, 5000, 50)))


@pytest.mark.parametrize(
    "transform",
    [
        A.RandomCropNearBBox(0.1, p=1), A.FDA(p=1), A.HistogramMatching(p=1),
        A.PixelDistributionAdaptation(p=1), A.OverlayElements(p=1), A.Mosaic(p=1),
        A.CenterCrop3D((2, 64, 64), p=1), A.CoarseDropout3D(p=1), A.CubicSymmetry(p=1),
        A.Morphological(p=1),
    ],
    ids=lambda transform: type(transform).__name__,
)  # fmt: skip
def test_what_a_transform_takes_from_the_sample_is_there(transform):
    assert why_not_replayable(as_pipeline(transform)) is None


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        (A.Compose([A.Resize(64, 64), A.CenterCrop(32, 32), A.Normalize()]), None),
        ([Flip(), Rotate(limit=(5, 5))], None),
        (A.RandomCrop(32, 32), "RandomCrop"),
        (A.VerticalFlip(p=0.3), "number of operations"),
        ([Flip(direction="random")], "Flip"),
        (lambda image: image + np.uint8(np.random.randint(9)), "image"),
    ],
    ids=["evaluation", "processors", "crop", "gate", "random flip", "callable"],
)
def test_what_gives_a_sample_other_pixels_each_time_is_named(transform, what):
    found = draws(as_pipeline(transform))

    assert found is None if what is None else what in found
