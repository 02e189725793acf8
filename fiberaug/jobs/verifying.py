"""Is this data set what it says it is? Every byte, every sample."""

import mmap
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberaug.bars import ProgressBar
from fiberaug.decode.fields import FieldSpec, parse_fields, resolve_auto
from fiberaug.decode.sample import SampleDecoder
from fiberaug.decode.text import parse_metadata
from fiberaug.errors import DataRefused, FiberAugError
from fiberaug.jobs.describing import Describer
from fiberaug.shards.index import COLUMNS, OPTIONAL, ShardIndex
from fiberaug.shards.manifest import ShardEntry
from fiberaug.shards.reader import ShardRef, build_index, map_file
from fiberaug.shards.resolve import SIDE_CAR, expand, resolve

__all__ = ["Problem", "Verified", "verify"]

_TEXT = frozenset({"keys", "extensions", "key_offset"})
_PER_MEMBER = frozenset({"offset", "size", "crc32", "extension"})


class Problem(NamedTuple):
    """One thing that is wrong."""

    shard: str
    key: str | None
    offset: int | None
    reason: str


class Verified(NamedTuple):
    """What was looked at, and what is wrong with it."""

    shards: int
    samples: int
    bytes: int
    decoded: int
    problems: list[Problem]


class _Found(NamedTuple):
    """What a description of shards names, as far as it can be told."""

    refs: tuple[ShardRef, ...]
    entries: dict[str, ShardEntry]
    classes: dict[str, int]
    problem: Problem | None
    fields: Mapping[str, str]


def verify(
    shards: object,
    *,
    index_dir: str | Path | None = None,
    decode: bool = False,
    fields: Mapping[str, str] | str = "auto",
    progress: bool = True,
) -> Verified:
    """Read every shard from first to last byte and return what is wrong.

    Checked: the structure of the tar; the index against the shard, member by member,
    with checksums; sizes, counts and SHA-256 of ``dataset.json``; keys that stand twice
    in the set; samples that lack a field that the first one has. With ``decode`` every
    sample is decoded, too.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder of the side-cars. None: beside the shards.
        decode: Decode every sample.
        fields: Field mapping, as :class:`fiberaug.StreamingDataset` takes it.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: ``shards`` names nothing, or ``fields`` is not understood.
        StoreError: A shard that is named does not exist.
    """
    found = _find(shards, None if index_dir is None else Path(index_dir))
    fields = found.fields if fields == "auto" and found.fields else fields
    specs = None if fields == "auto" else parse_fields(fields)
    problems = [found.problem] if found.problem else []
    seen: dict[str, str] = {}
    samples = size = decoded = 0
    bar = ProgressBar(
        found.refs, unit="shard", desc="verify", disable=None if progress else True
    )
    for ref in bar:
        try:
            data = map_file(Path(ref.path), shard=ref.name)
            size += len(data)
            problems += _against_entry(data, found.entries.get(ref.name))
            fresh = build_index(data, shard=ref.name, describe=Describer())
        except FiberAugError as error:
            problems.append(_problem(error, ref))
            continue
        samples += len(fresh)
        problems += _against_side_car(fresh, ref, found.entries.get(ref.name))
        problems += _keys(fresh, seen)
        try:
            specs = specs or _auto(fresh, data)
        except FiberAugError as error:
            problems.append(_problem(error, ref))
            continue
        decoder = SampleDecoder(specs=specs, classes=found.classes)
        checked, broken = _samples(fresh, data, decoder, decode=decode)
        decoded += checked
        problems += broken
    return Verified(len(found.refs), samples, size, decoded, problems)


def _find(shards: object, index_dir: Path | None) -> _Found:
    """Return the shards, also where ``dataset.json`` or a side-car is damaged."""
    try:
        known = resolve(shards, index_dir=index_dir)
    except DataRefused as error:
        refs = []
        for path in expand(shards):
            side_car = (index_dir or path.parent) / (path.name + SIDE_CAR)
            index = str(side_car) if side_car.is_file() else None
            refs.append(ShardRef(path=str(path), index=index))
        problem = Problem(error.shard or "", error.key, error.offset, error.message)
        said_again = error.shard is not None  # by the shard's own check
        return _Found(tuple(refs), {}, {}, None if said_again else problem, {})
    if known.manifest is None:
        return _Found(known.refs, {}, {}, None, {})
    entries = {entry.name: entry for entry in known.manifest.shards}
    classes = {name: i for i, name in enumerate(known.manifest.classes)}
    return _Found(known.refs, entries, classes, None, known.manifest.fields)


