"""Arguments and draws that the policies on single images share."""

from collections.abc import Sequence
from inspect import signature
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from fiberaug.magnitudes import NOTHING, OPERATIONS, Numbers, Whole

__all__ = [
    "Interpolation",
    "Level",
    "Levels",
    "Share",
    "TransformNumbers",
    "as_levels",
    "chain",
    "spec_of",
]

Interpolation = Literal["nearest", "bilinear"]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=0, le=255)]
Levels = Level | Annotated[Sequence[Level], Field(min_length=1, max_length=3)]
"""A level from 0 to 255, or one for each channel."""


class TransformNumbers:
    """A transform's numpy generator, as policies draw from it."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator

    def uniform(self, shape: tuple[int, ...]) -> Numbers:
        """Return float64 in [0, 1)."""
        return self._generator.random(shape)

    def gamma(self, alpha: float, shape: tuple[int, ...]) -> Numbers:
        """Return float64, gamma distributed."""
        return self._generator.standard_gamma(alpha, shape)


def chain(
    operations: Whole, magnitudes: Numbers
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the names and magnitudes of the steps in which anything is done."""
    done = operations != NOTHING
    names = tuple(OPERATIONS[number] for number in operations[done])
    return names, tuple(magnitudes[done].tolist())


def as_levels(levels: Any) -> Any:  # noqa: ANN401  # a number, text or a sequence
    """Return levels as a transform holds them: a sequence as a tuple."""
    return tuple(levels) if isinstance(levels, list) else levels


def spec_of(transform: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Return a transform as it stands in a recipe: ``{name: {argument: value}}``."""
    found = {}
    for name in list(signature(type(transform).__init__).parameters)[1:]:
        value = getattr(transform, name)
        found[name] = list(value) if isinstance(value, tuple) else value
    return {type(transform).__name__: found}
