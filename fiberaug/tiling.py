"""Tiles of a photo: windows of one size that cover it, in a grid that can be shifted.

Along a side of S px with tiles of t px that overlap by at least o px there are
n = 1 + ceil((S - t) / (t - o)) tiles, one where S <= t. Their starts are spread evenly,
or, with a shift d in [0, slack], at min(max(0, i (t - o) - d), S - t); the slack is
(n - 1)(t - o) - (S - t). Either way the first begins at 0, the last ends at S, and
neighbours overlap by o px or more: every pixel is in a tile, and every box of at most
o px a side is whole in one, in each epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["Tile", "Tiling", "Window"]

_MOST_SIDE = 2**20


class Window(NamedTuple):
    """A part of a photo, px of the upright photo; the ends are not in it."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int


class Tile(NamedTuple):
    """One tile of a photo."""

    number: int
    """Of the tile in its photo, from 0, row by row."""

    window: Window
    """Where it lies."""

    width: int
    """Of the photo, px."""

    height: int
    """Of the photo, px."""

    def to_dict(self) -> dict[str, Any]:
        """Return what a record says of it."""
        return {
            "number": self.number,
            "window": list(self.window),
            "photo": [self.height, self.width],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How photos are cut; checked when it is made."""

    height: int
    """Of a tile, px. A photo that is smaller has tiles of its own height."""

    width: int
    """Of a tile, px; likewise."""

    overlap: int = 0
    """Least overlap of neighbours, px, in [0, shorter side of a tile)."""

    visibility: float = 0.1
    """Least part of a box's area, or of a mask's pixels, that must lie in a tile for
    the object to be there, in [0, 1]."""

    keep_empty: bool = True
    """Whether tiles without an object are samples."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: One is out of range.
        """
        for name in ("height", "width"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _MOST_SIDE:
                raise UsageError(
                    f"tile: {name} must be a whole number of px in [1, {_MOST_SIDE}],"
                    f" got {value!r}"
                )
        most = min(self.height, self.width)
        if type(self.overlap) is not int or not 0 <= self.overlap < most:
            raise UsageError(
                f"overlap must be a whole number of px in [0, {most}), smaller than the"
                f" tile, got {self.overlap!r}"
            )
        if not 0 <= self.visibility <= 1:
            raise UsageError(f"visibility must be in [0, 1], got {self.visibility!r}")

    @classmethod
    def of(
        cls,
        tile: int | Sequence[int] | None,
        *,
        overlap: int = 0,
        visibility: float = 0.1,
        keep_empty: bool = True,
    ) -> Self | None:
        """Return the tiling that the user asked for; None where there is none.

        Args:
            tile: (height, width) of a tile, px, or one number for both.
            overlap: See the class.
            visibility: See the class.
            keep_empty: See the class.

        Raises:
            UsageError: A value is out of range, or says nothing without ``tile``.
        """
        if tile is None:
            if overlap or not keep_empty:
                said = f"overlap={overlap}" if overlap else "keep_empty=False"
                raise UsageError(f"{said} is for tiles: say tile=(height, width) too")
            return None
        sides = (tile, tile) if isinstance(tile, int) else tuple(tile)
        if isinstance(tile, str | bool) or len(sides) != 2:
            raise UsageError(f"tile must be (height, width) in px, got {tile!r}")
        return cls(
            height=sides[0], width=sides[1], overlap=overlap, visibility=visibility,
            keep_empty=keep_empty,
        )  # fmt: skip

    def describe(self) -> str:
        """Return what stands in the state of a run."""
        empty = "" if self.keep_empty else ", none empty"
        return (
            f"{self.height}x{self.width} overlap {self.overlap}"
            f" visibility {self.visibility!r}{empty}"
        )

    def counts(
        self, widths: NDArray[np.integer], heights: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Return the tiles of each photo, int64 [N], of widths and heights in px."""
        along = self._along(widths, self.width), self._along(heights, self.height)
        return along[0] * along[1]

    def count(self, width: int, height: int) -> int:
        """Return the tiles of a photo.

        >>> Tiling(height=1024, width=1024, overlap=128).count(3024, 4032)
        20
        """
        return int(self.counts(np.asarray([width]), np.asarray([height]))[0])

    def _along(self, sides: NDArray[np.integer], size: int) -> NDArray[np.int64]:
        left = np.maximum(0, np.asarray(sides, np.int64) - size)
        return 1 + -(-left // (size - self.overlap))

    def tile(
        self,
        number: int,
        width: int,
        height: int,
        shift: tuple[float, float] | None = None,
    ) -> Tile:
        """Return a tile of a photo.

        Args:
            number: Of the tile, row by row, from 0.
            width: Of the photo, px.
            height: Of the photo, px.
            shift: Part of the slack, in [0, 1), that the grid is shifted by along x and
                y. None: tiles are spread evenly.

        Raises:
            IndexError: The photo has no such tile.

        >>> Tiling(height=4, width=4, overlap=1).tile(1, 9, 4).window
        Window(x_min=2, y_min=0, x_max=6, y_max=4)
        """
        columns = int(self._along(np.asarray([width]), self.width)[0])
        rows = int(self._along(np.asarray([height]), self.height)[0])
        if not 0 <= number < columns * rows:
            raise IndexError(f"tile must be in [0, {columns * rows}), got {number}")
        row, column = divmod(number, columns)
        x, y = shift if shift is not None else (None, None)
        x_min = self._start(column, columns, width, self.width, x)
        y_min = self._start(row, rows, height, self.height, y)
        x_max, y_max = x_min + min(self.width, width), y_min + min(self.height, height)
        return Tile(number, Window(x_min, y_min, x_max, y_max), width, height)

    def _start(
        self, number: int, count: int, side: int, size: int, shift: float | None
    ) -> int:
        if count == 1:
            return 0
        last, step = side - size, size - self.overlap
        if shift is None:
            return number * last // (count - 1)
        slack = (count - 1) * step - last
        return min(max(0, number * step - int(shift * (slack + 1))), last)
