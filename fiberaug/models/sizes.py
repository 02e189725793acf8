"""How a size is reached: a small base that is doubled some times."""

import math
from dataclasses import dataclass

from fiberaug.errors import UsageError
from fiberaug.sizes import parse_sides

__all__ = ["LARGEST_BASE", "LONGEST", "SHORTEST", "SizePlan", "plan_size", "sides_of"]

SHORTEST, LONGEST = 4, 4096
"""Sides that images may have, px."""

LARGEST_BASE = 16
"""Longest side of a base, px: it is learned pixel by pixel."""

_GOOD_BASE, _LEAST_BASE = 3, 2
_NAMED = 3  # nearest sizes that an error names


@dataclass(frozen=True, kw_only=True, slots=True)
class SizePlan:
    """A size, and the base that it is doubled from.

    >>> print(plan_size("96x128"))
    height 96, width 128, landscape: 3x4 doubled 5 times
    """

    height: int
    """Of the images, px."""

    width: int
    """Of the images, px."""

    base: tuple[int, int]
    """(height, width) of the smallest level, px: each side 2 to 16."""

    doublings: int
    """How often both sides of the base are doubled, >= 1."""

    def __str__(self) -> str:
        """Return what a person reads."""
        shape = "square" if self.height == self.width else "portrait"
        shape = "landscape" if self.width > self.height else shape
        times = "once" if self.doublings == 1 else f"{self.doublings} times"
        base = "x".join(map(str, self.base))
        return (
            f"height {self.height}, width {self.width}, {shape}: {base} doubled {times}"
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images, px."""
        return self.height, self.width

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each level, px, from the base to the whole size."""
        height, width = self.base
        return tuple((height << i, width << i) for i in range(self.doublings + 1))


def plan_size(size: int | tuple[int, int] | str) -> SizePlan:
    """Return the base and the doublings that give a size.

    There are as many doublings as leave each side of the base 3 px or more; 2 px where
    that gives no base.

    Args:
        size: (height, width) in px, each 4 to 4,096; text such as ``"96x128"``; or one
            number for both.

    Raises:
        UsageError: It is no such size, or no base of at most 16 px a side gives it: the
            nearest sizes that are possible are named.

    >>> plan_size(28).base, plan_size((64, 64)).doublings
    ((7, 7), 4)
    """
    height, width = sides_of(size, SHORTEST, LONGEST)
    doublings = _doublings(height, width)
    base = height >> doublings, width >> doublings
    if not doublings or max(base) > LARGEST_BASE:
        halved = (
            f"halving stops at {base[0]}x{base[1]}" if doublings else "a side is odd"
        )
        raise UsageError(
            f"size {height}x{width} is no doubling of a base of at most"
            f" {LARGEST_BASE}x{LARGEST_BASE} px ({halved}); nearest sizes that are:"
            f" {', '.join(f'{h}x{w}' for h, w in _nearest(height, width))}"
        )
    return SizePlan(height=height, width=width, base=base, doublings=doublings)


def sides_of(size: object, shortest: int, longest: int) -> tuple[int, int]:
    """Return (height, width) of images, px.

    Args:
        size: Both, text such as ``"96x128"``, or one number for both.
        shortest: Least of each.
        longest: Most of each.

    Raises:
        UsageError: It is no such size, or out of range.
    """
    if isinstance(size, str):
        sides: tuple[object, ...] = parse_sides(size)
    elif isinstance(size, tuple | list):
        sides = tuple(size)
    else:
        sides = (size, size)
    found = [one for one in sides if type(one) is int and shortest <= one <= longest]
    if len(found) != 2 or len(sides) != 2:
        raise UsageError(
            f"size must be height and width, each {shortest} to {longest} px, such as"
            f' 64, (96, 128) or "96x128", got {size!r:.60}'
        )
    return found[0], found[1]


def _doublings(height: int, width: int) -> int:
    """Return how often both sides can be halved; a base of 2 px only where it must."""
    count = 0
    for least in (_GOOD_BASE, _LEAST_BASE):
        while (
            not (height >> count) % 2
            and not (width >> count) % 2
            and min(height, width) >> (count + 1) >= least
        ):
            count += 1
        if count and max(height, width) >> count <= LARGEST_BASE:
            break
    return count


def _nearest(height: int, width: int) -> list[tuple[int, int]]:
    """Return sizes that are possible: sides and aspect change least, as logarithms."""
    found: dict[tuple[int, int], float] = {}
    for doublings in range(1, LONGEST.bit_length()):
        heights, widths = (_around(side, doublings) for side in (height, width))
        for high in heights:
            for wide in widths:
                up, across = math.log(high / height), math.log(wide / width)
                far = up**2 + across**2 + (up - across) ** 2
                found[high, wide] = far
    return sorted(found, key=lambda one: (found[one], one))[:_NAMED]


def _around(side: int, doublings: int) -> list[int]:
    """Return the two sides nearest to one that a base with these doublings has."""
    bases = range(_LEAST_BASE, LARGEST_BASE + 1)
    fits = [base << doublings for base in bases if base << doublings <= LONGEST]
    return sorted(fits, key=lambda one: (abs(math.log(one / side)), one))[:2]
