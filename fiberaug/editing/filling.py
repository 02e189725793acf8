"""A pool filled with edited photos, and gone on with after a kill.

Photos are edited in the order of their shards, and shards are written whole. A rerun
takes what is finished, and what was edited behind it, and goes on.
"""

import json
import time
import zlib
from dataclasses import asdict

from fiberaug.bars import ProgressBar
from fiberaug.editing.editor import Editor
from fiberaug.editing.parents import Job, Parents
from fiberaug.editing.pending import Pending
from fiberaug.editing.progress import Note, Progress
from fiberaug.editing.sample import EditedSample, edit_sample
from fiberaug.errors import DataRefused
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.journal import NOTES
from fiberaug.shards.manifest import ShardEntry
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.writer import ShardFileWriter, member_bytes
from fiberaug.synthetic.place import Place, shard_name

__all__ = ["Filling"]


class Filling:
    """Fills a folder with edited photos.

    Args:
        place: The folder, marked.
        parents: The photos.
        editor: Changes them.
        limit: Photos, from the first. None: all.
        shard_size: Bytes of a shard.
        strict: Raise where a sample is broken; else it is noted and left out.
    """

    def __init__(
        self,
        place: Place,
        parents: Parents,
        editor: Editor,
        *,
        limit: int | None,
        shard_size: int,
        strict: bool,
    ) -> None:
        self._place, self._parents, self._editor = place, parents, editor
        self._limit, self._most, self._strict = limit, shard_size, strict
        self.notes = _notes(place)
        told = asdict(self.notes[-1].progress) if self.notes else {}
        self.progress = Progress.from_plain(json.loads(json.dumps(told)))
        self.refused: list[str] = []
        self._pending = Pending(place.folder)
        self._shard: ShardFileWriter | None = None
        self._source: tuple[int, ShardFile] | None = None
        self._held: list[int] = []

    def fill(self, *, progress: bool) -> None:
        """Edit what is left.

        Args:
            progress: Show a bar on a terminal.

        Raises:
            DataRefused: A sample is broken, and that is not to be passed over.
            UsageError: The editor returned something else than it must.
            StoreError: The disk is full or gone.
        """
        copies = self._editor.options.copies
        total = self._parents.photos(self._limit) * copies
        start = self.progress.at
        shown = None if progress else True
        bar = ProgressBar(
            total=total, initial=start, unit="img", desc="edit", disable=shown
        )
        try:
            with bar:
                for job in self._parents.jobs(copies, self._limit):
                    if job.number >= start:
                        self._do(job)
                        bar.update()
            if self._shard is not None:
                self._publish()
        finally:
            if self._shard is not None:
                self._shard.discard()

    @property
    def entries(self) -> list[ShardEntry]:
        """The finished shards."""
        return [note.entry for note in self.notes]

    @property
    def lines(self) -> list[str]:
        """What was refused, and why, a line of JSON each."""
        return [line for note in self.notes for line in note.refused] + self.refused

    def _do(self, job: Job) -> None:
        source = self._open(job.shard)
        try:
            sample = self._pending.read(job.number)
            if sample is None:
                sample = self._edit(job, source)
        except DataRefused as error:
            key = source.index.key(job.row)
            if self._strict:
                raise error.located(shard=source.name, key=key) from None
            self._refuse(job, source, "broken", error)
            return
        if sample is None:
            self._refuse(job, source, "nothing_to_edit", None)
            return
        self._write(job, sample)

    def _open(self, number: int) -> ShardFile:
        if self._source is None or self._source[0] != number:
            self._source = number, self._parents.open_shard(number)
        return self._source[1]

    def _edit(self, job: Job, source: ShardFile) -> EditedSample | None:
        members = {name: bytes(data) for name, data in source.read(job.row).items()}
        began = time.perf_counter()
        sample = edit_sample(
            members, self._editor, self._parents.reading,
            parent=self._parents.parent(source, job.row), copy=job.copy,
        )  # fmt: skip
        self.progress.generate_s += time.perf_counter() - began
        if sample is not None:
            self._pending.write(job.number, sample)
        return sample

    def _refuse(
        self, job: Job, source: ShardFile, reason: str, error: DataRefused | None
    ) -> None:
        line = {
            "key": source.index.key(job.row), "shard": source.name, "copy": job.copy,
            "reason": reason,
        }  # fmt: skip
        if error is not None:
            line |= {"stage": error.stage, "told": error.message}
        self.refused.append(json.dumps(line))
        self.progress.refuse(reason)
        self.progress.at = job.number + 1

    def _write(self, job: Job, sample: EditedSample) -> None:
        size = sum(member_bytes(len(data)) for data in sample.members.values())
        if self._shard is not None and self._shard.bytes + size > self._most:
            self._publish()
        if self._shard is None:
            path = self._place.folder / shard_name(len(self.notes))
            self._shard = ShardFileWriter(path, describe=Describer())
        self._shard.write(sample.provenance.id, sample.members)
        self._held.append(job.number)
        self.progress.take(sample)
        self.progress.at = job.number + 1

    def _publish(self) -> None:
        """Finish the shard and note it; what it holds need not be kept any more."""
        shard, self._shard = self._shard, None
        assert shard is not None  # noqa: S101  # for the type
        state = Progress.from_plain(json.loads(json.dumps(asdict(self.progress))))
        note = Note(progress=state, entry=shard.publish(), refused=self.refused)
        name = shard_name(len(self.notes))
        self._place.store.write(f"{NOTES}/{name}.json", note.to_bytes())
        self.notes.append(note)
        self._pending.drop(self._held)
        self._held, self.refused = [], []


def _notes(place: Place) -> list[Note]:
    """Return the notes of finished shards, up to the first that is not sound."""
    found: list[Note] = []
    store = place.store
    while (content := store.read(f"{NOTES}/{shard_name(len(found))}.json")) is not None:
        try:
            note = Note.parse(content)
        except ValueError:
            break
        index = store.read(f"{note.entry.name}.idx") or b""
        there = store.size(note.entry.name) == note.entry.bytes
        if not there or f"{zlib.crc32(index[64:]):08x}" != note.entry.index_crc32:
            break
        found.append(note)
    return found
