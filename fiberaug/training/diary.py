"""A training in writing: all figures as a table and as a picture, and the notes."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiberaug.files import write_atomically
from fiberaug.training.contracts import Verdict, View
from fiberaug.training.curves import draw_curves
from fiberaug.training.notes import Notes
from fiberaug.training.pace import Pace
from fiberaug.training.tables import Table

__all__ = ["Diary"]

_FIRST = ("step", "nimg", "seconds", "images_per_s")


class Diary:
    """Writes ``loss.csv``, ``loss.png`` and ``log.jsonl`` into the folder.

    ``loss.csv`` has a row a step: its number (from 1), images shown, seconds of
    training, images/s and all figures. After a training went on, also from an earlier
    state, the rows are those of an unbroken one; only times differ. Watchers that add
    figures of their own come before it; such a figure, which has a ``/`` in its name
    and stays until it is measured again, is written when it changes.

    Args:
        every: Images from one drawing of ``loss.png`` to the next. None: a
            fiftieth of all, but at least 2,000.
        log: Whether the picture shows values in powers of ten. None: where that shows
            more.

    Raises:
        UsageError: ``every`` is below 1.
    """

    def __init__(self, *, every: int | None = None, log: bool | None = None) -> None:
        self._pace, self._log = Pace(every, times=50, least=2_000), log
        self._table: Table | None = None
        self._notes: Notes | None = None
        self._cut = True
        self._told = 0
        self._seconds = 0.0
        self._carried: float | None = None
        self._known: dict[str, float] = {}

    def begin(self, view: View) -> None:
        """Open the files."""
        self._table = Table(view.out / "loss.csv", _FIRST)
        self._notes = Notes(view.out / "log.jsonl")
        self._cut, self._told = True, 0
        self._note(view)

    def step(self, view: View) -> Verdict | None:
        """Write a row and what is new among the notes."""
        table = self._ready(view, view.step - 1)
        if self._carried is None:
            self._carried = self._seconds
        self._seconds = self._carried + view.seconds
        table.add(
            {
                "step": view.step,
                "nimg": view.nimg,
                "seconds": round(self._seconds, 3),
                "images_per_s": view.images_per_s,
                **self._new(view.figures),
            }
        )
        self._note(view)
        if self._pace.due(view):
            self._draw(view)
        return None

    def end(self, view: View) -> None:
        """Write what waits, and draw the picture."""
        self._ready(view, view.step)
        self._note(view)
        self._draw(view)

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far; all rows so far are on disk then."""
        if self._table is not None:
            self._table.flush()
        return {"seconds": round(self._seconds, 3), "known": dict(self._known)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: rows after it are taken back with the next step."""
        self._seconds = float(state["seconds"])
        self._known = dict(state["known"])
        self._cut = True

    def _new(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return figures without those that stayed since they were measured."""
        staying = {name: value for name, value in figures.items() if "/" in name}
        before, self._known = self._known, staying
        return {
            name: value
            for name, value in figures.items()
            if name not in staying or str(before.get(name)) != str(value)  # also nan
        }

    def _ready(self, view: View, step: int) -> Table:
        """Return the table, without rows beyond a step."""
        if self._table is None:
            self.begin(view)
        assert self._table is not None  # noqa: S101  # for the type
        if self._cut:
            self._table.cut(step)
            self._cut = False
        return self._table

    def _note(self, view: View) -> None:
        if self._notes is not None and len(view.notes) != self._told:
            self._notes.add(view.notes, step=view.step, nimg=view.nimg)
            self._told = len(view.notes)

    def _draw(self, view: View) -> None:
        if self._table is None:
            return
        self._table.flush()
        if self._table.path.exists():
            picture = io.BytesIO()
            draw_curves(self._table.path, log=self._log).save(picture, "PNG")
            write_atomically(Path(view.out, "loss.png"), picture.getvalue())
