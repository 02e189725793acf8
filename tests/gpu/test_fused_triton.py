"""Laws of a step as one Triton kernel, run by Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from fusing import Batch
from kornia import augmentation as K

from fiberaug.errors import UsageError
from fiberaug.gpu.fused import COLOR_TOLERANCE, PLACE_TOLERANCE_PX

HERE = importlib.util.find_spec("triton") is not None
COLOR = K.ColorJiggle(0.4, 0.4, 0.4, 0.3)
STEPS = {
    "recipe": [
        K.RandomResizedCrop((21, 19)),
        K.RandomHorizontalFlip(),
        COLOR,
        K.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
    ],
    "no geometry": [COLOR, K.RandomGrayscale(p=0.5), K.RandomErasing(value=0.4)],
    "no colour": [K.RandomAffine(30, (0.1, 0.1), (0.8, 1.2))],
    "cropped": [
        K.RandomRotation(60.0),
        K.CenterCrop((9, 11)),
        K.PadTo((15, 14)),
        COLOR,
    ],
    "projective": [K.RandomPerspective(0.5, p=0.7), COLOR],
    "whole pixels": [
        K.RandomCrop((30, 31), pad_if_needed=True),
        K.RandomVerticalFlip(),
    ],
    "turned": [K.RandomRotation90((-3, 3)), K.ColorJitter(0.3, 0, 0.4, 0.2)],
    "window": [K.RandomVerticalFlip(), K.Resize((11, 40), align_corners=False)],
}


def compare(name):
    for levels in (False, True):
        for dtype, layout in (
            (torch.float32, torch.contiguous_format),
            (torch.float16, torch.channels_last),
        ):
            batch = Batch(STEPS[name], (6, 3, 24, 20), 2, levels=levels)
            step, prepared = batch.only_step()
            options = {"dtype": dtype, "memory_format": layout}
            wanted = step.run(batch.image, prepared, **options)
            found = step.run(batch.image, prepared, kernel=True, **options)
            assert found.is_contiguous(memory_format=layout)
            # of noise in [0, 1], which Normalize and ColorJiggle stretch
            tolerance = 10 * (PLACE_TOLERANCE_PX + COLOR_TOLERANCE)
            tolerance += 1e-2 if dtype is torch.float16 else 0
            torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
            if name == "whole pixels" and dtype is torch.float32:
                torch.testing.assert_close(found, wanted, atol=1e-7, rtol=0)


@pytest.mark.skipif(not HERE, reason="Triton comes with torch's CUDA wheels")
def test_one_kernel_gives_what_the_step_gives():
    paths = os.pathsep.join(sys.path)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not HERE, reason="Triton comes with torch's CUDA wheels")
def test_what_the_kernel_cannot_do_runs_without_it():
    batch = Batch([K.RandomPosterize()], (4, 3, 8, 8))
    step, prepared = batch.only_step()
    plain = step.run(batch.image, prepared)
    assert torch.equal(step.run(batch.image, prepared, kernel=True), plain)


@pytest.mark.skipif(HERE, reason="Triton is installed")
def test_a_kernel_without_triton_is_refused():
    batch = Batch([K.RandomInvert()], (2, 3, 8, 8))
    step, prepared = batch.only_step()
    with pytest.raises(UsageError, match="pip install triton"):
        step.run(batch.image, prepared, kernel=True)


if __name__ == "__main__":
    for one in STEPS:
        compare(one)
