"""The folder of a pool: what stands in it before, while and after it is written."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.journal import NOTES
from fiberaug.jobs.stores import LocalStore
from fiberaug.jobs.target import Target, check_free
from fiberaug.shards.manifest import FILE as SET
from fiberaug.shards.manifest import MARK
from fiberaug.shards.urls import redact, scheme
from fiberaug.synthetic.journal import Journal
from fiberaug.synthetic.poolfile import FILE, PoolFile, differences, read_pool_file
from fiberaug.synthetic.state import Note

__all__ = ["REFUSED", "Place", "shard_name"]

REFUSED = "rejected.jsonl"
"""What was made and not taken, and why, one JSON object a line."""


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"synth-{number:06d}.tar"


class Place:
    """The folder of a pool.

    Args:
        dst: The folder.

    Raises:
        UsageError: It is a URL or a file.
    """

    def __init__(self, dst: str | Path) -> None:
        if scheme(str(dst)) is not None:
            raise UsageError(
                f"{redact(str(dst))!r} is no folder: write the pool to one, and send it"
                " with the tools of the store"
            )
        self.folder = Path(dst)
        if self.folder.is_file():
            raise UsageError(f"{self.folder} is a file: a pool is a folder")
        self.store = LocalStore(self.folder)

    @property
    def begun(self) -> dict[str, Any] | None:
        """What an unfinished pool was asked for, or None."""
        content = self.store.read(MARK)
        if content is None:
            return None
        try:
            told = json.loads(content)
        except ValueError:
            told = None
        return told if isinstance(told, dict) else {}

    def find(self) -> PoolFile | None:
        """Return the pool that is there, finished.

        Raises:
            UsageError: There is another data set, or something else.
            DataRefused: ``pool.json`` is broken, or of a newer release.
        """
        if self.store.size(SET) is None:
            check_free(self.store)
            return None
        found = read_pool_file(self.folder)
        if found is None:
            raise UsageError(
                f"{self.folder} holds a data set that is no pool; choose another folder"
            )
        return found

    def clear(self) -> None:
        """Remove what a kill at the very end left of a finished pool."""
        self.store.remove_folder(NOTES)
        self.store.remove(MARK)

    def check_same(self, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        """Refuse to go on with a pool that was asked for otherwise.

        Raises:
            UsageError: Something differs; it is named.
        """
        if "pool" not in there:
            raise UsageError(
                f"{self.folder} holds an unfinished data set that is no pool; choose"
                " another folder"
            )
        apart = differences(there, asked)
        if apart:
            # Another seed gives another first sample, too: the cause is told alone.
            apart = [one for one in apart if ".probe is " not in one] or apart
            raise UsageError(
                f"{self.folder} holds another pool: {'; '.join(apart[:5])}; choose"
                " another folder, or remove it"
            )

    def begin(self, asked: Mapping[str, Any]) -> Target:
        """Mark the folder as being written, keep what is finished; return its target.

        Raises:
            UsageError: It holds something else.
            StoreError: It cannot be written.
        """
        return Target(self.store, asked, resume=True)

    def notes(self) -> list[Note]:
        """Return the notes of finished shards, up to the first that is not sound."""
        found: list[Note] = []
        while (content := self.store.read(self._note(len(found)))) is not None:
            try:
                note = Note.parse(content)
            except ValueError:
                break
            if not self._is_there(note):
                break
            found.append(note)
        return found

    def write_note(self, number: int, note: Note) -> None:
        """Write the note of a shard that has its name."""
        self.store.write(self._note(number), note.to_bytes())

    def journal(self, number: int) -> Journal:
        """Return the journal of a shard, and remove that of the one before."""
        self.store.remove(self._journal(number - 1))
        path = self.folder / self._journal(number)
        path.parent.mkdir(exist_ok=True)
        return Journal(path)

    def drop_journal(self, number: int) -> None:
        """Remove a journal."""
        self.store.remove(self._journal(number))

    def _is_there(self, note: Note) -> bool:
        entry = note.entry
        if entry is None:
            return False
        index = self.store.read(f"{entry.name}.idx") or b""
        there = self.store.size(entry.name) == entry.bytes
        return there and f"{zlib.crc32(index[64:]):08x}" == entry.index_crc32

    def _note(self, number: int) -> str:
        return f"{NOTES}/{shard_name(number)}.json"

    def _journal(self, number: int) -> str:
        return f"{NOTES}/{number:06d}.samples"

    def write_pool_file(self, found: PoolFile) -> None:
        """Write ``pool.json``."""
        self.store.write(FILE, found.to_bytes())

    def check_finished(self) -> None:
        """Refuse a folder that is no finished pool.

        Raises:
            DataRefused: It is none; the reason is told.
        """
        if self.store.size(SET) is not None and self.store.size(FILE) is not None:
            return
        if self.store.size(MARK) is not None:
            raise DataRefused(
                f"{self.folder} is unfinished: the same call that began it goes on"
            )
        what = "a data set, but no pool" if self.store.size(SET) else "no pool"
        raise DataRefused(f"{self.folder} is {what}: it has no {FILE}")
