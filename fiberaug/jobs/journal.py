"""Which shards of an unfinished conversion are done: a note beside each."""

import json
import zlib
from dataclasses import asdict
from typing import Any

from fiberaug.jobs.crew import count
from fiberaug.jobs.stores import Store
from fiberaug.jobs.unit import Unit, Written
from fiberaug.shards.manifest import ShardEntry

__all__ = ["NOTES", "Journal", "finished"]

NOTES = ".converting"
"""Folder of the notes; it goes when ``dataset.json`` is written."""


class Journal:
    """Notes on finished shards, so that a rerun goes on where a killed run was.

    A note is written after its shard has its name. It says which unit wrote the shard,
    so a rerun with other arguments, or of a source that has changed, writes it anew.

    Args:
        store: Where the shards are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def write(self, unit: Unit) -> Written:
        """Write a unit's shard, or find it written; return what became of it.

        Raises:
            DataRefused: See :meth:`Unit.write`.
            StoreError: The store is full or gone; nothing half-written is left.
        """
        digest = unit.digest()
        known = self.known(unit.name, digest)
        if known is not None:
            left_out = len(unit.items) - known.images
            count(len(unit.items), 0, left_out)
            return known
        self.forget(unit.name)
        written = self.store.publish(unit)
        entry = None if written.entry is None else asdict(written.entry)
        note = {
            "unit": digest, "entry": entry, "errors": written.errors,
            "images": written.images,
        }  # fmt: skip
        self.store.write(_note(unit.name), json.dumps(note).encode())
        return written

    def known(self, name: str, digest: str) -> Written | None:
        """Return what a finished unit wrote; None where it has to be written."""
        try:
            note: dict[str, Any] = json.loads(self.store.read(_note(name)) or b"")
            if note["unit"] != digest:
                return None
            entry = None if note["entry"] is None else ShardEntry(**note["entry"])
            written = Written(entry, note["errors"], note["images"])
        except (ValueError, KeyError, TypeError):
            return None
        return written if entry is None or self._is_there(entry) else None

    def forget(self, name: str) -> None:
        """Remove a shard that is not to stay, its index and its note."""
        for one in (_note(name), name, f"{name}.idx"):
            self.store.remove(one)

    def close(self) -> None:
        """Remove the notes: the data set is complete."""
        self.store.remove_folder(NOTES)

    def _is_there(self, entry: ShardEntry) -> bool:
        """Return whether shard and index are those of the note.

        Both got their names whole; a size and a checksum of the smaller tell them apart
        from those of another run.
        """
        index = self.store.read(f"{entry.name}.idx") or b""
        there = self.store.size(entry.name) == entry.bytes
        return there and f"{zlib.crc32(index[64:]):08x}" == entry.index_crc32


def finished(names: list[str]) -> set[str]:
    """Return the shards that have a note, of the names of a store."""
    notes = (name for name in names if name.startswith(f"{NOTES}/"))
    return {name.partition("/")[2].removesuffix(".json") for name in notes}


def _note(name: str) -> str:
    return f"{NOTES}/{name}.json"
