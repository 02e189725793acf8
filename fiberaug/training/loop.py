"""The loop of a training: steps, states, watchers, and what to do when one fails."""

import json
import logging
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fiberaug.allocator import give_back_freed_memory
from fiberaug.errors import StateMismatch, UsageError
from fiberaug.training.contracts import RealBatch, Source, Task, Verdict, View, Watcher
from fiberaug.training.memory import is_out_of_memory
from fiberaug.training.ranking import Ranks
from fiberaug.training.states import (
    has_state,
    latest,
    recover,
    replace_folder,
    save_state,
)

__all__ = ["BEST", "LAST", "Loop"]

BEST, LAST = "best", "generator"
"""Folders of the generator that was judged best, and of the last one."""

_SAVES = 40  # states that are saved over a run
_REWINDS = 3  # times that a run goes back before it ends
_RATE = 20  # steps over which images/s are counted
_log = logging.getLogger("fiberaug")


class Loop:
    """Trains a task on a source until so many images were shown.

    Everything that decides is counted in images and steps, never in seconds. So a run
    that was ended anywhere, by Ctrl-C or ``kill -9``, and goes on from its last state
    is the run that was never ended, bit for bit, on one machine.

    Args:
        task: What is trained.
        source: Real photos.
        watchers: They look on, in the first rank alone.
        out: Folder of states, tables and generators.
        total: Images to show in all.
        rows: Images of a step, over all ranks.
        ranks: The processes that train.
        identity: What must be the same when a run goes on; fit for JSON.
        save_every: Images between two states; None: a fortieth of the run.
        notes: Told to the watchers when it begins.

    Raises:
        UsageError: A number is out of range.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        watchers: Sequence[Watcher],
        *,
        out: Path,
        total: int,
        rows: int,
        ranks: Ranks,
        identity: Mapping[str, Any],
        save_every: int | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if total < 1:
            raise UsageError(f"images to show must be >= 1, got {total}")
        self.task, self.source, self.watchers = task, source, list(watchers)
        self.out, self.rows, self.ranks = out, rows, ranks
        self.identity = json.loads(json.dumps(identity))
        self.save_every = max(rows, save_every or -(-total // _SAVES))
        self.view = View(task, source, out, total, notes=list(notes))
        self._saved_at = 0
        self._times: deque[float] = deque(maxlen=_RATE + 1)
        self._interrupted = False
        self._rewinds = 0
        self.stopped = ""
        """Why training ended before all images were shown; empty: it did not."""

    def resume(self) -> bool:
        """Go on from the newest state of the folder; False: there is none.

        Raises:
            StateMismatch: It is of another training: what differs is named.
            DataRefused: No state is whole.
        """
        if not self.ranks.told(has_state(self.out)):
            return False
        state = latest(self.out)
        theirs = state.facts["identity"]
        for name, (there, here) in _differences(theirs, self.identity):
            raise StateMismatch(
                f"{self.out} holds a training with {name} = {there!r:.200}, and this"
                f" one has {here!r:.200}; go on with the same arguments, or take"
                " another folder"
            )
        self._restore(state.tensors, state.facts)
        return True

    def _restore(self, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self.task.restore(tensors, facts["task"])
        self.source.load_state_dict(facts["source"])
        self.view.step, self.view.nimg = facts["step"], facts["nimg"]
        self.view.figures = dict(facts["figures"])
        self._saved_at = self.view.nimg
        self._rewinds, self.stopped = facts["rewinds"], facts["stopped"]
        if self.ranks.is_first:
            known = facts["watchers"]
            for name, watcher in self._named():
                if name in known:
                    watcher.load_state_dict(known[name])

    def _named(self) -> Iterator[tuple[str, Watcher]]:
        seen: dict[str, int] = {}
        for watcher in self.watchers:
            name = type(watcher).__name__
            number = seen[name] = seen.get(name, -1) + 1
            yield (f"{name}/{number}" if number else name), watcher

    def save(self) -> None:
        """Write the state of now; called by all ranks, written by the first."""
        self._saved_at = self.view.nimg
        if not self.ranks.is_first:
            return
        facts = {
            "identity": self.identity, "task": self.task.facts(),
            "source": self.source.state_dict(), "step": self.view.step,
            "figures": self.view.figures, "rewinds": self._rewinds,
            "stopped": self.stopped,
            "watchers": {name: one.state_dict() for name, one in self._named()},
        }  # fmt: skip
        save_state(self.out, self.task.tensors(), facts, nimg=self.view.nimg)

    def run(self) -> None:
        """Train to the end, or until a watcher or the user stops it.

        Raises:
            KeyboardInterrupt: Ctrl-C; the state of the last step is saved.
            MemoryError: There is no lever left.
            StoreError: A state cannot be saved.
        """
        first = self.ranks.is_first
        if first:
            self.out.mkdir(parents=True, exist_ok=True)
            recover(self.out / BEST)
            recover(self.out / LAST)
            for watcher in self.watchers:
                watcher.begin(self.view)
        try:
            with self._until_a_step_ends():
                if not self.ranks.told(has_state(self.out)):
                    self.save()
                self._steps()
            self._keep(LAST)
        finally:
            if first:
                for watcher in self.watchers:
                    watcher.end(self.view)

    def _steps(self) -> None:
        started = time.monotonic()
        batches = self.source.batches()
        while self.view.nimg < self.view.total and not self.stopped:
            batch = next(batches)
            self._step(batch)
            self._pace(started)
            verdict = self._judged()
            if verdict.rewind:
                self._rewind(verdict.rewind)
                batches = self.source.batches()
                continue
            if verdict.best:
                self._keep(BEST)
            self.stopped = verdict.stop
            done = self.view.nimg >= self.view.total or bool(verdict.stop)
            interrupted = self.ranks.any(self._interrupted)
            due = self.view.nimg - self._saved_at >= self.save_every
            if due or done or interrupted:
                self.save()
            if interrupted:
                raise KeyboardInterrupt
        if self.stopped:
            note = f"ended after {self.view.nimg:,} images: {self.stopped}"
            _log.warning(note)
            self.view.notes.append(note)

    def _step(self, batch: RealBatch) -> None:
        """Make a step, with another lever as often as memory runs out."""
        view = self.view
        while True:
            try:
                found = self.task.step(batch, step=view.step, nimg=view.nimg)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    error.add_note(f"in step {view.step}, after {view.nimg} images")
                    raise
                said = self.task.relieve(len(batch.images))
                if said is None:
                    raise MemoryError(
                        "there is no memory left for a step, and no lever: make the"
                        f" networks narrower or the images smaller ({error})"
                    ) from error
            give_back_freed_memory()
            note = f"out of memory in step {view.step}: goes on with {said}"
            _log.warning(note)
            view.notes.append(note)
        view.step += 1
        view.nimg += self.rows
        kept = {name: one for name, one in view.figures.items() if "/" in name}
        view.figures = kept | found

    def _pace(self, started: float) -> None:
        now = time.monotonic()
        self._times.append(now)
        self.view.seconds = now - started
        passed = now - self._times[0]
        if passed > 0:
            steps = len(self._times) - 1
            self.view.images_per_s = self.rows * steps / passed

    def _judged(self) -> Verdict:
        """Return what the watchers of the first rank want, to all ranks alike."""
        if not self.task.finite():  # and nobody looks at what it would make
            return Verdict(rewind="weights are not finite")
        said: list[Verdict] = []
        for watcher in self.watchers if self.ranks.is_first else ():
            verdict = watcher.step(self.view)
            if verdict is not None:
                said.append(verdict)
                if verdict.rewind:
                    break
        told = Verdict(
            stop=next((one.stop for one in said if one.stop), ""),
            best=any(one.best for one in said),
            rewind=next((one.rewind for one in said if one.rewind), ""),
        )
        return Verdict(**self.ranks.told(asdict(told)))

    def _rewind(self, why: str) -> None:
        """Go back to the last state, with half the learning rates."""
        self._rewinds += 1
        if self._rewinds > _REWINDS:
            raise FloatingPointError(
                f"{why}, for the {self._rewinds}th time although learning rates were"
                " halved each time; lower lr, or look at the data"
            )
        state = latest(self.out)
        step, rewinds = self.view.step, self._rewinds
        self._restore(state.tensors, state.facts)
        self._rewinds = rewinds
        self.task.slow_down(rewinds)
        note = (
            f"{why} in step {step}: back to step {self.view.step}, with learning rates"
            " halved"
        )
        _log.warning(note)
        self.view.notes.append(note)

    def _keep(self, name: str) -> None:
        """Write the generator of now under a name."""
        if not self.ranks.is_first:
            return
        beside = self.out / f".{name}.new"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        notes = {"images": self.view.nimg, "figures": self.view.figures}
        self.task.save_generator(beside, notes)
        replace_folder(beside, self.out / name)

    @contextmanager
    def _until_a_step_ends(self) -> Iterator[None]:
        """Let the first Ctrl-C wait for the end of a step; the second one does not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: object) -> None:
            if self._interrupted:
                signal.default_int_handler(number, frame)  # type: ignore[arg-type]
            self._interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _differences(
    theirs: Any,  # noqa: ANN401  # as JSON has it
    mine: Any,  # noqa: ANN401
    within: str = "",
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield what differs, by its path, as a pair (theirs, mine)."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for name in {**mine, **theirs}:
            path = f"{within}.{name}" if within else name
            yield from _differences(theirs.get(name), mine.get(name), path)
    elif theirs != mine:
        yield within, (theirs, mine)
