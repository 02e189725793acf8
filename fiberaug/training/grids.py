"""Generated images as one looks at them, from the same seeds all through a training."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.files import write_atomically
from fiberaug.training.contracts import Photos, Verdict, View
from fiberaug.training.pace import Pace
from fiberaug.training.tiles import Row, columns_of, lay_out

__all__ = ["Grids", "picture_of"]

_LEAST_ROWS, _MOST_ROWS = 4, 10  # where there are classes
_PHOTOS_EACH = 4  # looked through for each photo shown: classes are seldom even
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the pictures show: row by row."""

    names: tuple[str, ...]
    columns: int
    seeds: tuple[int, ...]
    labels: tuple[int, ...]
    places: NDArray[np.float32] | None


class Grids:
    """Writes ``samples/000012800.png`` now and then, and ``samples.png``, the latest.

    A row is a class, and a column is a seed: what changes along a column is what the
    class does. Of less than four classes each has several rows, without a class there
    are as many rows as columns. ``samples/real.png`` shows photos in the same order.
    Where windows are generated, they lie where those of the photos lie.

    Args:
        every: Images from one picture to the next. None: a fortieth of all, but at
            least 2,000; the first is of the untrained generator, the last at the end.
        seed: The first seed, >= 0.
        columns: Seeds of a row, of which there is then one a class. None: as many as
            fit.

    Raises:
        UsageError: A number is out of range.
    """

    def __init__(
        self, *, every: int | None = None, seed: int = 0, columns: int | None = None
    ) -> None:
        if type(seed) is not int or seed < 0:
            raise UsageError(f"seed must be an integer >= 0, got {seed!r}")
        self._pace, self._seed = Pace(every, times=40, least=2_000), seed
        self._columns = columns
        self._shown: _Shown | None = None

    def begin(self, view: View) -> None:
        """Draw the photos, and what an untrained generator makes."""
        (view.out / "samples").mkdir(parents=True, exist_ok=True)
        shown = self._of(view)
        if view.step == 0:
            self._draw_real(view, shown)
            self._draw(view, shown)

    def step(self, view: View) -> Verdict | None:
        """Draw a picture where one is due."""
        if self._pace.due(view):
            self._draw(view, self._of(view))
        return None

    def end(self, view: View) -> None:
        """Do nothing: the last picture was drawn at the last step."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: what is drawn follows from the images shown."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: what is due follows from the images shown."""

    def _of(self, view: View) -> _Shown:
        if self._shown is None:
            classes = len(view.source.classes)
            columns = self._columns or columns_of(view.source.size)
            each = max(1, _LEAST_ROWS // classes) if classes else columns
            each = 1 if self._columns else each
            rows = [
                (label, number)
                for label in range(min(classes, _MOST_ROWS) or 1)
                for number in range(each)
            ]
            names = ("", *view.source.classes)[1 if classes else 0 :]
            labels = [label for label, _ in rows for _ in range(columns)]
            self._shown = _Shown(
                names=tuple("" if number else names[label] for label, number in rows),
                columns=columns,
                seeds=tuple(
                    self._seed + number * columns + place
                    for _, number in rows
                    for place in range(columns)
                ),
                labels=tuple(labels),
                places=self._places(view, labels, columns, each),
            )
        return self._shown

    def _places(
        self, view: View, labels: list[int], columns: int, each: int
    ) -> NDArray[np.float32] | None:
        """Return where windows lie: as those of photos of the same class."""
        if not view.source.has_places:
            return None
        photos = _photos(view, len(labels))
        if photos.places is None:
            return None
        rows = []
        for first in range(0, len(labels), each * columns):
            mine = _of_class(photos, labels[first])
            others = mine if len(mine) else np.arange(len(photos.images))
            rows.append(photos.places[np.resize(others, each * columns)])
        return np.concatenate(rows)

    def _draw(self, view: View, shown: _Shown) -> None:
        images = view.task.sample(shown.seeds, shown.labels, shown.places)
        rows = [
            Row(name, list(images[number * shown.columns :][: shown.columns]))
            for number, name in enumerate(shown.names)
        ]
        picture = _png(view, shown, rows, f"generated, after {view.nimg:,} images")
        write_atomically(picture_of(view.out, view.nimg), picture)
        write_atomically(view.out / "samples.png", picture)

    def _draw_real(self, view: View, shown: _Shown) -> None:
        photos = _photos(view, len(shown.labels))
        labels = shown.labels[:: shown.columns]
        rows = []
        for number, (name, label) in enumerate(zip(shown.names, labels, strict=True)):
            first = (number - labels.index(label)) * shown.columns
            mine = _of_class(photos, label)[first : first + shown.columns]
            rows.append(Row(name, list(photos.images[mine])))
        title = f"photos, {view.source.photos:,} to train on"
        picture = _png(view, shown, rows, title)
        write_atomically(view.out / "samples" / "real.png", picture)


def picture_of(out: Path, nimg: int) -> Path:
    """Return the path of the picture that is drawn after so many images."""
    return out / "samples" / f"{nimg:0{_DIGITS}}.png"


def _photos(view: View, count: int) -> Photos:
    return view.source.reference(count * _PHOTOS_EACH)


def _of_class(photos: Photos, label: int) -> NDArray[np.int64]:
    """Return which photos are of a class, or all where there are none."""
    if photos.labels is None:
        return np.arange(len(photos.images))
    return np.flatnonzero(photos.labels == label)


def _png(view: View, shown: _Shown, rows: list[Row], title: str) -> bytes:
    beyond = len(view.source.classes) - _MOST_ROWS
    if beyond > 0:
        title = f"{title}; {beyond:,} more classes are not shown"
    sheet = lay_out(rows, size=view.source.size, columns=shown.columns, title=title)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
