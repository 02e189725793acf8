"""Tar shards cut anew: every sample keeps its key and its members."""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from mmap import mmap
from pathlib import Path

import numpy as np

from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SampleBroken,
    ShardDamaged,
    UsageError,
)
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.shard_fields import shard_fields
from fiberaug.shards.index import Field, ShardIndex
from fiberaug.shards.limits import Limits
from fiberaug.shards.manifest import Manifest
from fiberaug.shards.naming import escape_folder
from fiberaug.shards.opening import check_digest
from fiberaug.shards.reader import ShardFile, ShardRef, map_file
from fiberaug.shards.resolve import SIDE_CAR, resolve
from fiberaug.shards.writer import member_bytes
from fiberaug.sizes import counted

__all__ = ["list_shards", "looks_like_shards"]

_LABELS = frozenset({"cls", "json"})
_describe = Describer()


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    images: tuple[str, ...]
    """Extensions of an image, the first that a sample has is its own."""
    content: str
    """Fingerprint of the shards."""

    def __call__(self, item: Item) -> Raw:
        shard = item.place.rpartition("#")[0]
        path = os.path.join(self.root, shard)
        data = _mapped(path, os.stat(path).st_mtime_ns)
        members = {
            extension: _member(data, Field(extension, *where), Path(path).name)
            for extension, *where in json.loads(item.notes)
        }
        own = next((name for name in self.images if name in members), None)
        if own is None:
            raise SampleBroken(
                f"the sample has no image: {', '.join(self.images)}; it has"
                f" {sorted(members)}"
            )
        lost = [name for name in members if not name or name.startswith("_")]
        if lost:
            raise SampleBroken(f"members with the extensions {lost} cannot be written")
        image = members.pop(own)
        return Raw(image, kept={own: image, **members})


@lru_cache(maxsize=64)
def _mapped(path: str, _mtime: int) -> mmap:
    return map_file(Path(path), shard=Path(path).name)


def _member(data: mmap, member: Field, shard: str) -> bytes:
    content = data[member.offset : member.offset + member.size]
    crc = zlib.crc32(content)
    if len(content) != member.size or member.crc32 not in {None, crc}:
        raise SampleBroken(
            f"member .{member.extension} has {len(content)} bytes and CRC-32 {crc:08x},"
            f" the index says {member.size} and {member.crc32 or 0:08x}: the shard was"
            " changed or damaged after indexing",
            shard=shard,
            offset=member.offset,
            stage="read",
        )
    return content


def looks_like_shards(src: Path) -> bool:
    """Return whether a path names tar shards: a folder with some, braces, a glob."""
    if src.is_dir():
        return any(name.endswith(".tar") for name in os.listdir(src))
    return src.name.endswith((".tar", ".tar}"))


def list_shards(src: Path, options: SourceOptions) -> Source:
    """Return the samples of tar shards in their order; none is changed.

    ``src`` is what ``StreamingDataset`` takes: a folder, a tar, braces or a glob.
    Where a key stands twice in the set, all keys get their shard's name before them.
    ``options.columns`` says which member a field is, as ``{"image": "rgb.png"}``.

    Raises:
        UsageError: ``src`` names no shard, or shards of several parts of one set; or
            nothing looks like an image.
        ShardDamaged: A shard or its index is damaged; it and the byte are named.
        DataRefused: A shard holds what no honest one does, or more than the limits.
        StoreError: A shard cannot be read.
    """
    found = resolve(str(src))
    paths = [os.path.abspath(ref.path) for ref in found.refs if not ref.remote]
    if len(paths) < len(found.refs):
        raise UsageError(f"{src} is remote; copy the shards to a local folder for this")
    refs = [_with_index(ref) for ref in found.refs]
    _check_parts(found.manifest, [ref.name for ref in refs])
    root = os.path.dirname(paths[0])
    if any(os.path.dirname(path) != root for path in paths):
        root = os.path.commonpath(paths)
    places = [os.path.relpath(path, root) for path in paths]
    kinds, said = set[frozenset[str]](), ""
    items = Items.of(_items(refs, places, kinds))
    try:
        items.check_keys()
    except DataRefused:
        items = Items.of(_items(refs, places, kinds, prefixed=True))
        said = "; keys stood twice, so each is now SHARD/KEY"
    fields, images = shard_fields(refs[0], kinds, found.manifest, options.columns)
    manifest = found.manifest
    classes = options.classes or (manifest.classes if manifest else ())
    return Source(
        kind="shards",
        root=root,
        items=items,
        reader=_Reader(root, images, found.fingerprint),
        classes=tuple(check_classes(classes)),
        fields=fields,
        about=manifest.about if manifest else {},
        said=f"{counted(len(items), 'sample')} of {counted(len(refs), 'shard')},"
        f" members kept as they are{said}",
    )


