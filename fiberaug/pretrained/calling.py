"""A pipeline of diffusers called for a few images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.pretrained.asking import Job
from fiberaug.pretrained.opening import Opened
from fiberaug.pretrained.quiet import quiet
from fiberaug.pretrained.schedulers import make_scheduler
from fiberaug.synthetic.noises import generators_of

__all__ = ["call_pipeline"]


def call_pipeline(
    opened: Opened, jobs: Sequence[Job]
) -> tuple[NDArray[np.uint8], list[bool] | None]:
    """Return images, uint8 [N, H, W, 3], and which of them were flagged.

    Args:
        opened: The pipeline.
        jobs: Of one size, strength, sampler, number of steps and guidance.

    Raises:
        UsageError: The sampler does not take these steps.
    """
    pipeline, first = opened.pipeline, jobs[0]
    # a new one each time: it counts its steps, and keeps what it saw
    pipeline.scheduler = make_scheduler(opened.scheduler, first.sampler)
    told: dict[str, Any] = {
        "prompt": [job.prompt for job in jobs],
        "negative_prompt": [job.negative or "" for job in jobs],
        "num_inference_steps": first.steps,
        "guidance_scale": first.guidance,
        "generator": generators_of([job.seed for job in jobs]),
        "output_type": "np",
        **_pixels(opened, jobs),
    }
    if first.strength is not None:
        told["strength"] = first.strength
    with quiet(), torch.inference_mode():
        try:
            made = pipeline(**told)
        except ValueError as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{type(pipeline.scheduler).__name__} cannot take {first.steps} steps"
                f" with strength {first.strength or 1:g}: {reason:.300}"
            ) from error
    images = np.asarray(made.images)
    if not np.isfinite(images).all():
        raise UsageError(
            f"the images have values that are not finite: {opened.dtype_name} has not"
            " the range that this model needs; give dtype='float32'"
        )
    flags = made.nsfw_content_detected if opened.wanted.safety else None
    levels = (images * 255).round().clip(0, 255).astype(np.uint8)
    return levels, None if flags is None else [bool(one) for one in flags]


def _pixels(opened: Opened, jobs: Sequence[Job]) -> dict[str, Any]:
    """Return images, masks and controls by the names that the pipeline has for them."""
    mode = opened.mode
    found: dict[str, Any] = {}
    if mode.edits:
        found["image"] = _tensor([job.image for job in jobs])
    if "mask" in mode.more:
        found["mask_image"] = _tensor([job.mask for job in jobs])
    if mode.controlled:
        name = "control_image" if mode.edits else "image"
        found[name] = _tensor([job.control for job in jobs])
        found["controlnet_conditioning_scale"] = float(opened.wanted.control_scale)
    if mode.name != "image-to-image":
        found["height"], found["width"] = jobs[0].size
    return found


def _tensor(images: Sequence[NDArray[np.uint8] | None]) -> torch.Tensor:
    """Return float32 [N, C, H, W] in [0, 1]."""
    stacked = np.stack([one for one in images if one is not None])
    if stacked.ndim == 3:
        stacked = stacked[..., None]
    levels = torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))
    return levels.to(torch.float32) / 255
