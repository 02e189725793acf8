"""The buffer, filled: makes what is wanted next, drops what is not wanted any more."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from fiberaug.errors import UsageError
from fiberaug.sizes import format_bytes
from fiberaug.synthetic.online_board import bury, read_takers
from fiberaug.synthetic.online_collecting import check_pool
from fiberaug.synthetic.online_files import pack, write_whole
from fiberaug.synthetic.online_keeping import keep_made, lost
from fiberaug.synthetic.online_making import Maker
from fiberaug.synthetic.online_place import Place, Task
from fiberaug.synthetic.online_told import Told
from fiberaug.synthetic.online_wanted import (
    Address,
    choose,
    drop_behind,
    drop_far,
    starts,
)

__all__ = ["Filling"]

_BURY_S = 1.0  # between two looks for takers that ended
_PART = 8  # an eighth of the buffer is freed at once: to look for it takes time


class Filling:
    """Fills the buffer, one batch a step.

    Args:
        task: What to do.
        place: Where.
        told: Is told what was done.
        beat: Is called when there was progress.

    Raises:
        UsageError: The factory makes no generator, or one of other classes; or samples
            of another one are kept.
    """

    def __init__(
        self, task: Task, place: Place, told: Told, beat: Callable[[], None]
    ) -> None:
        self._task, self._place, self._told, self._beat = task, place, told, beat
        self._maker = Maker(task, beat)
        place.made_by(self._maker.about)
        check_pool(place, task)
        place.ready.mkdir(exist_ok=True)
        self._ready: list[dict[int, int]] = [{} for _ in task.classes]
        for label, ready in enumerate(self._ready):
            with suppress(FileNotFoundError):
                for entry in os.scandir(place.ready / str(label)):
                    if entry.name.isdecimal():
                        ready[int(entry.name)] = entry.stat().st_size
        self._bytes = sum(sum(ready.values()) for ready in self._ready)
        self._largest = max(
            (max(r.values(), default=0) for r in self._ready), default=0
        )
        self._positions: list[list[int]] = []
        self._at_rest, self._buried_s = False, 0.0
        self._sound = False
        told.holds(self._bytes)

    def step(self) -> bool:
        """Make one batch; return whether there was anything to make."""
        task, place = self._task, self._place
        now = time.monotonic()
        if now - self._buried_s > _BURY_S:
            bury(place.takers, place.totals, len(task.classes))
            self._buried_s = now
        rows = read_takers(place.takers, len(task.classes))
        waiting = [row.waiting for row in rows if row.waiting is not None]
        waiting = self._check_there(waiting + self._confirmed())
        positions = [row.positions for row in rows]
        missing = any(index not in self._ready[label] for label, index in waiting)
        if self._at_rest and not missing and positions == self._positions:
            return False
        self._positions = positions
        begun = starts(positions, len(task.classes))
        asked, wanted = choose(
            waiting, begun, self._ready, ahead=task.ahead, most=task.batch_size
        )
        batch = self._fitting(asked, wanted, waiting, begun)
        self._at_rest = not batch
        if batch:
            self._make(batch, waiting, begun)
        return bool(batch)

    def finish(self) -> None:
        """Make the samples again that were delivered and are to be kept."""
        while missing := self._confirmed():
            batch = missing[: self._task.batch_size]
            self._make(batch, batch, starts(self._positions, len(self._task.classes)))

    def _confirmed(self) -> list[Address]:
        """Keep what was delivered and is there; return what has to be made again."""
        if self._task.keep is None:
            return []
        return [one for one in lost(self._place) if not keep_made(self._place, *one)]

    def _check_there(self, waiting: Sequence[Address]) -> list[Address]:
        """Return what is waited for; samples whose file is gone are noted."""
        known = [(c, i) for c, i in waiting if 0 <= c < len(self._ready)]
        for label, index in known:
            gone = index in self._ready[label]
            if gone and not self._place.sample(label, index).exists():
                self._bytes -= self._ready[label].pop(index)
        return known

    def _fitting(
        self,
        asked: Sequence[Address],
        wanted: Sequence[Address],
        waiting: Sequence[Address],
        begun: Sequence[Sequence[int]],
    ) -> list[Address]:
        """Return the next batch, for which there is room."""
        most, count = self._task.most_bytes, self._task.batch_size
        batch = [*asked, *wanted][:count]
        over = self._bytes + len(batch) * self._largest - most
        if batch and over > 0:
            self._drop(
                drop_behind(
                    waiting, begun, self._ready, ahead=self._task.ahead,
                    least=max(over, most // _PART),
                )
            )  # fmt: skip
        room = (most - self._bytes) // self._largest if self._largest else count
        return batch[: max(len(asked), min(count, room))]

    def _make(
        self,
        batch: Sequence[Address],
        waiting: Sequence[Address],
        begun: Sequence[Sequence[int]],
    ) -> None:
        began = time.perf_counter()
        for (label, index), members in self._maker.make(batch):
            data = pack(members)
            if len(data) > self._task.most_bytes:
                raise UsageError(
                    f"most_bytes={self._task.most_bytes} holds no sample: this one has"
                    f" {format_bytes(len(data))}",
                    key=f"{label}/{index}",
                )
            self._largest = max(self._largest, len(data))
            if self._task.keep is not None:
                keep_made(self._place, label, index, data)
            if index in self._ready[label]:
                continue  # it was there, and was wanted for the pool alone
            over = self._bytes + len(data) - self._task.most_bytes
            if over > 0 and (label, index) in waiting:
                self._drop(drop_far(waiting, begun, self._ready, least=over))
                over = self._bytes + len(data) - self._task.most_bytes
            if over > 0:
                continue  # larger than was foreseen: made again when there is room
            write_whole(self._place.sample(label, index), data)
            self._ready[label][index] = len(data)
            self._bytes += len(data)
            self._told.made(1)
        self._told.worked(time.perf_counter() - began)
        self._told.holds(self._bytes)
        self._beat()
        if not self._sound:
            self._sound = True
            self._place.tell(None)

    def _drop(self, addresses: Sequence[Address]) -> None:
        for label, index in addresses:
            self._place.sample(label, index).unlink(missing_ok=True)
            self._bytes -= self._ready[label].pop(index)
        self._told.holds(self._bytes)
