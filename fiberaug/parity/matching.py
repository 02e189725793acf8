"""How one image became another: turned, channels swapped, resized, normalised.

Each way of turning and each order of channels is tried; for each a line ``theirs = a *
ours + b`` is fitted to every channel by least squares. What leaves the least wins, and
nothing beats "as it is" unless it is far better.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["NORMALIZATIONS", "Line", "Match", "match", "normalization"]

Line = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of images in [0, 1], by channel."""

_TURNS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda x: x,
    "mirrored": lambda x: x[:, ::-1],
    "upside down": lambda x: x[::-1, ::-1],
    "flipped": lambda x: x[::-1],
    "transposed": lambda x: x.transpose(1, 0, 2),
    "turned left": np.rot90,
    "turned right": lambda x: np.rot90(x, 3),
    "transversed": lambda x: np.rot90(x, 2).transpose(1, 0, 2),
}
NORMALIZATIONS: Mapping[str, Line] = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "[-1, 1]": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "[0, 1]": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""By what people call them."""

_FITTED = 20_000  # pixels a fit looks at
_FAR_BETTER = 0.5  # of what "as it is" leaves
_EXACT = 0.75  # levels that are only rounding


class Match(NamedTuple):
    """How an image of the user's loader follows from ours."""

    turn: str
    """How it is turned; empty: not at all."""

    swapped: bool
    """Whether red and blue are swapped."""

    resized: bool
    scale: NDArray[np.float64]
    """a of each channel of theirs."""

    shift: NDArray[np.float64]
    """b of each channel of theirs."""

    mean_levels: float
    """Mean absolute difference that is left, levels of 255."""

    max_levels: float
    flat: bool
    """Whether there is too little in the image to fit a line to it."""


def match(ours: np.ndarray, theirs: np.ndarray) -> Match | None:
    """Return how one image became the other; None where channels do not fit.

    Args:
        ours: uint8 [H, W, C].
        theirs: Any dtype, [H, W, C].
    """
    if theirs.shape[2] == 1 and ours.shape[2] == 3:
        ours = cv2.cvtColor(ours, cv2.COLOR_RGB2GRAY)[:, :, None]
    if ours.shape[2] != theirs.shape[2] or not theirs.size:
        return None
    target = theirs.astype(np.float64)
    best: Match | None = None
    for turn, swapped, resized, picture in _ways(ours, theirs.shape):
        found = _fit(picture, target, turn=turn, swapped=swapped, resized=resized)
        bar = np.inf if best is None else best.mean_levels
        if best is not None and not (best.turn or best.swapped):
            bar = best.mean_levels * _FAR_BETTER
        if found.mean_levels < bar:
            best = found
        if best is not None and best.mean_levels < _EXACT:
            break
    return best


def _ways(
    ours: np.ndarray, shape: tuple[int, ...]
) -> Iterator[tuple[str, bool, bool, np.ndarray]]:
    """Yield (turn, swapped, resized, picture); the likeliest first."""
    orders = (False, True) if ours.shape[2] == 3 else (False,)
    turned = {name: turn(ours) for name, turn in _TURNS.items()}
    fitting = {name: p for name, p in turned.items() if p.shape == shape}
    resized = not fitting
    if resized:
        height, width = shape[:2]
        fitting = {
            name: cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA).reshape(
                height, width, -1
            )
            for name, p in turned.items()
        }
    for name, picture in fitting.items():
        for swapped in orders:
            yield name, swapped, resized, picture[:, :, ::-1] if swapped else picture


def _fit(
    ours: np.ndarray, theirs: NDArray[np.float64], *, turn: str, swapped: bool,
    resized: bool,
) -> Match:  # fmt: skip
    every = max(1, ours[:, :, 0].size // _FITTED)
    x = ours.reshape(-1, ours.shape[2])[::every].astype(np.float64)
    y = theirs.reshape(-1, theirs.shape[2])[::every]
    mean_x, mean_y = x.mean(0), y.mean(0)
    spread = ((x - mean_x) ** 2).mean(0)
    flat = bool((spread < 4).any())
    scale = ((x - mean_x) * (y - mean_y)).mean(0) / np.maximum(spread, 1e-9)
    scale = np.where(scale > 1e-9, scale, 1e-9)  # an image that is inverted fits not
    shift = mean_y - scale * mean_x
    known = normalization(scale, shift)
    if known is not None:
        scale, shift = _line(*known)
    elif np.abs(scale - 1).max() < 0.02 and np.abs(shift).max() < 4:
        scale, shift = np.ones_like(scale), np.zeros_like(shift)
    left = np.abs((theirs - shift) / scale - ours)
    return Match(
        turn,
        swapped,
        resized,
        scale,
        shift,
        float(left.mean()),
        float(left.max()),
        flat,
    )


def _line(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a and b of ``(x / 255 - mean) / std``."""
    return 1 / (255 * np.asarray(std)), -np.asarray(mean) / np.asarray(std)


def normalization(
    scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> Line | None:
    """Return (mean, std) of images in [0, 1] where a line is a known normalisation.

    The channels may be in either order.
    """
    for mean, std in NORMALIZATIONS.values():
        for step in (1, -1):
            if len(scale) not in {1, 3}:
                continue
            means, stds = mean[::step][: len(scale)], std[::step][: len(scale)]
            a, b = _line(means, stds)
            off = np.abs((scale - a) * 255 / a).max() + np.abs((shift - b) / a).max()
            if off < 8:  # levels; any two of them are further apart
                return means, stds
    return None
