"""Samples to shards, one after the other."""

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.jobs.members import encode_sample
from fiberaug.jobs.restarting import State, check_tool, mark_members
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.stores import LocalStore
from fiberaug.jobs.target import Target
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.shards.urls import redact, scheme
from fiberaug.shards.writer import ShardFileWriter, member_bytes
from fiberaug.sizes import counted, parse_bytes

__all__ = ["ShardWriter"]

_log = logging.getLogger("fiberaug")


class ShardWriter:
    """Writes samples to shards of a folder, with indexes and ``dataset.json``.

    A shard gets its name when it is complete and ``dataset.json`` is written last, so a
    folder that was interrupted is never taken for a data set.

    Args:
        dst: The folder; it must not hold a data set.
        shard_size: Size at which the next shard is begun.
        classes: Class names by id. None: names get ids as they first come.
        encoding: How arrays become images: ``png``, ``jpeg`` or ``webp``.
        seekable: Write restart markers into JPEGs, without loss; those that cannot have
            any stay as they are.
        fields: Field mapping to keep in ``dataset.json``.

    Raises:
        UsageError: The folder holds something else, or an argument is out of range.
    """

    def __init__(
        self,
        dst: str | Path,
        *,
        shard_size: int | str = "256MB",
        classes: Sequence[str] | None = None,
        encoding: str = "png",
        seekable: bool = False,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise UsageError(
                f"encoding must be one of {sorted(ENCODINGS)}, got {encoding!r}"
            )
        self._most = parse_bytes(shard_size, name="shard_size")
        self._arguments = {"shard_size": self._most, "encoding": encoding}
        if seekable:
            check_tool()
            self._arguments["seekable"] = True
        self._seekable, self._left = seekable, 0
        self._sound: set[str] = set()
        if scheme(str(dst)) is not None:
            raise UsageError(
                f"{redact(str(dst))!r} is no folder; convert(folder, url) sends a set"
                " to a bucket"
            )
        names = check_classes(classes or ())
        self._folder = Path(dst)
        self._target = Target(LocalStore(self._folder), self._arguments)
        self._classes = {name: i for i, name in enumerate(names)}
        self._fixed = classes is not None
        self._encoding, self._fields = encoding, dict(fields or {})
        self._keys: set[str] = set()
        self._entries: list[ShardEntry] = []
        self._shard: ShardFileWriter | None = None

    def _class_id(self, name: str) -> int:
        name = unicodedata.normalize("NFC", name)
        if name not in self._classes:
            if self._fixed:
                raise UsageError(
                    f"{name!r} is none of the classes {list(self._classes)}"
                )
            self._classes[name] = len(self._classes)
        return self._classes[name]

    def write(self, sample: Mapping[str, Any]) -> None:
        """Append one sample.

        Args:
            sample: ``__key__`` (stored in Unicode's form NFC) and fields: ``image``
                (bytes, path, PIL image or uint8 array), ``label`` (id, name, number or
                vector), ``mask``, ``bboxes``, ``bbox_labels``, ``keypoints``,
                ``caption``; or extensions as webdataset names them (``jpg``, ``cls``,
                ``json``, ...).

        Raises:
            UsageError: The key is missing, was used before or cannot be read back; or a
                field cannot be stored.
            StoreError: The disk is full or gone.
        """
        key = sample.get("__key__")
        if not isinstance(key, str) or not key:
            raise UsageError(f"__key__ must be text, got {key!r}")
        key = unicodedata.normalize("NFC", key)  # both ways to write an accent are one
        if key in self._keys:
            raise UsageError(
                f"key {key!r} was written before; keys are unique in a data set"
            )
        members = encode_sample(sample, self._class_id, encoding=self._encoding)
        if self._seekable:
            members, found = mark_members(members)
            self._left += sum(one.state is State.LEFT for one in found.values())
            if found and all(one.sound for one in found.values()):
                self._sound.add(key)
        size = sum(member_bytes(len(data)) for data in members.values())
        if self._shard is not None and self._shard.bytes + size > self._most:
            self._publish()
        if self._shard is None:
            name = f"shard-{len(self._entries):06d}.tar"
            describe = Describer(sound=self._sound)
            self._shard = ShardFileWriter(self._folder / name, describe=describe)
        self._shard.write(key, members)
        self._keys.add(key)

    def _publish(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            self._entries.append(shard.publish())
            self._sound.clear()

    def close(self) -> Manifest:
        """Finish the last shard and write ``dataset.json``.

        Raises:
            UsageError: No sample was written.
            StoreError: The disk is full or gone.
        """
        self._publish()
        if self._left:
            _log.warning("%s got no restart markers", counted(self._left, "JPEG"))
        return self._target.finish(self._entries, list(self._classes), self._fields)

    def abort(self) -> None:
        """Drop the unfinished shard; ``dataset.json`` is not written."""
        if self._shard is not None:
            self._shard.discard()
            self._shard = None

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the writer, or drop the unfinished shard after an error."""
        if kind is None:
            self.close()
        else:
            self.abort()
