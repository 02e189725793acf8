"""Whether a pool was made from samples that a training must not see."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fiberaug.errors import DataRefused
from fiberaug.rows import Rows
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import read_index
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.pool import Pool
from fiberaug.synthetic.poolfile import read_pool_file

if TYPE_CHECKING:
    from fiberaug.shards.index import ShardIndex

__all__ = ["Seen", "check_parents"]

_SHOWN = 5


class Parent(Protocol):
    """A real sample that a synthetic one was made from."""

    @property
    def shard(self) -> str | None:
        """File name of its shard."""
        ...

    @property
    def key(self) -> str:
        """Its key."""
        ...

    @property
    def split(self) -> str | None:
        """The part that it is of."""
        ...


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
        self._whole = {ref.name for ref in whole}
        self._rows, self._cache = rows, cache
        self._hashed = rows is not None and isinstance(split, tuple)
        name = split if isinstance(split, str) else (split or ("train",))[0]
        self._parts: Collection[str] = {"train", str(name)}
        self._chosen: dict[int, tuple[ShardIndex, set[int]]] = {}

    def forbids(self, parent: Parent) -> bool:
        """Return whether a real sample is kept from this training."""
        if parent.split is not None and parent.split not in self._parts:
            return True
        if parent.shard is None or parent.shard not in self._whole:
            return False
        if parent.shard not in self._refs:
            return True
        if not self._hashed or self._rows is None:
            return False
        number, ref = self._refs[parent.shard]
        if number not in self._chosen:
            index = read_index(ref, self._cache)
            chosen = self._rows.chosen(number, index)
            self._chosen[number] = index, set(chosen.tolist())
        index, taken = self._chosen[number]
        found = index.find(parent.key)
        return found is not None and found not in taken


def check_parents(name: str, place: Any, seen: Seen) -> None:  # noqa: ANN401
    """Check that a pool was not made from what tests or validates.

    Args:
        name: Of the source.
        place: What the user gave for it.
        seen: What the training sees.

    Raises:
        DataRefused: It was.
        StoreError: The pool cannot be read.
    """
    if not isinstance(place, str | Path) or not os.path.isdir(place):  # noqa: PTH112
        return
    file = read_pool_file(place)
    if file is None or not file.parents.get("samples"):
        return
    bad = [parent for parent in Pool.open(place).parents() if seen.forbids(parent)]
    if bad:
        shown = ", ".join(
            f"{one.key!r} ({one.split or one.shard})" for one in bad[:_SHOWN]
        )
        raise DataRefused(
            f"source {name!r} of the mix: {len(bad)} of its samples' parents are not in"
            f" the training part, such as {shown}: a test on them would be on what was"
            " trained with; make the pool from the training part alone"
        )
