"""What takers tell: what they take, what they wait for, and what they counted.

Each thread that takes has a file of words of its own. What is wanted follows from these
files, so there are no requests to be lost, to pile up, or to be answered twice.
"""

import json
import os
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberaug.synthetic.online_files import write_whole
from fiberaug.synthetic.online_words import WORD, Words, held

__all__ = ["Counts", "Taker", "TakerRow", "Words", "bury", "counted", "read_takers"]

_TAKEN, _LATE, _WAITED_US, _WAITING, _POSITIONS = range(5)


class Taker:
    """The words of one thread that takes samples.

    Args:
        folder: Where they lie.
        classes: Number of classes.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        self.pid = os.getpid()
        self._classes = classes
        path = folder / f"{self.pid}-{uuid.uuid4().hex[:12]}"
        self._words = Words(path, _POSITIONS + classes)
        for word in (_TAKEN, _LATE, _WAITED_US):
            self._words.put(word, 0)

    @property
    def usable(self) -> bool:
        """Whether the file belongs to this process and is still read."""
        return self.pid == os.getpid() and not self._words.removed

    def at(self, label: int, index: int) -> None:
        """Tell the sample that is taken now."""
        self._words.put(_POSITIONS + label, index)

    def wait_for(self, label: int, index: int) -> None:
        """Tell the sample that this thread waits for."""
        self._words.put(_WAITING, index * self._classes + label)

    def waited(self, seconds: float) -> None:
        """Add time that this thread has waited."""
        self._words.add(_WAITED_US, round(1e6 * seconds))

    def settled(self) -> None:
        """Tell that this thread waits for nothing."""
        self._words.put(_WAITING, -1)

    def count(self, *, taken: bool) -> None:
        """Count a sample that was taken, or one that was late."""
        self._words.add(_TAKEN if taken else _LATE, 1)

    def close(self) -> None:
        """Close the file."""
        self._words.close()


class Counts(NamedTuple):
    """What takers count."""

    taken: int
    """Samples taken."""

    late: int
    """Samples that were not there in time."""

    waited_us: int
    """Time that takers waited, us."""


class TakerRow(NamedTuple):
    """The words of a taker as another process reads them."""

    path: Path
    counts: Counts
    waiting: tuple[int, int] | None
    """Class and index of the sample it waits for."""

    positions: list[int]
    """Index taken last of each class, [K]; -1: none so far."""


def read_takers(folder: Path, classes: int) -> list[TakerRow]:
    """Return the words of all takers.

    Args:
        folder: Where they lie; none where it is not there.
        classes: Number of classes.
    """
    rows = []
    for path in _paths(folder):
        try:
            data = path.read_bytes()
        except OSError:  # removed just now
            continue
        if len(data) != WORD * (_POSITIONS + classes):  # being made just now
            continue
        words = np.frombuffer(data, np.int64)
        taken, late, waited_us, waiting = words[:_POSITIONS].tolist()
        index, label = divmod(waiting, classes)
        wanted = (label, index) if waiting >= 0 else None
        counts = Counts(max(taken, 0), max(late, 0), max(waited_us, 0))
        rows.append(TakerRow(path, counts, wanted, words[_POSITIONS:].tolist()))
    return rows


def _paths(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []


def counted(folder: Path, totals: Path, classes: int) -> Counts:
    """Return what all takers have counted, those that ended included.

    Args:
        folder: Where their files lie.
        totals: What :func:`bury` keeps.
        classes: Number of classes.
    """
    while True:
        before, buried = _read_totals(totals)
        rows = read_takers(folder, classes)
        if _read_totals(totals) == (before, buried):
            living = [row.counts for row in rows if row.path.name not in buried]
            return Counts(*map(sum, zip(before, *living, strict=True)))


def bury(folder: Path, totals: Path, classes: int) -> None:
    """Remove the files of takers that ended; what they counted is kept.

    It is kept before the files go, with their names: none is counted twice or lost,
    whenever this process is killed. Only one process may do it.

    Raises:
        StoreError: The disk is full or gone.
    """
    kept, buried = _read_totals(totals)
    for name in buried:  # a kill between the two steps
        (folder / name).unlink(missing_ok=True)
    dead = [path for path in _paths(folder) if not held(path)]
    if not dead:
        return
    names = {path.name for path in dead}
    rows = [r.counts for r in read_takers(folder, classes) if r.path.name in names]
    sums = Counts(*map(sum, zip(kept, *rows, strict=True)))
    write_whole(
        totals, json.dumps({**sums._asdict(), "buried": sorted(names)}).encode()
    )
    for path in dead:
        path.unlink(missing_ok=True)


def _read_totals(path: Path) -> tuple[Counts, list[str]]:
    try:
        said = json.loads(path.read_bytes())
        return Counts(*(int(said[name]) for name in Counts._fields)), said["buried"]
    except (OSError, ValueError, KeyError):
        return Counts(0, 0, 0), []
