"""How far a training is, for who looks at a terminal or at its log."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from fiberaug.bars import ProgressBar
from fiberaug.training.contracts import Verdict, View

__all__ = ["Console", "summary"]

_EVERY_S = 60.0
_SHOWN = ("gap", "judge/kid")
_log = logging.getLogger("fiberaug")


class Console:
    """Shows a bar on a terminal; elsewhere it logs a line a minute, as ``INFO``.

    Args:
        every_s: Seconds from one line of the log to the next, >= 0. Nothing of the
            training depends on it.
    """

    def __init__(self, *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._bar: ProgressBar | None = None
        self._told = 0.0

    def begin(self, view: View) -> None:
        """Show the bar, where there is a terminal."""
        self._told = time.monotonic()
        if sys.stderr.isatty():
            self._bar = ProgressBar(
                total=view.total, initial=min(view.nimg, view.total), desc="train",
                unit="img", unit_scale=True, dynamic_ncols=True,
            )  # fmt: skip

    def step(self, view: View) -> Verdict | None:
        """Bring the bar or the log up to date."""
        if self._bar is not None:
            self._bar.set_postfix_str(_losses(view.figures), refresh=False)
            self._bar.update(min(view.nimg, view.total) - self._bar.n)
        elif time.monotonic() - self._told >= self._every_s:
            self._told = time.monotonic()
            _log.info(summary(view))
        return None

    def end(self, view: View) -> None:
        """Leave the bar as it is, or log where the training ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        else:
            _log.info(summary(view))

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: it looks at what is."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def summary(view: View) -> str:
    """Return a line: images shown, images/s, time left, losses."""
    shown = min(view.nimg, view.total)
    words = [f"{shown:,} of {view.total:,} images ({shown / view.total:.0%})"]
    if view.images_per_s > 0:
        words.append(f"{view.images_per_s:,.3g} images/s")
        if view.total > shown:
            words.append(f"{_duration((view.total - shown) / view.images_per_s)} left")
    losses = _losses(view.figures)
    return f"{', '.join(words)}; {losses}" if losses else ", ".join(words)


def _losses(figures: Mapping[str, float]) -> str:
    """Return losses, and what tells most beside them: ``critic 0.61 gap 0.35``."""
    names = [name for name in figures if name.startswith("loss")]
    names += [name for name in _SHOWN if name in figures]
    return " ".join(
        f"{name.rpartition('/')[2].removeprefix('loss_')} {figures[name]:.3g}"
        for name in names
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