def _with_index(ref: ShardRef) -> ShardRef:
    """Return a shard with its own index, though others of the set have none."""
    side_car = ref.path + SIDE_CAR
    if ref.index is None and os.path.isfile(side_car):
        return replace(ref, index=side_car)
    return ref


def _check_parts(manifest: Manifest | None, names: Sequence[str]) -> None:
    """Refuse shards of several parts: cut anew, train and val would be one."""
    parts = manifest.splits if manifest else {}
    here = {part: set(names) & set(parts[part]) for part in parts}
    there = [part for part, shards in here.items() if shards]
    if len(there) > 1:
        raise UsageError(
            f"the set has the parts {there}, and cut anew they would be mixed; convert"
            f" each alone, such as the shards {sorted(here[there[0]])[:3]}"
        )


def _items(
    refs: Sequence[ShardRef],
    places: Sequence[str],
    kinds: set[frozenset[str]],
    *,
    prefixed: bool = False,
) -> Iterator[Item]:
    """Yield the samples; ``kinds`` takes the sets of extensions that they have."""
    for ref, place in zip(refs, places, strict=True):  # one open at a time
        shard = ShardFile(ref, verify=False)
        _check(ref, shard.index)
        prefix = f"{escape_folder(Path(ref.name).stem)}/" if prefixed else ""
        for i in range(len(shard.index)):
            members = shard.index.fields(i)
            kinds.add(frozenset(member.extension for member in members))
            label = _label(shard, i, members)
            notes = json.dumps(members, separators=(",", ":")).encode()
            takes = sum(member_bytes(member.size) for member in members)
            # Less what Items.tar_bytes adds for image, notes and label.
            takes -= member_bytes(0) + member_bytes(len(notes))
            takes -= 0 if label is None else member_bytes(1)
            yield Item(
                prefix + shard.index.key(i), f"{place}#{i}", max(0, takes), label, notes
            )


def _check(ref: ShardRef, index: ShardIndex) -> None:
    """Refuse an index that cannot be right: the reader trusts what comes from it."""
    check_digest(index, ref)
    begins, sizes = index.columns["offset"], index.columns["size"]
    wrong = (sizes > index.shard_bytes) | (begins > index.shard_bytes - sizes)
    if wrong.any():
        raise ShardDamaged(
            f"a member ends beyond the shard's {index.shard_bytes} bytes",
            shard=ref.name,
            offset=int(begins[np.argmax(wrong)]),
            stage="index",
        )
    most = Limits().member_bytes
    if sizes.max(initial=0) > most:
        raise LimitExceeded(
            f"a member has {sizes.max()} bytes, the limit is {most}",
            shard=ref.name,
            offset=int(begins[np.argmax(sizes)]),
            stage="index",
        )


def _label(shard: ShardFile, i: int, members: Sequence[Field]) -> int | None:
    """Return the class id, by which parts of a set are made alike."""
    label = int(shard.index.columns["label"][i])
    if shard.ref.index is None and any(m.extension in _LABELS for m in members):
        found = shard.read(i)
        told = {name: bytes(found[name]) for name in _LABELS & found.keys()}
        label = _describe("", told).label
    return None if label < 0 else label
