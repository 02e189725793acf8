"""Samplers by name: schedulers of diffusers, made from the one schedule of training."""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.models.extras import import_diffusers

__all__ = [
    "SAMPLERS",
    "TIMES",
    "TRAINED",
    "Start",
    "check_name",
    "check_steps",
    "denoise",
    "guided",
    "make_sampler",
    "set_steps",
    "training_schedule",
]

TIMES = 1000
"""Times of the schedule; most steps of a sampler."""

TRAINED = MappingProxyType(
    {
        "num_train_timesteps": TIMES,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "clip_sample": True,
        "clip_sample_range": 1.0,
    }
)
"""The schedule that networks are trained on: the cosine of Nichol and Dhariwal
("Improved denoising diffusion probabilistic models", 2021, equation 17), predicting
v = alpha noise - sigma image (Salimans and Ho, "Progressive distillation", 2022)."""

# clipping to [-1, 1], said so that the solvers know it: thresholds are at least 1
_CLIPPED = {"thresholding": True, "sample_max_value": 1.0}
SAMPLERS = MappingProxyType(
    {
        "ddpm": ("DDPMScheduler", {}),
        # DPM-Solver++ of the first order is DDIM (Lu et al., "DPM-Solver++", 2022,
        # section 4); DDIMScheduler goes astray where steps do not divide 1000
        "ddim": ("DPMSolverMultistepScheduler", {"solver_order": 1, **_CLIPPED}),
        "dpmsolver++": ("DPMSolverMultistepScheduler", {"solver_order": 2, **_CLIPPED}),
        "unipc": ("UniPCMultistepScheduler", {"solver_order": 2, **_CLIPPED}),
    }
)
"""Names; each stands for a class of diffusers and its settings."""

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy images [B, C, H, W], times int64 [B]) -> v [B, C, H, W]."""


@dataclass(frozen=True, slots=True)
class Start:
    """Images that are changed, in place of making new ones."""

    images: torch.Tensor
    """float [B, C, H, W] in [-1, 1]."""

    strength: float
    """Share of the steps that are taken, in (0, 1]; at least one step is."""


def training_schedule() -> Any:  # noqa: ANN401  # a class of diffusers, without types
    """Return the ``DDPMScheduler`` that networks are trained with.

    Raises:
        UsageError: diffusers is not installed.
    """
    return import_diffusers().DDPMScheduler(**TRAINED)


def make_sampler(name: str, steps: int) -> Any:  # noqa: ANN401  # of diffusers
    """Return a scheduler of diffusers, its steps set.

    Args:
        name: ``ddpm``, ``ddim``, ``dpmsolver++`` or ``unipc``.
        steps: 1 to 1,000; the first begins where there is nothing but noise.

    Raises:
        UsageError: There is no such sampler, steps are out of range, or diffusers is
            not installed.
    """
    kind, more = SAMPLERS[check_name(name)]
    check_steps(steps)
    made = getattr(import_diffusers(), kind).from_config(
        training_schedule().config, timestep_spacing="trailing", **more
    )
    set_steps(made, steps)
    return made


def check_name(name: object) -> str:
    """Return the name of a sampler.

    Raises:
        UsageError: There is no such sampler.
    """
    if not isinstance(name, str) or name not in SAMPLERS:
        raise UsageError(
            f"sampler must be one of {', '.join(SAMPLERS)}, got {name!r:.80}"
        )
    return name


def check_steps(steps: object) -> int:
    """Return steps that a sampler can take.

    Raises:
        UsageError: It is no integer from 1 to 1,000.
    """
    if type(steps) is not int or not 1 <= steps <= TIMES:
        raise UsageError(f"steps must be an integer from 1 to {TIMES}, got {steps!r}")
    return steps


def set_steps(sampler: Any, steps: int) -> None:  # noqa: ANN401  # of diffusers
    """Set the steps of a scheduler; exactly so many, whatever their number.

    With trailing spacing diffusers 0.42 adds a step at time -1 for 62 of the numbers up
    to 1,000, such as 61 and 103: ``arange`` rounds.
    """
    with warnings.catch_warnings():  # it makes arrays of tensors in a way of NumPy 1
        warnings.filterwarnings("ignore", "__array__ impl", DeprecationWarning)
        sampler.set_timesteps(steps)
    extra = int((sampler.timesteps < 0).sum())
    if not extra:
        return
    kept = len(sampler.timesteps) - extra
    sampler.timesteps = sampler.timesteps[:kept]
    sampler.num_inference_steps = kept
    sigmas = getattr(sampler, "sigmas", None)
    if sigmas is not None:
        sampler.sigmas = torch.cat([sigmas[:kept], sigmas[-1:]])


def denoise(
    predict: Predict,
    noise: torch.Tensor,
    sampler: Any,  # noqa: ANN401  # of diffusers
    generators: Sequence[torch.Generator] | torch.Generator | None = None,
    start: Start | None = None,
    on_step: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Return images of noise, float [B, C, H, W].

    Args:
        predict: The network with its conditions.
        noise: float [B, C, H, W], standard normal.
        sampler: A scheduler whose steps are set; it is not changed.
        generators: One for each row: of the noise that ``ddpm`` adds at each step.
        start: Images to be changed (Meng et al., "SDEdit", 2022). None: from noise
            alone.
        on_step: Called with (0, what it begins with), then with the number of steps
            taken and the images after each.
    """
    sampler = copy.deepcopy(sampler)  # it counts its steps, and keeps what it saw
    times = sampler.timesteps.tolist()
    images: torch.Tensor = noise * sampler.init_noise_sigma
    if start is not None:
        first = len(times) - max(1, round(len(times) * start.strength))
        times = times[first:]
        kept = float(sampler.alphas_cumprod[times[0]])
        images = math.sqrt(kept) * start.images + math.sqrt(1 - kept) * noise
        if hasattr(sampler, "set_begin_index"):
            sampler.set_begin_index(first)
    draws = "generator" in inspect.signature(sampler.step).parameters
    more = {"generator": _as_given(generators)} if draws else {}
    if on_step is not None:
        on_step(0, images)
    for i, time in enumerate(times, 1):
        told = torch.full((len(images),), time, dtype=torch.int64, device=images.device)
        scaled = sampler.scale_model_input(images, time)
        made = predict(scaled, told)
        images = sampler.step(made, time, images, **more, return_dict=False)[0]
        if on_step is not None:
            on_step(i, images)
    return images


def _as_given(
    generators: Sequence[torch.Generator] | torch.Generator | None,
) -> list[torch.Generator] | torch.Generator | None:
    several = isinstance(generators, Sequence)
    return list(generators) if several else generators  # type: ignore[return-value, arg-type]


def guided(given: Predict, null: Predict, guidance: float) -> Predict:
    """Return a prediction that goes beyond that without a condition.

    v = v_null + guidance (v_given - v_null) (Ho and Salimans, "Classifier-free
    diffusion guidance", 2022, equation 6, with w = guidance - 1).

    Args:
        given: The network with its conditions.
        null: The network without; not called where ``guidance`` is 1.
        guidance: 1: as trained; more: more typical of the condition, less varied.
    """
    if guidance == 1:
        return given

    def predict(images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        without = null(images, times)
        return without + guidance * (given(images, times) - without)

    return predict
