"""The shards of a set, as its description and ``dataset.json`` name them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fiberaug.checkup.findings import Finding, named, note, problem
from fiberaug.checkup.looking import Shard, look_at
from fiberaug.errors import FiberAugError
from fiberaug.jobs.plain import is_plain, resolve_any
from fiberaug.shards.manifest import FILE, Manifest, ShardEntry
from fiberaug.shards.resolve import expand
from fiberaug.sizes import counted

__all__ = ["Listing", "list_shards"]

_MOST_ENDS = 20_000  # shards whose first and last blocks are read


@dataclass(frozen=True, slots=True)
class Listing:
    """The shards of a set in order, and what was found wrong with their naming."""

    shards: list[Shard]
    """All that are named."""

    manifest: Manifest | None = None
    """``dataset.json`` of the folder, where it has one that can be read."""

    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the names or ``dataset.json``."""

    remote: bool = False
    """Whether the shards are in a store."""

    @property
    def readable(self) -> list[Shard]:
        """The shards without trouble."""
        return [shard for shard in self.shards if shard.trouble is None]

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Samples of each readable shard; None where one has no index."""
        counts = [shard.samples for shard in self.readable]
        return None if None in counts else tuple(c for c in counts if c is not None)


def list_shards(shards: object, *, index_dir: str | Path | None = None) -> Listing:
    """Return the shards of a set, each looked at from outside.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them, on this machine.
        index_dir: Folder of the side-cars. None: beside the shards.

    Raises:
        UsageError: ``shards`` names nothing.
        SecurityRefused: It is a ``pipe:`` URL.
    """
    if is_plain(shards):
        return _list_plain(shards, index_dir)
    findings: list[Finding] = []
    described = isinstance(shards, str | Path) and (Path(shards) / FILE).is_file()
    if described:
        home = Path(str(shards))
        manifest = _read(home, findings)
    if not described or manifest is None:
        paths = expand(shards)
        parents = {path.parent for path in paths}
        home = parents.pop() if len(parents) == 1 else Path(os.devnull)
        manifest = _read(home, findings) if not described else None
        entries = {}
    else:
        entries = {entry.name: entry for entry in manifest.shards}
        paths = [home / name for name in entries]
        findings += _strangers(home, entries)
    every = 1 + len(paths) // _MOST_ENDS
    found = [
        look_at(path, index_dir or os.path.dirname(path), ends=i % every == 0)  # noqa: PTH120  # Path.parent makes a Path
        for i, path in enumerate(paths)
    ]
    for shard in found:
        if shard.name in entries and shard.trouble is None:
            _compare(shard, entries[shard.name])
    findings += _twins(found)
    return Listing(found, manifest, findings)


def _list_plain(shards: object, index_dir: str | Path | None) -> Listing:
    """Return the virtual shards of a plain set, which is indexed where it was not."""
    found = resolve_any(shards, index_dir=index_dir)
    listed = [
        Shard(
            Path(ref.path), ref.bytes or 0, ref.samples,
            None if ref.index is None else Path(ref.index), ref.digest,
        )
        for ref in found.refs
    ]  # fmt: skip
    told = note(
        "shards",
        "a plain set: each sample is one file or more, opened when it is read",
        f"`fiberaug convert {Path(found.refs[0].path).parent} DST` makes shards",
    )
    return Listing(listed, found.manifest, [told])


def _read(folder: Path, findings: list[Finding]) -> Manifest | None:
    if not (folder / FILE).is_file():
        return None
    try:
        return Manifest.read(folder)
    except FiberAugError as error:
        remedy = f"make it again with `fiberaug convert`, or delete {FILE}"
        findings.append(problem(FILE, error.message, remedy))
    return None


def _compare(shard: Shard, entry: ShardEntry) -> None:
    if shard.bytes != entry.bytes:
        shard.trouble = "size differs"
        shard.reason = f"{shard.bytes} bytes, {FILE} says {entry.bytes}"
    elif shard.samples not in {None, entry.samples}:
        shard.trouble = "bad index"
        shard.reason = f"{shard.samples} samples, {FILE} says {entry.samples}"
    elif shard.index_crc32 not in {None, entry.index_crc32}:
        shard.trouble = "bad index"
        shard.reason = f"it is not the one that {FILE} knows"
    elif shard.samples is None:
        shard.trouble = "bad index"
        shard.reason = f"there is none, {FILE} says that there is"


def _strangers(folder: Path, known: dict[str, ShardEntry]) -> Iterator[Finding]:
    names = (entry.name for entry in os.scandir(folder))
    strangers = sorted(n for n in names if n.endswith(".tar") and n not in known)
    if strangers:
        files = counted(len(strangers), "tar file")
        yield note(
            FILE,
            f"{files} of the folder not listed, hence not read: {named(strangers)}",
            f"name the shards themselves ({folder}/*.tar), or move these away",
        )


def _twins(shards: list[Shard]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for shard in shards:
        seen[shard.name] = seen.get(shard.name, 0) + 1
    twins = [name for name, count in seen.items() if count > 1]
    if twins:
        yield problem(
            "shards",
            f"file names that stand twice: {named(twins)}",
            "rename one, or make two data sets: samples are named by shard",
        )
