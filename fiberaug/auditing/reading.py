"""The lines of a run's logs, rank after rank, and to which attempt they belong."""

import json
import re
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.bars import ProgressBar
from fiberaug.errors import DataRefused, StoreError
from fiberaug.record import Record
from fiberaug.runlog_frames import read_lines

__all__ = ["Entry", "read_entries"]

_NAME = re.compile(r"records-(\d+)\.jsonl\.zst")
_ENVIRONMENT = re.compile(rb'"environment": ?"[^"]*"')
_MOST_ATTEMPTS = 2**16 - 1
_CLEARLY = 0.25  # times the distance of the next start


class Entry(NamedTuple):
    """A record of a log."""

    rank: int
    attempt: int
    """Which try of the run wrote it, from 0: it was started anew, or went back."""

    start: int
    """Which pass of the run that was, of the first rank's, from 0."""

    digest: int
    """Checksum in [1, 2**32) of all of the record but its environment."""

    record: dict[str, Any]
    """A checked :class:`fiberaug.Record`, as plain values."""


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the records of a run folder, each as it is read.

    Args:
        folder: The run folder.

    Raises:
        StoreError: It has no log, or one cannot be read.
        DataRefused: A log is damaged, or holds what is no record.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    ranks = sorted(int(found[1]) for found in map(_NAME.fullmatch, names) if found)
    if not ranks:
        raise StoreError(f"{folder} holds no records-<rank>.jsonl.zst: it is no log")
    paths = [folder / f"records-{rank}.jsonl.zst" for rank in ranks]
    total = sum(path.stat().st_size for path in paths)
    attempts = _Attempts()
    with ProgressBar(
        total=total, unit="B", unit_scale=True, desc="audit", delay=1, disable=None
    ) as bar:
        for rank, path in zip(ranks, paths, strict=True):
            attempts.begin(leads=rank == ranks[0])
            yield from _of_rank(rank, path, attempts, bar)


def _of_rank(
    rank: int, path: Path, attempts: "_Attempts", bar: ProgressBar
) -> Iterator[Entry]:
    at = -1
    for offset, line in read_lines(path):
        try:
            data = json.loads(line)
            if "v" not in data:
                if "started_s" in data:
                    attempts.start(float(data["started_s"]))
                continue
            Record.from_dict(data)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataRefused(
                f"{path} holds a line that is no record: {error}", offset=offset
            ) from error
        place = data["epoch"], data["position"]
        attempts.step(place, batch=offset != at)
        bar.update(offset - max(0, at))
        at = offset
        digest = zlib.crc32(_ENVIRONMENT.sub(b"", line, count=1)) or 1
        yield Entry(rank, attempts.number, attempts.group, digest, data)
    bar.update(path.stat().st_size - max(0, at))


class _Attempts:
    """Tells which tries of a run belong together, over the ranks.

    The first rank says when the run was started; others belong to the start that is
    nearest in time. Where two are about as near they are taken as tries of their own.
    A batch that lies before the last one was resumed within a start.
    """

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._unclear = 0
        self.begin(leads=True)

    def begin(self, *, leads: bool) -> None:
        """Begin the log of a rank."""
        self._leads, self.group, self._start, self._again = leads, 0, 0, 0
        self._last = (-1, -1)

    def start(self, started_s: float) -> None:
        """Note that a run was started, ``started_s`` seconds since 1970."""
        if self._leads:
            self._starts.append(started_s)
        place = bisect_left(self._starts, started_s)
        near = range(max(0, place - 1), min(len(self._starts), place + 2))
        far = sorted((abs(self._starts[i] - started_s), i) for i in near)
        self.group = self._start = far[0][1] if far else 0
        if not self._leads and len(far) > 1 and far[0][0] > _CLEARLY * far[1][0]:
            self._unclear += 1
            self._start = -self._unclear
        self._again, self._last = 0, (-1, -1)

    def step(self, place: tuple[int, int], *, batch: bool) -> None:
        """Note (epoch, position) of a record, which may be the first of a batch."""
        if batch and place <= self._last:
            self._again += 1
            self._last = place
        self._last = max(self._last, place)

    @property
    def number(self) -> int:
        """Number of the try, from 0."""
        key = self._start, self._again
        return self._numbers.setdefault(key, min(len(self._numbers), _MOST_ATTEMPTS))