def _problem(error: FiberAugError, ref: ShardRef) -> Problem:
    return Problem(error.shard or ref.name, error.key, error.offset, error.message)


def _against_entry(data: mmap.mmap, entry: ShardEntry | None) -> Iterator[Problem]:
    if entry is None:
        return
    if len(data) != entry.bytes:
        reason = f"{len(data)} bytes, dataset.json says {entry.bytes}"
        yield Problem(entry.name, None, None, reason)
    elif sha256(data).hexdigest() != entry.sha256:
        yield Problem(entry.name, None, None, "SHA-256 differs from dataset.json")


def _against_side_car(
    fresh: ShardIndex, ref: ShardRef, entry: ShardEntry | None
) -> Iterator[Problem]:
    if entry is not None and len(fresh) != entry.samples:
        reason = f"{len(fresh)} samples, dataset.json says {entry.samples}"
        yield Problem(ref.name, None, None, reason)
    if ref.index is None:
        return
    try:
        kept = ShardIndex.open(Path(ref.index), shard=ref.name)
    except FiberAugError as error:
        yield _problem(error, ref)
        return
    if len(kept) != len(fresh):
        reason = f"the index has {len(kept)} samples, the shard {len(fresh)}"
        yield Problem(ref.name, None, None, reason)
        return
    if kept.shard_bytes != fresh.shard_bytes:
        reason = f"the index says {kept.shard_bytes} bytes, not {fresh.shard_bytes}"
        yield Problem(ref.name, None, None, reason)
    nothing = np.zeros(0)
    for name in COLUMNS | OPTIONAL:
        if name == "flags" or name not in kept.columns:  # says what was tried
            continue
        left, right = kept.columns[name], fresh.columns.get(name, nothing)
        if not np.array_equal(left, right):
            yield _difference(fresh, name, left, right)


def _difference(
    fresh: ShardIndex, name: str, left: np.ndarray, right: np.ndarray
) -> Problem:
    reason = f"{name} in the index differs from the shard"
    if left.shape != right.shape or name in _TEXT or name in OPTIONAL:
        return Problem(fresh.shard, None, None, reason)
    row = int(np.flatnonzero(left != right)[0])
    if name not in _PER_MEMBER:
        return Problem(fresh.shard, fresh.key(row), None, reason)
    first = fresh.columns["first_member"]
    sample = int(np.searchsorted(first, row, side="right")) - 1
    offset = int(fresh.columns["offset"][row])
    return Problem(fresh.shard, fresh.key(sample), offset, reason)


def _keys(index: ShardIndex, seen: dict[str, str]) -> Iterator[Problem]:
    for i in range(len(index)):
        key = index.key(i)
        if key in seen:
            offset = index.fields(i)[0].offset
            reason = f"the key stands in {seen[key]} too"
            yield Problem(index.shard, key, offset, reason)
        seen[key] = index.shard


def _members(index: ShardIndex, data: mmap.mmap, i: int) -> dict[str, bytes]:
    return {
        field.extension: data[field.offset : field.offset + field.size]
        for field in index.fields(i)
    }


def _auto(index: ShardIndex, data: mmap.mmap) -> tuple[FieldSpec, ...]:
    members = _members(index, data, 0)
    return resolve_auto(members, parse_metadata(members))


def _samples(
    index: ShardIndex, data: mmap.mmap, decoder: SampleDecoder, *, decode: bool
) -> tuple[int, list[Problem]]:
    needed = [
        (spec.name, {source.extension for source in spec.sources})
        for spec in decoder.specs
        if not spec.optional
    ]
    problems: list[Problem] = []
    decoded = 0
    for i in range(len(index)):
        members = index.fields(i)
        present = {field.extension for field in members}
        lacking = [name for name, extensions in needed if not extensions & present]
        reason = ""
        if lacking:
            reason = f"{', '.join(lacking)} missing; the sample has {sorted(present)}"
        elif decode:
            try:
                decoder(_members(index, data, i))
                decoded += 1
            except FiberAugError as error:
                reason = error.message
        if reason:
            problems.append(
                Problem(index.shard, index.key(i), members[0].offset, reason)
            )
    return decoded, problems
