"""Which shards of an unfinished conversion are done: a note beside each."""

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fiberaug.jobs.crew import count
from fiberaug.jobs.unit import Unit, Written
from fiberaug.shards.manifest import ShardEntry, write_atomically

__all__ = ["NOTES", "Journal"]

NOTES = ".converting"
"""Folder of the notes; it goes when ``dataset.json`` is written."""


class Journal:
    """Notes on finished shards, so that a rerun goes on where a killed run was.

    A note is written after its shard has its name. It says which unit wrote the shard,
    so a rerun with other arguments, or of a source that has changed, writes it anew.

    Args:
        folder: Folder of the shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, unit: Unit) -> Written:
        """Write a unit's shard, or find it written; return what became of it.

        Raises:
            DataRefused: See :meth:`Unit.write`.
            StoreError: The disk is full or gone; nothing half-written is left.
        """
        digest = unit.digest()
        known = self.known(unit.name, digest)
        if known is not None:
            left_out = len(unit.items) - known.images
            count(len(unit.items), 0, left_out)
            return known
        self.forget(unit.name)
        written = unit.write(self.folder)
        entry = None if written.entry is None else asdict(written.entry)
        note = {
            "unit": digest, "entry": entry, "errors": written.errors,
            "images": written.images,
        }  # fmt: skip
        self._note(unit.name).parent.mkdir(exist_ok=True)
        write_atomically(self._note(unit.name), json.dumps(note).encode())
        return written

    def known(self, name: str, digest: str) -> Written | None:
        """Return what a finished unit wrote; None where it has to be written."""
        try:
            note: dict[str, Any] = json.loads(self._note(name).read_bytes())
            if note["unit"] != digest:
                return None
            entry = None if note["entry"] is None else ShardEntry(**note["entry"])
            written = Written(entry, note["errors"], note["images"])
            if entry is not None and not self._is_there(entry):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return written

    def forget(self, name: str) -> None:
        """Remove a shard that is not to stay, its index and its note."""
        self._note(name).unlink(missing_ok=True)
        for path in (self.folder / name, self.folder / f"{name}.idx"):
            path.unlink(missing_ok=True)

    def finished(self) -> set[str]:
        """Return the names of shards that have a note."""
        return {path.stem for path in (self.folder / NOTES).glob("*.json")}

    def close(self) -> None:
        """Remove the notes: the data set is complete."""
        for path in (self.folder / NOTES).glob("*"):
            path.unlink()
        if (self.folder / NOTES).is_dir():
            (self.folder / NOTES).rmdir()

    def _note(self, name: str) -> Path:
        return self.folder / NOTES / f"{name}.json"

    def _is_there(self, entry: ShardEntry) -> bool:
        """Return whether shard and index are those of the note.

        Both got their names whole; a size and a checksum of the smaller tell them apart
        from those of another run.
        """
        index = (self.folder / f"{entry.name}.idx").read_bytes()
        size = (self.folder / entry.name).stat().st_size
        return size == entry.bytes and f"{zlib.crc32(index[64:]):08x}" == (
            entry.index_crc32
        )
