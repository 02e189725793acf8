"""Keys that stand twice, or that only look alike.

A first look keeps 8 bytes a sample; names are read again only where two agree.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.checkup.findings import Finding, named, note, ok, problem
from fiberaug.shards.index import ShardIndex

__all__ = ["KeyCheck"]


def _folded(key: str) -> str:
    if not key.isascii():
        key = unicodedata.normalize("NFC", key)
    return key.casefold()


def _hashes(index: ShardIndex) -> NDArray[np.int64]:
    keys = (index.key(i) for i in range(len(index)))
    return np.fromiter((hash(_folded(key)) for key in keys), np.int64, len(index))


class _Seen(NamedTuple):
    reopen: Callable[[], ShardIndex]
    hashes: NDArray[np.int64]


class KeyCheck:
    """Collects the keys of shards and finds those that clash."""

    def __init__(self) -> None:
        # Not the indexes themselves: each holds a file open.
        self._shards: list[_Seen] = []

    def add(self, index: ShardIndex, reopen: Callable[[], ShardIndex]) -> None:
        """Take in the keys of a shard.

        Args:
            index: Its index.
            reopen: Gives the index again, where its names are needed.
        """
        self._shards.append(_Seen(reopen, _hashes(index)))

    def _groups(self) -> Iterator[list[tuple[str, str]]]:
        """Yield (key, shard) of keys that are one when case and form do not count."""
        if not self._shards:
            return
        hashes = np.concatenate([shard.hashes for shard in self._shards])
        values, counts = np.unique(hashes, return_counts=True)
        twice = values[counts > 1]
        if not len(twice):
            return
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for shard in self._shards:
            rows = np.flatnonzero(np.isin(shard.hashes, twice))
            if not len(rows):
                continue
            index = shard.reopen()
            for i in rows:
                key = index.key(int(i))
                found[_folded(key)].append((key, index.shard))
        yield from (group for group in found.values() if len(group) > 1)

    def report(self, *, whole: bool) -> Iterator[Finding]:
        """Yield one line for each kind of clash.

        Args:
            whole: Whether the keys of all shards were taken in.
        """
        same: list[str] = []
        forms: list[str] = []
        cases: list[str] = []
        for group in self._groups():
            names = [key for key, _ in group]
            composed = {unicodedata.normalize("NFC", key) for key in names}
            if len(set(names)) < len(names):
                shards = sorted({shard for _, shard in group})
                same.append(f"{names[0]} ({', '.join(shards[:3])})")
            if len(composed) < len(set(names)):
                forms.append(names[0])
            if len(composed) > 1:
                cases.append(" = ".join(sorted(composed)[:3]))
        figures = {"same": len(same), "form": len(forms), "case": len(cases)}
        if same:
            yield problem(
                "keys", f"{len(same):,} stand more than once: {named(same)}",
                "samples are told apart by shard and number, but logs, splits and"
                " replay by key are not: give them other names", figures,
            )  # fmt: skip
        if forms:
            yield problem(
                "keys", f"{len(forms):,} differ only in Unicode form: {named(forms)}",
                "write them in NFC, as `fiberaug convert` does", figures,
            )  # fmt: skip
        if cases:
            yield note(
                "keys", f"{len(cases):,} differ only in case: {named(cases)}",
                "on some file systems they are one file: give them other names",
                figures,
            )  # fmt: skip
        count = sum(len(shard.hashes) for shard in self._shards)
        if count and not (same or forms or cases):
            looked = "" if whole else " in the shards that were read (--deep: all)"
            yield ok("keys", f"{count:,}, no two alike{looked}", figures)
