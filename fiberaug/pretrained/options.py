"""How a pretrained pipeline is sampled where a call does not say otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.pretrained.modes import Mode
from fiberaug.pretrained.pixels import check_size
from fiberaug.pretrained.schedulers import check_sampler

__all__ = ["Defaults", "check_guidance", "check_steps", "check_strength"]

_MOST_STEPS = 1000
_MOST_GUIDANCE = 100.0
_STEPS, _FEW = 25, 4
_GUIDANCE = 2.0
"""Less than the 7.5 of pictures for people: classifiers learn more from images that are
more varied (Fan et al., "Scaling laws of synthetic images", 2023)."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What is done where a call does not say otherwise."""

    mode: Mode

    prompt: str | None = None
    """Text with ``{label}`` and ``{caption}``. None: ``a photo of a {label}``."""

    negative: str | None = None
    """Text to avoid."""

    sampler: str | None = None
    """Name of a sampler. None: as the folder says."""

    own: str = ""
    """Class of the folder's scheduler."""

    steps: int | None = None
    """Denoising steps, 1 to 1,000. None: 25, or 4 where few are enough."""

    guidance: float | None = None
    """Scale of classifier-free guidance, 0 to 100; 1: none. None: 2, or 1 where few
    steps are enough."""

    strength: float | tuple[float, ...] | None = None
    """How much of an image is replaced, (0, 1]; several: each image takes one, by its
    seed. None: the mode has none."""

    size: tuple[int, int] = (512, 512)
    """Height and width of a new image, px."""

    @classmethod
    def of(
        cls,
        mode: Mode,
        native: tuple[int, int],
        own: str,
        **given: Any,  # noqa: ANN401  # checked
    ) -> "Defaults":
        """Return the defaults of a pipeline.

        Args:
            mode: What it does.
            native: Height and width of its images where nothing else is asked for.
            own: Class of the folder's scheduler.
            given: What the user said, None where nothing.

        Raises:
            UsageError: A value is out of range.
        """
        found = {name: value for name, value in given.items() if value is not None}
        plain = cls(mode=mode, size=native, own=own, strength=mode.strength)
        return plain.told(**found)

    @property
    def few(self) -> bool:
        """Whether the sampler is made for models that need few steps."""
        if self.sampler is None:
            return self.own == "LCMScheduler"
        return self.sampler == "lcm"

    @property
    def taken_steps(self) -> int:
        """Denoising steps that are taken."""
        return self.steps or (_FEW if self.few else _STEPS)

    @property
    def taken_guidance(self) -> float:
        """Guidance that is used."""
        if self.guidance is not None:
            return self.guidance
        return 1.0 if self.few else _GUIDANCE

    def told(self, **given: Any) -> "Defaults":  # noqa: ANN401  # checked here
        """Return it with other values; those that are None stay.

        Raises:
            UsageError: A value is out of range, or the mode does not take it.
        """
        found = {name: value for name, value in given.items() if value is not None}
        if "sampler" in found:
            check_sampler(found["sampler"])
        if "steps" in found:
            check_steps(found["steps"])
        if "guidance" in found:
            found["guidance"] = check_guidance(found["guidance"])
        if "strength" in found:
            if not self.mode.edits:
                raise UsageError(f"the mode {self.mode.name} takes no strength")
            found["strength"] = check_strength(found["strength"])
        if "size" in found:
            if "size" not in self.mode.more:
                raise UsageError(
                    f"the mode {self.mode.name} takes no size: the result is as large"
                    " as the image"
                )
            found["size"] = _size(found["size"])
        for name in ("prompt", "negative"):
            if name in found and not isinstance(found[name], str):
                raise UsageError(f"{name} must be text, got {found[name]!r:.80}")
        return replace(self, **found)


def check_steps(steps: object) -> int:
    """Return denoising steps.

    Raises:
        UsageError: It is no integer from 1 to 1,000.
    """
    if type(steps) is not int or not 1 <= steps <= _MOST_STEPS:
        raise UsageError(
            f"steps must be an integer from 1 to {_MOST_STEPS}, got {steps!r}"
        )
    return steps


def check_guidance(guidance: object) -> float:
    """Return a scale of guidance.

    Raises:
        UsageError: It is no number from 0 to 100.
    """
    number = isinstance(guidance, int | float) and type(guidance) is not bool
    if not number or not 0 <= guidance <= _MOST_GUIDANCE:  # type: ignore[operator]
        raise UsageError(
            f"guidance must be from 0 to {_MOST_GUIDANCE:g}, got {guidance!r}"
        )
    return float(guidance)  # type: ignore[arg-type]


def check_strength(given: object) -> float | tuple[float, ...]:
    """Return a strength, or a ladder of them.

    Raises:
        UsageError: One is outside (0, 1].
    """
    ladder = isinstance(given, Sequence) and not isinstance(given, str)
    values: list[Any] = list(given) if ladder else [given]  # type: ignore[call-overload]
    sound = all(
        isinstance(one, int | float) and type(one) is not bool and 0 < one <= 1
        for one in values
    )
    if not values or not sound:
        raise UsageError(
            "strength must be above 0 and at most 1, or several such, of which each"
            f" image takes one by its seed; got {given!r:.80}"
        )
    found = tuple(float(one) for one in values)
    return found if ladder else found[0]


def _size(given: object) -> tuple[int, int]:
    if isinstance(given, int):
        return check_size(given, given)
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        return check_size(*given)
    raise UsageError(f"size must be (height, width) or one side, px, got {given!r:.80}")
