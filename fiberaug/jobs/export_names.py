"""Where the files of an export lie: paths made of keys, no two samples at one."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.naming import escape_folder, escape_stem
from fiberaug.shards.opening import read_index
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.tar import check_name

__all__ = ["PARTS", "Naming", "check_folders", "find_naming", "part_of"]

PARTS = ("train", "val", "test", "valid")
_HEADS = ("images/", "JPEGImages/")  # folders that the formats add themselves
_PART = re.compile(r"[^\W_][\w-]{0,63}")
_LONGEST = 255  # bytes of a file's name
_ENDING = 16  # bytes of an extension, or of _mask_12.png


class Naming(NamedTuple):
    """How keys become paths; a pure function of the set's keys."""

    head: str = ""
    """Folder that all keys lie in and the format adds: it is dropped."""

    parts: tuple[str, ...] = ()
    """Folders that name a part: dropped of samples of that part."""

    by_class: bool = False
    """Keys lie in folders of their classes, which are dropped."""

    def stem(self, key: str, part: str, class_name: str | None) -> str:
        """Return the path of a sample below its folder, without the extension.

        Raises:
            SecurityRefused: The key leads elsewhere.
            SampleBroken: It is longer than a file's name can be.
        """
        check_name(f"{key}.x")
        if max(len(step.encode()) for step in key.split("/")) > _LONGEST - _ENDING:
            raise SampleBroken(
                f"the key {key!r:.80} is longer than a file's name can be,"
                f" {_LONGEST - _ENDING} bytes"
            )
        name = _unescaped(key).removeprefix(self.head)
        if part in self.parts:
            name = name.removeprefix(f"{part}/")
        if self.by_class and class_name is not None:
            name = name.removeprefix(f"{escape_folder(class_name)}/")
        return name


def _unescaped(key: str) -> str:
    """Return a key with the dots that its file had; otherwise as it is."""
    folders, slash, stem = key.rpartition("/")
    name = stem.replace("%2E", ".").replace("%25", "%")
    # A hidden file is passed over by whoever reads the export.
    back = not name.startswith(".") and escape_stem(name) == stem
    return folders + slash + (name if back else stem)


def part_of(said: object) -> str | None:
    """Return the part that a sample's JSON names; None where it is no plain name."""
    return said if isinstance(said, str) and _PART.fullmatch(said) else None


def check_folders(names: Sequence[str], what: str) -> None:
    """Refuse names that cannot be folders.

    Raises:
        UsageError: One cannot.
    """
    for name in names:
        long = len(name.encode()) > _LONGEST
        if long or not name or name[0] == "." or re.search(r"[/\\\x00-\x1f]", name):
            why = f"more than {_LONGEST} bytes" if long else "no plain name"
            raise UsageError(
                f"{what} {name!r:.80} cannot be a folder ({why}); choose another"
                " format, or convert the set with other names"
            )


def find_naming(
    refs: Sequence[ShardRef],
    cache: ShardCache | None,
    *,
    heads: bool,
    parts: Collection[str],
    classes: Sequence[str] | None,
    seen: Callable[[int], object],
) -> Naming:
    """Return how the keys of a set become paths.

    Args:
        refs: The shards.
        cache: Where remote ones are kept.
        heads: Drop a folder that all keys lie in and that formats add themselves.
        parts: Folders to drop of samples of that part.
        classes: Class names where the format has a folder for each.
        seen: Is told how many samples were looked at, shard by shard.

    Raises:
        DataRefused: Two samples would have one path.
    """
    whole = _looked(refs, cache, classes, seen)
    head = next((h for h in _HEADS if heads and h in whole.heads), "")
    _check_unique(whole.hashes, refs, cache)
    dropped = whole.dropped(head, parts)
    clash = np.isin(dropped, whole.below(head)).any()
    return Naming(
        head=head, parts=() if clash else tuple(parts), by_class=whole.by_class
    )


class _Keys(NamedTuple):
    """What all keys of a set have in common."""

    hashes: NDArray[np.uint64]
    heads: frozenset[str]
    by_class: bool
    refs: Sequence[ShardRef]
    cache: ShardCache | None

    def below(self, head: str) -> NDArray[np.uint64]:
        """Return hashes of the names below a head."""
        if not head:
            return self.hashes
        return _hashes(n.removeprefix(head) for n in _names(self.refs, self.cache))

    def dropped(self, head: str, parts: Collection[str]) -> NDArray[np.uint64]:
        """Return hashes of the names below a folder of a part."""
        if not parts:
            return np.zeros(0, np.uint64)
        names = (n.removeprefix(head) for n in _names(self.refs, self.cache))
        folders = (name.partition("/") for name in names)
        return _hashes(rest for first, _, rest in folders if rest and first in parts)


def _looked(
    refs: Sequence[ShardRef],
    cache: ShardCache | None,
    classes: Sequence[str] | None,
    seen: Callable[[int], object],
) -> _Keys:
    heads, by_class = set(_HEADS), classes is not None
    folders = [f"{escape_folder(name)}/" for name in classes or ()]
    hashes = []
    for ref in refs:
        index = read_index(ref, cache)
        keys = [index.key(i) for i in range(len(index))]
        hashes.append(_hashes(map(_unescaped, keys)))
        heads = {head for head in heads if all(map(_begins(head), keys))}
        labels = index.columns["label"].tolist()
        by_class = by_class and all(
            0 <= label < len(folders) and key.startswith(folders[label])
            for key, label in zip(keys, labels, strict=True)
        )
        seen(len(keys))
    return _Keys(np.concatenate(hashes), frozenset(heads), by_class, refs, cache)


def _begins(head: str) -> Callable[[str], bool]:
    return lambda key: key.startswith(head)


def _names(refs: Sequence[ShardRef], cache: ShardCache | None) -> Iterator[str]:
    for ref in refs:
        index = read_index(ref, cache)
        yield from (_unescaped(index.key(i)) for i in range(len(index)))


def _hashes(names: Iterable[str]) -> NDArray[np.uint64]:
    digests = (
        blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
        for name in names
    )
    return np.frombuffer(b"".join(digests), "<u8")


def _check_unique(
    hashes: NDArray[np.uint64], refs: Sequence[ShardRef], cache: ShardCache | None
) -> None:
    """Refuse names that stand twice: one file would be written over another."""
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(equal):
        return
    twice = {int(order[equal[0]]), int(order[equal[0] + 1])}
    names = [name for i, name in enumerate(_names(refs, cache)) if i in twice]
    raise DataRefused(
        f"two samples would be written as {names[0]!r}; where keys stand twice,"
        " `fiberaug convert SHARDS DST --from shards` gives each its shard's name"
    )
