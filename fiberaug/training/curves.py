"""The figures of a training as curves: read from its table, drawn as one picture."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import DataRefused, UsageError
from fiberaug.training.plotting import Curve, Panel, draw_panels
from fiberaug.training.tables import read_table

__all__ = ["draw_curves"]

_BINS = 300
_X = ("step", "nimg", "seconds")
_TOGETHER = {
    "losses": ("loss_critic", "loss_generator", "loss"),
    "critic: pairs told apart": ("right",),
    "critic: gap of logits": ("gap",),
    "judge": (
        "judge/precision", "judge/recall", "judge/density", "judge/coverage",
    ),
    "judge: kid": ("judge/kid", "judge/kid_error"),
    "judge: copies": ("judge/near_copies", "judge/given_back", "judge/given_back_low"),
    "judge: train": ("judge/closer_to_train", "judge/closer_to_train_low"),
}  # fmt: skip
"""Titles of panels, and the figures that share one; all others have their own."""


class _Series(NamedTuple):
    nimg: NDArray[np.float64]
    value: NDArray[np.float64]


def draw_curves(table: Path, *, log: bool | None = None) -> Image.Image:
    """Return the figures of a training as a picture, RGB.

    A panel shows figures of one kind over the images shown: the mean of neighbouring
    steps as a line, and from the smallest to the largest of them as a band.

    Args:
        table: The ``loss.csv`` of a training.
        log: Whether values are shown in powers of ten, where all are above 0. None:
            where that shows more.

    Raises:
        UsageError: There is no such file.
        DataRefused: It is no table of a training.
    """
    if not table.is_file():
        raise UsageError(f"{table} is no file; a training writes loss.csv")
    series = _read(table)
    end = max((one.nimg[-1] for one in series.values()), default=1.0)
    panels = [
        Panel(
            title=title,
            curves=[_curve(name, series[name], end) for name in names],
            log=log,
        )
        for title, names in _grouped(series)
    ]
    return draw_panels(panels, title=f"{end:,.0f} images shown", end=float(end))


def _read(table: Path) -> dict[str, _Series]:
    """Return the figures that have values, by name, in order of the columns."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in read_table(table):
        try:
            nimg = float(row["nimg"])
            for name, text in row.items():
                if text and name not in _X:
                    xs, ys = found.setdefault(name, ([], []))
                    xs.append(nimg)
                    ys.append(float(text))
        except (KeyError, ValueError):
            raise DataRefused(
                f"{table} is no table of a training: step {row['step']} has no number"
            ) from None
    return {
        name: _Series(np.asarray(xs), np.asarray(ys))
        for name, (xs, ys) in found.items()
    }


def _grouped(series: Mapping[str, _Series]) -> Iterable[tuple[str, list[str]]]:
    """Yield the panels: title and the figures in it."""
    left = dict.fromkeys(series)
    for title, names in _TOGETHER.items():
        there = [name for name in names if name in left]
        if there:
            yield title, there
        for name in there:
            del left[name]
    for name in left:
        yield name.replace("/", ": ").replace("_", " "), [name]


def _curve(name: str, series: _Series, end: float) -> Curve:
    """Return a figure as at most some hundred points with the range of each."""
    short = name.rpartition("/")[2].removeprefix("loss_").replace("_", " ")
    count = len(series.nimg)
    if count <= _BINS:
        place, starts = np.arange(count), np.arange(count)
    else:
        place = np.minimum(series.nimg / end * _BINS, _BINS - 1).astype(np.int64)
        starts = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = np.diff(starts, append=count)
    finite = np.where(np.isfinite(series.value), series.value, np.nan)
    return Curve(
        name=short,
        x=np.add.reduceat(series.nimg, starts) / sizes,
        y=np.add.reduceat(finite, starts) / sizes,
        low=np.minimum.reduceat(finite, starts),
        high=np.maximum.reduceat(finite, starts),
        last=float(series.value[-1]),
    )
