"""A pool filled: samples made, judged, written, and gone on with after a kill.

Samples are made in rounds. A round makes what is missing, classes evenly among each
other; where some are refused another round follows. They are judged and written in the
order of their making, so that the shards depend on nothing but what was asked.
"""

import json
from collections.abc import Iterator
from contextlib import closing

from fiberaug.bars import ProgressBar
from fiberaug.errors import DataRefused, UsageError, WorkerDied
from fiberaug.jobs.crew import run_jobs
from fiberaug.jobs.describing import Describer
from fiberaug.shards.writer import ShardFileWriter, member_bytes
from fiberaug.synthetic.asking import Asked, Round
from fiberaug.synthetic.judging import Judge
from fiberaug.synthetic.made import MadeSample
from fiberaug.synthetic.making import Batch, Making, make_batch
from fiberaug.synthetic.place import Place, shard_name
from fiberaug.synthetic.seeds import sample_key
from fiberaug.synthetic.state import Note, State

__all__ = ["Filling"]


class Filling:
    """Fills a folder with samples.

    Args:
        place: The folder, marked.
        asked: What is wanted.
        making: How samples are made.
        judge: Takes or refuses them.
        shard_size: Bytes of a shard.
        batch_size: Samples made at a time.
        processes: Of this machine.
    """

    def __init__(
        self,
        place: Place,
        asked: Asked,
        making: Making,
        *,
        judge: Judge,
        shard_size: int,
        batch_size: int,
        processes: int,
    ) -> None:
        self._place, self._asked, self._making = place, asked, making
        self.judge, self._most = judge, shard_size
        self._batch_size, self._processes = batch_size, processes
        self.notes = place.notes()
        """Of each finished shard, and of what came behind the last."""

        last = self.notes[-1].state if self.notes else State()
        self.state = State.from_plain(json.loads(json.dumps(last.to_plain())))
        for note in self.notes:
            judge.seen.update((pixels, key) for key, pixels in note.taken)
        self._note = Note(self.state)
        self._shard: ShardFileWriter | None = None
        self._journal = place.journal(len(self.notes))
        self._known = self._journal.read()

    def fill(self, *, progress: bool) -> None:
        """Make samples until all are there, or each class was tried often enough.

        Args:
            progress: Show a bar on a terminal.

        Raises:
            UsageError: The generator returned something else than it must.
            StoreError: The disk is full or gone.
            WorkerDied: A worker was ended from outside.
        """
        shown = None if progress else True
        bar = ProgressBar(
            total=self._asked.total, initial=self.taken, unit="img", desc="generate",
            disable=shown,
        )  # fmt: skip
        try:
            with bar:
                while self._next_round():
                    for made, seconds in self._results():
                        self._take(made, seconds)
                        bar.update(self.taken - bar.n)
            if self._shard is not None:
                self._publish(None)
            self.notes.append(self._note)
        finally:
            if self._shard is not None:
                self._shard.discard()
            self._journal.close()

    @property
    def taken(self) -> int:
        """Samples in the pool so far."""
        return sum(self.state.accepted.values())

    def _next_round(self) -> bool:
        state = self.state
        if state.offset == len(state.round):
            state.round = Round.after(self._asked, state.made, state.accepted)
            state.offset = 0
        return len(state.round) > 0

    def _results(self) -> Iterator[tuple[MadeSample, float | None]]:
        """Yield the samples of this round that are left, in order.

        With each come the seconds that it took; None where the journal has it.
        """
        wanted = self.state.round.candidates()[self.state.offset :]
        done = 0
        for made, seconds in self._known:
            if (made.label, made.number) != wanted[done]:
                raise DataRefused(
                    f"{self._place.folder} holds samples of another run; remove it"
                )
            self.spend(seconds, 0, calls=seconds > 0)
            yield made, None
            done += 1
            if done == len(wanted):
                return
        rest = wanted[done:]
        size = self._batch_size
        jobs = (
            (self._making, rest[at : at + size]) for at in range(0, len(rest), size)
        )
        workers = min(self._processes, -(-len(rest) // size))
        with closing(run_jobs(make_batch, jobs, workers=max(1, workers))) as batches:
            yield from self._of(batches)

    def _of(self, batches: Iterator[Batch]) -> Iterator[tuple[MadeSample, float]]:
        try:
            for batch in batches:
                for i, made in enumerate(batch.samples):
                    seconds = batch.generate_s if i == 0 else 0.0
                    self.spend(seconds, batch.peak_mib, calls=i == 0)
                    yield made, seconds
        except WorkerDied as error:
            raise WorkerDied(
                f"a process that generates died after {self.taken} samples; the"
                " machine may have run out of memory: use fewer processes or a smaller"
                " batch_size; the same call goes on",
                stage="generate",
            ) from error

    def spend(self, seconds: float, peak_mib: int, *, calls: int) -> None:
        """Add to what the pool costs."""
        self.state.generate_s += seconds
        self.state.calls += calls
        self.state.peak_mib = max(self.state.peak_mib, peak_mib)

    def _take(self, made: MadeSample, seconds: float | None) -> None:
        """Judge a sample, note it in the journal, and write it where it is taken."""
        state, label = self.state, made.label
        if state.size not in {None, made.shape}:
            raise UsageError(
                f"the generator made images of {list(state.size or ())} and of"
                f" {list(made.shape)}: a pool holds one size"
            )
        key = sample_key(self._asked.name(label), made.number)
        verdict = self.judge.judge(made)
        if seconds is not None:
            self._journal.write(made, seconds)
        if verdict.reason is None:
            self._write(made, key)
            self.judge.take(made, key)
            self._note.add(key, made.pixels, made.looks)
            state.accepted[label] = state.accepted.get(label, 0) + 1
            state.with_parents += bool(made.parts)
            for part in made.parts:
                state.splits[part] = state.splits.get(part, 0) + 1
        else:
            counts = state.rejected.setdefault(label, {})
            counts[verdict.reason] = counts.get(verdict.reason, 0) + 1
            line = {"key": key, "seed": made.seed} | verdict.to_plain()
            self._note.refused.append(json.dumps(line))
        state.size = made.shape
        state.made[label] = state.made.get(label, 0) + 1
        state.offset += 1

    def _write(self, made: MadeSample, key: str) -> None:
        members = {made.extension: made.image, "json": made.text.encode()}
        if self._asked.labelled:
            members["cls"] = str(made.label).encode()
        size = sum(member_bytes(len(data)) for data in members.values())
        if self._shard is not None and self._shard.bytes + size > self._most:
            self._publish(made)
        if self._shard is None:
            path = self._place.folder / shard_name(len(self.notes))
            self._shard = ShardFileWriter(path, describe=Describer())
        self._shard.write(key, members)

    def _publish(self, following: MadeSample | None) -> None:
        """Finish the shard; the sample that comes next begins a new journal."""
        shard, self._shard = self._shard, None
        assert shard is not None  # noqa: S101  # for the type
        self._note.entry = shard.publish()
        self._place.write_note(len(self.notes), self._note)
        self.notes.append(self._note)
        self._note = Note(self.state)
        self._journal.close()
        self._place.drop_journal(len(self.notes))  # of a run whose shards are lost
        self._journal = self._place.journal(len(self.notes))
        if following is not None:
            self._journal.write(following, 0.0)
