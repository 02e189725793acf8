"""What a source of images is to a conversion: a list of items, and how one is read."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused
from fiberaug.jobs.packed import Packed, Packing
from fiberaug.shards.writer import member_bytes

__all__ = ["Item", "Items", "Raw", "Source"]

_NO_LABEL = -(2**63)


class Item(NamedTuple):
    """One sample of a source, before it is read."""

    key: str
    """Key in the shards."""

    place: str
    """Where the image lies: a path below the root, or what the reader knows."""

    size: int
    """Bytes of its files there: shards are cut by it."""

    label: int | None = None
    """Class id."""

    notes: bytes = b""
    """What else the reader must know, as annotations; its own format."""


class Raw(NamedTuple):
    """One sample as its source has it."""

    image: bytes
    """The image file."""

    notes: Mapping[str, Any] | None = None
    """Content of the JSON member; coordinates of ``objects`` and ``keypoints`` in px of
    the frame that ``stated`` and ``frame`` tell."""

    members: Mapping[str, bytes] = {}
    """Further members by extension, as they are."""

    stated: tuple[int, int] | None = None
    """Width and height, px, that the annotations say the image has."""

    frame: str | None = None
    """``stored`` or ``upright`` where the annotations say it."""

    label: int | float | list[float] | None = None
    """Label where the item has none."""

    kept: Mapping[str, bytes] = {}
    """All members of a sample that lies in a shard already, its image first: written as
    they are. Only where the image changes its size or is turned, its annotations do."""


class Items:
    """Items in columns: a million take some 100 MB.

    Args:
        keys: Keys, UTF-8.
        places: Places, UTF-8 (file names of any bytes by surrogates).
        notes: Notes.
        sizes: Sizes, int64 [N].
        labels: Class ids, int64 [N].
    """

    def __init__(
        self,
        keys: Packed,
        places: Packed,
        notes: Packed,
        sizes: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> None:
        self._keys, self._places, self._notes = keys, places, notes
        self.sizes = sizes
        """Bytes, int64 [N]."""

        self.labels = labels
        """Class ids, int64 [N]; items without one share a number."""

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Return items in columns; they may come from a generator."""
        keys, places, notes = Packing(), Packing(), Packing()
        sizes, labels = array("q"), array("q")
        for item in items:
            keys.append(item.key.encode())
            places.append(item.place.encode(errors="surrogateescape"))
            notes.append(item.notes)
            sizes.append(item.size)
            labels.append(_NO_LABEL if item.label is None else item.label)
        return cls(
            keys.done(), places.done(), notes.done(),
            np.array(sizes, np.int64), np.array(labels, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._keys)

    def __getitem__(self, row: int) -> Item:
        """Return one item."""
        label = int(self.labels[row])
        return Item(
            self._keys[row].decode(),
            self._places[row].decode(errors="surrogateescape"),
            int(self.sizes[row]),
            None if label == _NO_LABEL else label,
            self._notes[row],
        )

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        return (self[row] for row in range(len(self)))

    def take(self, rows: NDArray[np.int64]) -> "Items":
        """Return some rows, in their order."""
        return Items(
            self._keys.take(rows),
            self._places.take(rows),
            self._notes.take(rows),
            self.sizes[rows],
            self.labels[rows],
        )

    def groups(self, rule: Callable[[str], str] | None) -> NDArray[np.uint64]:
        """Return a hash of each item's group, uint64 [N]; without a rule of its key."""
        names = (rule(key.decode()).encode() if rule else key for key in self._keys)
        return _hashes(names, len(self))

    def tar_bytes(self) -> NDArray[np.int64]:
        """Return about what each takes in a tar, with its label and its notes."""
        notes = self._notes.lengths()
        labels = np.where(self.labels == _NO_LABEL, 0, member_bytes(1))
        return (
            member_bytes(self.sizes)
            + labels
            + np.where(notes == 0, 0, member_bytes(notes))
        )

    def relabelled(self, ids: Sequence[int]) -> "Items":
        """Return the items with class ids looked up in a table."""
        table = np.asarray([*ids, _NO_LABEL], np.int64)
        labels = table[np.where(self.labels == _NO_LABEL, len(ids), self.labels)]
        return Items(self._keys, self._places, self._notes, self.sizes, labels)

    def labelled(self, labels: Iterable[int | None]) -> "Items":
        """Return the items with other class ids; None: an item has none."""
        ids = (_NO_LABEL if label is None else label for label in labels)
        column = np.fromiter(ids, np.int64, len(self))
        return Items(self._keys, self._places, self._notes, self.sizes, column)

    def shuffled(self, seed: int) -> NDArray[np.int64]:
        """Return the rows in the order that a seed and the keys alone decide."""
        prefix = f"{seed}\0".encode()
        return np.argsort(
            _hashes((prefix + key for key in self._keys), len(self)), kind="stable"
        )

    def digest(self) -> bytes:
        """Return a hash of everything that is known of the items."""
        total = blake2b(digest_size=16)
        for column in (self._keys, self._places, self._notes):
            column.add_to(total)
        for numbers in (self.sizes, self.labels):
            total.update(np.ascontiguousarray(numbers, "<i8").data)
        return total.digest()

    def check_keys(self) -> None:
        """Refuse keys that stand twice.

        Raises:
            DataRefused: Two items have one key; both places are named.
        """
        digests = _hashes(iter(self._keys), len(self))
        order = np.argsort(digests, kind="stable")
        equal = np.flatnonzero(digests[order][1:] == digests[order][:-1])
        for at in equal.tolist():
            one, other = self[int(order[at])], self[int(order[at + 1])]
            if one.key == other.key:
                raise DataRefused(
                    f"the key {one.key!r} stands twice: {one.place} and {other.place};"
                    " keys are unique in a data set",
                    key=one.key,
                )


def _hashes(names: Iterator[bytes], count: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each name."""
    digests = (blake2b(name, digest_size=8).digest() for name in names)
    numbers = (int.from_bytes(digest, "big") for digest in digests)
    return np.fromiter(numbers, np.uint64, count)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of samples, listed."""

    kind: str
    """As ``--from`` names it."""

    root: str
    """Folder or file that it comes from; errors name it before an item's place."""

    items: Items
    """Its samples, in the source's order."""

    reader: Callable[[Item], Raw]
    """Reads one; it can be pickled, and raises DataRefused or OSError."""

    classes: tuple[str, ...] = ()
    """Class names by id."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """Field mapping beside the image's."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of the set, such as names of keypoints."""

    said: str = ""
    """What was found and how it was understood, in one line."""

    def digest(self) -> str:
        """Return a hash of all that was listed, and of how it is read."""
        told = (repr(self.reader), self.classes, dict(self.fields), dict(self.about))
        return blake2b(
            repr(told).encode() + self.items.digest(), digest_size=16
        ).hexdigest()
