"""Edited samples that are in no finished shard yet: lost by no kill.

One file each, whole or not there.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from struct import Struct
from typing import Any

from fiberaug.editing.labels import Fates
from fiberaug.editing.sample import EditedSample
from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.jobs.journal import NOTES
from fiberaug.synthetic.provenance import Provenance

__all__ = ["Pending"]

_HEAD = Struct("<QI")  # bytes of the facts, CRC-32 of all that follows


class Pending:
    """Where such samples lie, by their number in the job.

    Args:
        folder: Of the pool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / NOTES

    def write(self, number: int, sample: EditedSample) -> None:
        """Keep a sample.

        Raises:
            StoreError: The disk is full or gone.
        """
        facts = {
            "members": {name: len(data) for name, data in sample.members.items()},
            "image": sample.image, "provenance": sample.provenance.to_dict(),
            "size": list(sample.size), "fates": asdict(sample.fates),
        }  # fmt: skip
        text = json.dumps(facts).encode()
        body = text + b"".join(sample.members.values())
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot write {self._folder}: {error.strerror}", stage="write"
            ) from error
        write_atomically(
            self._path(number), _HEAD.pack(len(text), zlib.crc32(body)) + body
        )

    def read(self, number: int) -> EditedSample | None:
        """Return a sample that was kept; None where there is none, or it is broken."""
        try:
            content = self._path(number).read_bytes()
        except OSError:
            return None
        if len(content) < _HEAD.size:
            return None
        size, crc = _HEAD.unpack_from(content)
        body = content[_HEAD.size :]
        if zlib.crc32(body) != crc:
            return None
        try:
            facts: dict[str, Any] = json.loads(body[:size])
            fates = dict(facts["fates"])
            fates["objects"] = {int(i): fate for i, fate in fates["objects"].items()}
            members, at = {}, size
            for name, length in facts["members"].items():
                members[name] = body[at : at + length]
                at += length
            height, width, channels = facts["size"]
            return EditedSample(
                members, str(facts["image"]), Provenance.from_dict(facts["provenance"]),
                (height, width, channels), Fates(**fates),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, UsageError):  # of another release
            return None

    def drop(self, numbers: Iterable[int]) -> None:
        """Remove samples that are in a finished shard."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:09d}.edit"
