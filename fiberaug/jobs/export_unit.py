"""One shard of an export: the unit of work and of going on again."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from fiberaug.errors import DataRefused, SampleBroken, SecurityRefused, ShardDamaged
from fiberaug.jobs.crew import check_wanted, count
from fiberaug.jobs.export_names import Naming, part_of
from fiberaug.jobs.export_sample import ReadSample, SampleReader
from fiberaug.jobs.export_style import Style, Styled
from fiberaug.jobs.export_target import ExportTarget
from fiberaug.jobs.formats.annotated import doubts
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardFile, ShardRef

__all__ = ["ExportUnit", "lines_of", "scratch_name"]


def scratch_name(shard: str, part: str) -> str:
    """Return the name of the scratch file of a shard's samples of a part."""
    return f"{shard}.{part}.lines"


@dataclass(frozen=True, kw_only=True)
class ExportUnit:
    """All that exporting one shard needs; it can be sent to another process."""

    ref: ShardRef
    cache: ShardCache | None
    part: str | None
    """Part that the shard belongs to; None: its samples may say it."""

    reader: SampleReader
    style: Style
    naming: Naming
    target: ExportTarget
    on_error: str
    """``skip`` lists a sample that cannot be read, ``fail`` ends the export."""

    def run(self) -> dict[str, Any]:
        """Export the shard, or find it exported; return its note.

        The note has ``parts`` (samples by part), ``lost`` (what the format cannot hold
        by name), ``turned``, ``left_out`` and ``odd``.

        Raises:
            DataRefused: The shard is damaged, or a sample is broken and ``on_error`` is
                ``fail``.
            StoreError: A file cannot be read or written.
        """
        known = self.target.noted(f"{self.ref.name}.json")
        if known is not None:
            count(sum(known["parts"].values()) + known["left_out"], 0, 0)
            return known
        shard = open_shard(self.ref, self.cache)
        lost, parts, figures = Counter[str](), Counter[str](), Counter[str]()
        with ExitStack() as stack:
            lines = _Lines(self.target, self.ref.name, stack)
            for i in range(len(shard.index)):
                check_wanted()
                own = Counter[str]()
                try:
                    read, styled, part = self._sample(shard, i, own)
                except ShardDamaged:
                    raise
                except DataRefused as error:
                    refused = error.located(key=shard.index.key(i))
                    if self.on_error == "fail":
                        raise refused from None
                    lines.report(shard.index.key(i), "left out", str(refused))
                    figures["left_out"] += 1
                    count(1, 0, 1)
                    continue
                for path, data in styled.files.items():
                    self.target.put(path, data)
                lines.add(part, styled.line)
                for text in doubts(styled.one):
                    lines.report(shard.index.key(i), "kept", text)
                    figures["odd"] += 1
                parts[part] += 1
                lost += own
                figures["turned"] += read.turned
                count(1, len(read.image), 0)
        note = {
            "parts": dict(parts), "lost": dict(lost),
            **{name: figures[name] for name in ("left_out", "odd", "turned")},
        }  # fmt: skip
        self.target.note(f"{self.ref.name}.json", note)
        return note

    def _sample(
        self, shard: ShardFile, i: int, lost: Counter[str]
    ) -> tuple[ReadSample, Styled, str]:
        """Return a sample, its files and its part."""
        key = shard.index.key(i)
        read = self.reader(shard.read(i), lost)
        part = self.part
        if part is None:
            part = part_of(read.one.notes.get("part")) or ""
        try:
            stem = self.naming.stem(key, part, self.style.folder_of(read))
        except SecurityRefused as error:
            raise SampleBroken(error.message) from error
        return read, self.style(read, part, stem, lost), part


class _Lines:
    """Scratch files of a shard: a line a sample, and what is wrong."""

    def __init__(self, target: ExportTarget, shard: str, stack: ExitStack) -> None:
        self._target, self._shard, self._stack = target, shard, stack
        self._files: dict[str, BinaryIO] = {}

    def add(self, part: str, line: Mapping[str, Any]) -> None:
        """Write the line of a sample."""
        if line:
            self._write(scratch_name(self._shard, part), line)

    def report(self, key: str, outcome: str, reason: str) -> None:
        """Write what is wrong with a sample."""
        line = {"key": key, "shard": self._shard, "outcome": outcome, "reason": reason}
        self._write(f"{self._shard}.errors", line)

    def _write(self, name: str, line: Mapping[str, Any]) -> None:
        file = self._files.get(name)
        if file is None:
            path = self._target.scratch(name)
            file = self._stack.enter_context(path.open("wb"))
            self._files[name] = file
        file.write(json.dumps(line).encode() + b"\n")


def lines_of(target: ExportTarget, name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a scratch file; none where it is not there."""
    path = target.scratch(name)
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
