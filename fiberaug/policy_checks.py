"""Arguments of augmentation policies, checked with the value and the bound."""

from collections.abc import Sequence
from typing import TypeGuard

from fiberaug.errors import UsageError

__all__ = [
    "INTERPOLATIONS",
    "Fill",
    "check_chance",
    "check_erased",
    "check_levels",
    "check_number",
    "check_pair",
    "check_pixels",
    "check_whole",
    "is_number",
]

INTERPOLATIONS = ("nearest", "bilinear")

Fill = float | Sequence[float]
"""A level from 0 to 255, or one for each channel."""


def check_pixels(
    interpolation: object, fill: object, fill_mask: object = 0, p: object = 1
) -> None:
    """Check how pixels are moved, what comes from outside of the image, and how often.

    Raises:
        UsageError: An argument is out of its bounds.
    """
    if interpolation not in INTERPOLATIONS:
        raise UsageError(
            f"interpolation must be one of {INTERPOLATIONS}, got {interpolation!r}"
        )
    check_levels("fill", fill)
    check_number("fill_mask", fill_mask, -65535, 65535)
    check_chance(p)


def check_chance(p: object) -> None:
    """Check a probability.

    Raises:
        UsageError: It is none.
    """
    check_number("p", p, 0, 1)


def check_levels(name: str, levels: object) -> None:
    """Check a :data:`Fill`.

    Raises:
        UsageError: It is none.
    """
    listed = levels if isinstance(levels, list | tuple) else [levels]
    fits = all(is_number(level) and 0 <= level <= 255 for level in listed)
    if len(listed) not in {1, 3} or not fits:
        raise UsageError(
            f"{name} must be a level from 0 to 255, or one for each of 1 or 3 channels,"
            f" got {levels!r}"
        )


def check_erased(value: object) -> None:
    """Check what random erasing puts into a rectangle: ``random``, or a :data:`Fill`.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, str) and value != "random":
        raise UsageError(
            f"value must be 'random', or a level from 0 to 255, got {value!r}"
        )
    if value != "random":
        check_levels("value", value)


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Check a whole number.

    Raises:
        UsageError: It is none, or out of its bounds.
    """
    if type(value) is not int or not low <= value <= high:
        raise UsageError(
            f"{name} must be a whole number from {low} to {high}, got {value!r}"
        )


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Check a number.

    Raises:
        UsageError: It is none, or out of its bounds.
    """
    if not is_number(value) or not low <= value <= high:
        raise UsageError(f"{name} must be from {low} to {high}, got {value!r}")


def check_pair(name: str, pair: object, low: float, high: float) -> None:
    """Check two numbers, the second at least the first and above 0.

    Raises:
        UsageError: They are none, or out of their bounds.
    """
    fits = (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(map(is_number, pair))
        and low <= pair[0] <= pair[1] <= high
        and pair[1] > 0
    )
    if not fits:
        raise UsageError(
            f"{name} must be two numbers that rise, from {low} to {high}, got {pair!r}"
        )


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
