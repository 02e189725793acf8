"""Colour operations of many rows as rounds: an affine map, then one that is none.

Most colour operations are ``y = clamp(scale * x + offset, low, high)`` in each channel.
Such maps are closed under composition, so a run of them is one map. What is none of
them (hue, grey, a rectangle, ...) is a :data:`Kind`. A row is therefore

    affine, kind, affine, kind, ..., affine

and a batch is as many rounds as its longest row needs. Every row has kinds of its own:
rows of units that were drawn apart can have their operations in different orders.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Kind", "Rounds"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SCALE, OFFSET, LOW, HIGH = range(4)
_IDLE = np.array([1.0, 0.0, -np.inf, np.inf])[:, None]


class Kind(IntEnum):
    """What is done to a row between two affine maps, and its numbers."""

    NONE = 0
    HUE = 1
    """Turn of the hue in sixths of the circle; factor of the saturation (HSV)."""

    MIX = 2
    """Factor f, then a weight for each channel: f x + (1 - f) grey."""

    SHUFFLE = 3
    """Unused, then the channel that each channel is taken from."""

    ERASE = 4
    """First column, first row, columns, rows (px), and the value written there."""

    SOLARIZE = 5
    """Threshold: x where it is below, 1 - x elsewhere."""

    POSTERIZE = 6
    """Bits that are kept, 0 to 8."""

    MEAN = 7
    """As MIX, with the mean of the grey image in place of the grey image."""

    GAMMA = 8
    """Exponent, factor."""


class Rounds:
    """The rounds of some rows, written operation by operation.

    Args:
        rows: Flags of the batch, 1 and more.
        channels: Channels of the images, 1 and more.
        rounds: The most kinds that a row can get.
        unit: Whether values are known to be in [0, 1] at first.
    """

    def __init__(
        self, rows: int, channels: int, rounds: int, *, unit: bool = True
    ) -> None:
        self.channels = channels
        self._at = np.zeros(rows, np.intp)
        self._affine = np.zeros((rows, rounds + 1, 4, channels))
        self._affine[:] = _IDLE
        self._kind = np.zeros((rows, rounds), np.uint8)
        self._value = np.zeros((rows, rounds, max(5, channels + 1)))
        self._unit = np.full(rows, unit)

    def affine(
        self,
        on: Flags,
        scale: npt.ArrayLike = 1.0,
        offset: npt.ArrayLike = 0.0,
        clip: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        """Add a map to the rows that are ``on``.

        Args:
            on: bool [rows].
            scale: Numbers that broadcast to [rows, channels].
            offset: The same.
            clip: Bounds of the result.
        """
        rows = np.flatnonzero(on)
        if not len(rows):
            return
        shape = (len(on), self.channels)
        scale = np.broadcast_to(np.asarray(scale, np.float64), shape)[rows]
        offset = np.broadcast_to(np.asarray(offset, np.float64), shape)[rows]
        old = self._affine[rows, self._at[rows]]
        with np.errstate(invalid="ignore"):
            ends = scale[:, None] * old[:, LOW:] + offset[:, None]
        ends = np.where(scale[:, None] == 0, offset[:, None], ends)  # 0 * inf is nan
        new = np.empty_like(old)
        new[:, SCALE] = scale * old[:, SCALE]
        new[:, OFFSET] = scale * old[:, OFFSET] + offset
        new[:, LOW] = ends.min(1).clip(*clip)
        new[:, HIGH] = ends.max(1).clip(*clip)
        self._affine[rows, self._at[rows]] = new
        self._unit[rows] = (new[:, LOW] >= 0).all(1) & (new[:, HIGH] <= 1).all(1)

    def clamp(self, on: Flags) -> None:
        """Bring values of the rows that are ``on`` into [0, 1]."""
        self.affine(on & ~self._unit, clip=(0.0, 1.0))

    def kind(
        self, on: Flags, kind: Kind, *values: npt.ArrayLike, unit: bool = True
    ) -> None:
        """Add a kind to the rows that are ``on``.

        Args:
            on: bool [rows].
            kind: What is done.
            values: Its numbers, each a number or [rows].
            unit: Whether it leaves values in [0, 1] there.
        """
        rows = np.flatnonzero(on)
        if not len(rows):
            return
        at = self._at[rows]
        self._kind[rows, at] = kind
        for i, value in enumerate(values):
            spread = np.broadcast_to(np.asarray(value, np.float64), on.shape)
            self._value[rows, at, i] = spread[rows]
        self._at[rows] += 1
        self._unit[rows] &= unit

    def hue(self, on: Flags, turn: Floats, factor: Floats) -> None:
        """Add a turn of the hue (sixths of the circle) and a factor of the saturation.

        One that directly follows another joins it, if one turns and one multiplies.
        """
        on = on & ((turn != 0) | (factor != 1))
        before = np.maximum(self._at - 1, 0)
        every = np.arange(len(on))
        here = self._affine[every, self._at]
        idle = (here == _IDLE).all((1, 2))
        if self._kind.shape[1]:
            old = self._value[every, before]
            same = (self._at > 0) & (self._kind[every, before] == Kind.HUE)
            joins = on & same & idle & ((old[:, 1] == 1) | (factor == 1))
            turn = np.where(joins, turn + old[:, 0], turn)
            turn = turn - 6 * np.rint(turn / 6)
            self._value[every[joins], before[joins], 0] = turn[joins]
            self._value[every[joins], before[joins], 1] *= factor[joins]
            on = on & ~joins
        self.kind(on, Kind.HUE, turn, factor)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the rounds that are used.

        Returns:
            ``affine`` float32 [rows, rounds + 1, 4, channels]: scale, offset, low,
            high; ``todo`` uint8 [rows, rounds + 1]: bit i is set where entry i of
            these does anything; ``kind`` uint8 [rows, rounds]; ``value`` float32
            [rows, rounds, values].
        """
        rounds = int(self._at.max(initial=0))
        affine = self._affine[:, : rounds + 1].astype(np.float32)
        todo = np.packbits((affine != _IDLE).any(3), axis=2, bitorder="little")[..., 0]
        kind = self._kind[:, :rounds]
        found = {
            "affine": affine,
            "todo": todo,
            "kind": kind,
            "value": self._value[:, :rounds].astype(np.float32),
        }
        return {
            name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in found.items()
        }
