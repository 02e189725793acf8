"""Is this data set what it says it is? Every byte, every sample."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from fiberaug.decode.fields import FieldSpec, parse_fields, resolve_auto
from fiberaug.decode.sample import SampleDecoder, parse_json
from fiberaug.errors import FiberAugError
from fiberaug.jobs.describing import Describer
from fiberaug.shards.index import COLUMNS, ShardIndex
from fiberaug.shards.reader import ShardFile, ShardRef, build_index, map_file
from fiberaug.shards.resolve import ShardSet, resolve

__all__ = ["Problem", "Verified", "verify"]


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


def verify(
    shards: object,
    *,
    index_dir: str | Path | None = None,
    decode: bool = False,
    fields: str = "auto",
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
        fields: Field mapping as a preset, or ``auto``.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: ``shards`` names nothing.
        StoreError: A shard cannot be read at all.
    """
    found = resolve(shards, index_dir=index_dir)
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    specs: tuple[FieldSpec, ...] | None = (
        None if fields == "auto" else parse_fields(fields)
    )
    samples = size = decoded = 0
    sums = (
        {entry.name: entry.sha256 for entry in found.manifest.shards}
        if found.manifest
        else {}
    )
    for ref in tqdm(
        found.refs, unit="shard", desc="verify", disable=None if progress else True
    ):
        try:
            data = map_file(Path(ref.path), shard=ref.name)
            size += len(data)
            fresh = build_index(data, shard=ref.name, describe=Describer())
        except FiberAugError as error:
            problems.append(_problem(error, ref))
            continue
        samples += len(fresh)
        if ref.name in sums and sha256(data).hexdigest() != sums[ref.name]:
            problems.append(
                Problem(ref.name, None, None, "SHA-256 differs from dataset.json")
            )
        problems += _against_side_car(fresh, ref)
        problems += _keys(fresh, ref, seen)
        specs = specs or _auto(ref, problems)
        if specs is not None:
            checked, broken = _samples(fresh, ref, specs, found, decode=decode)
            decoded += checked
            problems += broken
    return Verified(len(found.refs), samples, size, decoded, problems)


def _problem(error: FiberAugError, ref: ShardRef) -> Problem:
    return Problem(error.shard or ref.name, error.key, error.offset, error.message)


def _against_side_car(fresh: ShardIndex, ref: ShardRef) -> Iterator[Problem]:
    if ref.index is None:
        return
    try:
        kept = ShardIndex.open(Path(ref.index), shard=ref.name)
    except FiberAugError as error:
        yield _problem(error, ref)
        return
    if ref.samples is not None and len(kept) != ref.samples:
        yield Problem(
            ref.name,
            None,
            None,
            f"the index has {len(kept)} samples, dataset.json {ref.samples}",
        )
    if len(kept) != len(fresh):
        yield Problem(
            ref.name,
            None,
            None,
            f"the index has {len(kept)} samples, the shard {len(fresh)}",
        )
        return
    per_member = {"offset", "size", "crc32", "extension"}
    for name in COLUMNS:
        if name == "flags":  # says what was tried, not what is there
            continue
        left, right = kept.columns[name], fresh.columns[name]
        if left.shape == right.shape and np.array_equal(left, right):
            continue
        row = int(np.flatnonzero(left != right)[0]) if left.shape == right.shape else 0
        sample = row if name not in per_member else _sample_of(fresh, row)
        key = fresh.key(min(sample, len(fresh) - 1))
        offset = int(fresh.columns["offset"][row]) if name in per_member else None
        yield Problem(
            ref.name, key, offset, f"{name} in the index differs from the shard"
        )


def _sample_of(index: ShardIndex, member: int) -> int:
    return int(np.searchsorted(index.columns["first_member"], member, side="right")) - 1


def _keys(index: ShardIndex, ref: ShardRef, seen: dict[str, str]) -> Iterator[Problem]:
    for i in range(len(index)):
        key = index.key(i)
        if key in seen:
            yield Problem(
                ref.name,
                key,
                index.fields(i)[0].offset,
                f"the key stands in {seen[key]} too",
            )
        seen[key] = ref.name


def _auto(ref: ShardRef, problems: list[Problem]) -> tuple[FieldSpec, ...] | None:
    try:
        members = ShardFile(ShardRef(path=ref.path)).read(0)
        metadata = {e: parse_json(d) for e, d in members.items() if e.endswith("json")}
        return resolve_auto(members, metadata)
    except FiberAugError as error:
        problems.append(_problem(error, ref))
        return None


def _samples(
    index: ShardIndex,
    ref: ShardRef,
    specs: tuple[FieldSpec, ...],
    found: ShardSet,
    *,
    decode: bool,
) -> tuple[int, list[Problem]]:
    classes = found.manifest.classes if found.manifest else ()
    decoder = SampleDecoder(
        specs=specs, classes={name: i for i, name in enumerate(classes)}
    )
    file = ShardFile(ShardRef(path=ref.path))
    needed = [
        (s, {source.extension for source in s.sources}) for s in specs if not s.optional
    ]
    problems: list[Problem] = []
    decoded = 0
    for i in range(len(index)):
        present = {field.extension for field in index.fields(i)}
        lacking = [
            str(spec.name) for spec, extensions in needed if not extensions & present
        ]
        if lacking:
            reason = f"{', '.join(lacking)} missing; the sample has {sorted(present)}"
            problems.append(
                Problem(ref.name, index.key(i), index.fields(i)[0].offset, reason)
            )
        elif decode:
            try:
                decoder(file.read(i))
                decoded += 1
            except FiberAugError as error:
                offset = index.fields(i)[0].offset
                problems.append(Problem(ref.name, index.key(i), offset, error.message))
    return decoded, problems
