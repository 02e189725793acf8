"""Whether a pool was made from samples that a training must not see."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fiberaug.decode.text import parse_json
from fiberaug.errors import DataRefused
from fiberaug.rows import Rows
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import open_shard, read_index
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.poolfile import read_pool_file
from fiberaug.synthetic.provenance import FIELD, Parent, Provenance

__all__ = ["Seen", "check_parents"]

_SHOWN = 5


class Seen:
    """Which real samples a training sees.

    Args:
        refs: Its shards.
        whole: All shards of the set, those of other parts, too.
        rows: Which samples of its shards take part; None: all.
        split: The part that was asked for: a name, a name and a share, or None.
        cache: Where remote shards are kept.
    """

    def __init__(
        self,
        refs: Iterable[ShardRef],
        whole: Iterable[ShardRef],
        rows: Rows | None,
        split: Any,  # noqa: ANN401  # see the data set
        cache: ShardCache,
    ) -> None:
        self._refs = {ref.name: (i, ref) for i, ref in enumerate(refs)}
        self._others = [ref for ref in whole if ref.name not in self._refs]
        self._rows, self._cache = rows, cache
        self._hashed = rows is not None and isinstance(split, tuple)
        name = split if isinstance(split, str) else (split or ("train",))[0]
        self._parts: Collection[str] = {"train", str(name)}
        self._chosen: dict[str, set[int]] = {}

    def forbids(self, parent: Parent) -> bool:
        """Return whether a real sample is kept from this training."""
        if parent.split is not None and parent.split not in self._parts:
            return True
        if parent.shard is None:
            found = [name for name in self._refs if self._has(name, parent.key)]
            if found:
                return not any(self._takes(name, parent.key) for name in found)
            return any(self._find(ref, parent.key) is not None for ref in self._others)
        name = parent.shard  # a file name: that is what is stamped
        if name in self._refs:
            return self._has(name, parent.key) and not self._takes(name, parent.key)
        return any(ref.name == name for ref in self._others)

    def _has(self, shard: str, key: str) -> bool:
        return self._find(self._refs[shard][1], key) is not None

    def _find(self, ref: ShardRef, key: str) -> int | None:
        return read_index(ref, self._cache).find(key)

    def _takes(self, shard: str, key: str) -> bool:
        """Return whether a sample of the training's shards takes part."""
        if not self._hashed or self._rows is None:
            return True
        number, ref = self._refs[shard]
        if shard not in self._chosen:
            chosen = self._rows.chosen(number, read_index(ref, self._cache))
            self._chosen[shard] = set(chosen.tolist())
        return self._find(ref, key) in self._chosen[shard]


def check_parents(
    name: str, refs: Iterable[ShardRef], seen: Seen, cache: ShardCache
) -> None:
    """Check that a source was not made from what tests or validates.

    Args:
        name: Of the source.
        refs: Its shards; remote ones are not looked at.
        seen: What the training sees.
        cache: Where remote shards are kept.

    Raises:
        DataRefused: It was.
        StoreError: The source cannot be read.
    """
    local = [ref for ref in refs if not ref.remote and ref.opener is None]
    bad = [parent for parent in _parents(local, cache) if seen.forbids(parent)]
    if bad:
        shown = ", ".join(f"{p.key!r} ({p.split or p.shard})" for p in bad[:_SHOWN])
        raise DataRefused(
            f"source {name!r} of the mix: {len(bad)} of its samples' parents are not in"
            f" the training part, such as {shown}: a test on them would be on what was"
            " trained with; make the pool from the training part alone"
        )


def _parents(refs: Iterable[ShardRef], cache: ShardCache) -> Iterator[Parent]:
    """Yield the real samples that those of some shards were made from.

    A pool says whether there are any; a set that was made of a pool is looked through.
    """
    none: dict[Path, bool] = {}
    for ref in refs:
        folder = Path(ref.path).parent
        if folder not in none:
            file = read_pool_file(folder)
            none[folder] = file is not None and not file.parents.get("samples")
        if none[folder]:
            continue
        shard = open_shard(ref, cache)
        if not len(shard.index) or not _stated(shard.read(0)):
            continue  # photos have no provenance
        for number in range(len(shard.index)):
            stated = _stated(shard.read(number))
            if b'"parents"' in stated:
                notes = parse_json(stated)
                said = notes.get(FIELD) if isinstance(notes, Mapping) else None
                yield from Provenance.from_dict(said).parents if said else ()


def _stated(members: Mapping[str, bytes | memoryview]) -> bytes:
    """Return the JSON of a sample where it states where it comes from."""
    data = bytes(members.get("json", b""))
    return data if f'"{FIELD}"'.encode() in data else b""
