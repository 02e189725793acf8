"""Numbers that change while a training goes on: learning rates, weights of penalties.

A ramp is a function of the share of the images shown, not of steps: it is the same for
any batch size and any number of ranks.
"""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

from fiberaug.errors import UsageError

__all__ = ["Ramp"]

_SHAPES = ("constant", "linear", "cosine")
_HOW = (
    'a ramp is a number, "constant 1e-3", "linear 1e-3 1e-4" or "cosine 1e-3 1e-4", the'
    " last two also with the share of the run that it takes: "
    '"linear 0 1e-3 0.1"'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """A number as a function of how far a training is.

    >>> ramp = Ramp.of("cosine 1e-3 1e-4")
    >>> ramp.at(0, 1_000), ramp.at(1_000, 1_000)
    (0.001, 0.0001)
    >>> str(Ramp.of("linear 1 0.5 0.25")), Ramp.of("linear 1 0.5 0.25").at(125, 1_000)
    ('linear 1 0.5 0.25', 0.75)
    """

    shape: str = "constant"
    """``constant``, ``linear`` (a straight line) or ``cosine`` (half a cosine)."""

    start: float
    """Value at the first image; any finite number."""

    end: float
    """Value when ``share`` of the images were shown, and from there on."""

    share: float = 1.0
    """Part of the run in which it goes from start to end, in (0, 1]."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: The shape is unknown, or a number is out of its range.
        """
        if self.shape not in _SHAPES:
            raise UsageError(f"the ramp's shape is {self.shape!r:.80}; {_HOW}")
        for name, value in (("start", self.start), ("end", self.end)):
            if not math.isfinite(value):
                raise UsageError(f"the ramp's {name} must be finite, got {value!r}")
        if self.shape == "constant" and self.start != self.end:
            raise UsageError(
                f"a constant ramp has one value, got {self.start:g} and {self.end:g}"
            )
        if not 0 < self.share <= 1:
            raise UsageError(
                f"a ramp takes a share of the run in (0, 1], got {self.share!r}"
            )

    @classmethod
    def of(cls, value: Any) -> Self:  # noqa: ANN401  # a user's value
        """Return the ramp that a number, a text or a ramp means.

        Args:
            value: A number or ``"1e-3"`` (constant), ``"linear 1e-3 1e-4"``,
                ``"cosine 1e-3 1e-4 0.5"`` (shape, start, end, share of the run; without
                a share all of it), or a ramp.

        Raises:
            UsageError: It is none of these, or a number is out of its range.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Real) and not isinstance(value, bool):
            return cls(start=float(value), end=float(value))
        if not isinstance(value, str):
            raise UsageError(f"{_HOW}; got {value!r:.80}")
        words = value.split()
        shape = words.pop(0) if words and words[0] in _SHAPES else "constant"
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise UsageError(f"{_HOW}; got {value!r:.80}") from None
        if shape == "constant" and len(numbers) == 1:
            return cls(start=numbers[0], end=numbers[0])
        if shape == "constant" or not 2 <= len(numbers) <= 3:
            raise UsageError(f"{_HOW}; got {value!r:.80}")
        start, end, *share = numbers
        return cls(shape=shape, start=start, end=end, share=share[0] if share else 1.0)

    def at(self, nimg: int, total: int) -> float:
        """Return the value when ``nimg`` of ``total`` images were shown.

        Args:
            nimg: Images shown so far, over all ranks; beyond ``total`` the end stays.
            total: Images that are shown in all, >= 1.
        """
        done = nimg / (total * self.share)
        if done <= 0:
            return self.start
        if done >= 1:
            return self.end
        if self.shape == "cosine":
            done = 0.5 - 0.5 * math.cos(math.pi * done)
        return self.start + (self.end - self.start) * done

    @property
    def least(self) -> float:
        """The smallest value that it ever has."""
        return min(self.start, self.end)

    @property
    def most(self) -> float:
        """The largest value that it ever has."""
        return max(self.start, self.end)

    def __str__(self) -> str:
        """Return the text that :meth:`of` makes the same ramp of."""
        if self.shape == "constant":
            return _number(self.start)
        share = "" if self.share == 1 else f" {_number(self.share)}"
        return f"{self.shape} {_number(self.start)} {_number(self.end)}{share}"


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
