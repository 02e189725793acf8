"""Samplers by name, of the schedule that a pretrained model was trained on."""

import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.models.extras import import_diffusers

__all__ = ["SAMPLERS", "check_sampler", "config_sha256", "make_scheduler"]

SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "ddim": ("DDIMScheduler", {}),
        "ddpm": ("DDPMScheduler", {}),
        "dpmsolver++": (
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "dpmsolver++", "solver_order": 2},
        ),
        "unipc": ("UniPCMultistepScheduler", {}),
        "euler": ("EulerDiscreteScheduler", {}),
        "lcm": ("LCMScheduler", {}),
    }
)
"""Names; each stands for a class of diffusers and its settings."""


def check_sampler(name: object) -> str:
    """Return the name of a sampler.

    Raises:
        UsageError: There is no such sampler.
    """
    if not isinstance(name, str) or name not in SAMPLERS:
        raise UsageError(
            f"sampler must be one of {', '.join(SAMPLERS)}, got {name!r:.80}"
        )
    return name


def make_scheduler(own: Any, name: str | None) -> Any:  # noqa: ANN401  # of diffusers
    """Return a new scheduler: it counts its steps and keeps what it saw.

    Args:
        own: The scheduler of the folder, whose schedule is kept.
        name: Of a sampler. None: of the folder's own class.
    """
    if name is None:
        return type(own).from_config(own.config)
    kind, more = SAMPLERS[name]
    return getattr(import_diffusers(), kind).from_config(own.config, **more)


def config_sha256(scheduler: Any) -> str:  # noqa: ANN401  # of diffusers
    """Return a hash of what a scheduler is made from."""
    said = {
        key: value
        for key, value in dict(scheduler.config).items()
        if not key.startswith("_")
    }
    said["class"] = type(scheduler).__name__
    text = json.dumps(said, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()
