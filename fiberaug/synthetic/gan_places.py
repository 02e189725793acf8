"""Where windows lie that a generator makes: given, or drawn from the seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["Frames", "given_places"]

_STREAM = 1  # beside that of the latents, which begins with the seed alone


@dataclass(frozen=True, slots=True)
class Frames:
    """Which windows a generator was trained on."""

    scales: tuple[float, float] = (1.0, 1.0)
    """Least and most photo px per window px."""

    photo: tuple[float, float] | None = None
    """(height, width) of the photos, px; None: not known, middles are anywhere."""

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Self:
        """Return those of a generator's notes, ``scales`` and ``photo_px``.

        Raises:
            UsageError: They are no two such numbers each.
        """
        scales = _pair(notes.get("scales", (1.0, 1.0)))
        if scales is None or scales[0] > scales[1]:
            raise UsageError(
                "scales must be the least and the most photo px per window px, such as"
                f" [1, 8], got {notes.get('scales')!r:.80}"
            )
        photo = notes.get("photo_px")
        sides = None if photo is None else _pair(photo)
        if photo is not None and sides is None:
            raise UsageError(
                f"photo_px must be height and width of the photos, got {photo!r:.80}"
            )
        return cls(scales, sides)

    def draw(
        self, seeds: Sequence[int], size: tuple[int, int] | None
    ) -> NDArray[np.float32]:
        """Return a place for each seed, float32 [N, 3]; see ``RealBatch`` of training.

        The scale is log-uniform, and the middle uniform where a window of that scale
        lies within the photo.

        Args:
            seeds: Each in [0, 2**63).
            size: (height, width) of a window, px; None: not known.
        """
        low, high = (math.log2(one) for one in self.scales)
        found = np.empty((len(seeds), 3), np.float32)
        for row, seed in zip(found, seeds, strict=True):
            drawn = np.random.default_rng([int(seed), _STREAM]).random(3)
            scale = low + drawn[2] * (high - low)
            row[:] = 2 * drawn[0] - 1, 2 * drawn[1] - 1, scale
            if self.photo is not None and size is not None:
                shares = 2**scale * np.array(size) / np.array(self.photo)
                row[:2] *= np.clip(1 - shares, 0, 1)
        return found


def _pair(told: object) -> tuple[float, float] | None:
    """Return two numbers above 0; None: it is something else."""
    sound = (
        isinstance(told, list | tuple)
        and len(told) == 2
        and all(type(one) in {int, float} and 0 < one < 2**20 for one in told)
    )
    return (float(told[0]), float(told[1])) if sound else None  # type: ignore[index]  # sound


def given_places(places: object, rows: int) -> NDArray[np.float32]:
    """Return places that a user gives, float32 [N, 3].

    Args:
        places: Numbers [N, 3], or [3] for all.
        rows: N.

    Raises:
        UsageError: They are of another shape, or not finite.
    """
    try:
        found = np.asarray(places, np.float32)
        found = np.broadcast_to(found, (rows, 3)) if found.ndim == 1 else found
    except (TypeError, ValueError):
        found = np.empty(0, np.float32)
    if found.shape != (rows, 3) or not np.isfinite(found).all():
        raise UsageError(
            f"places must be {rows} times (down, right, log2 of photo px per window"
            f" px), or one for all, got {places!r:.80}"
        )
    return np.array(found)  # of its own memory: the user may write to theirs
