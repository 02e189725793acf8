"""What the files of a copy are called: as the photo's, or with a number.

Where one copy is made it has the photo's own path. Of several, copy c of ``a/b.jpg`` is
``a/b_c.jpg``, c from 0; its mask ``a/b_mask.png`` becomes ``a/b_c_mask.png``.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

from fiberaug.errors import SecurityRefused
from fiberaug.foldering.pictures import extension_of, mask_name

__all__ = ["Names", "find_clashes"]


class Names(NamedTuple):
    """The names of what one copy of one photo writes; paths have ``/`` between."""

    place: str
    """Path of the photo below its root."""

    stem: str
    """Name of what is written for it, without extension and number."""

    number: str
    """``_c`` for copy c of several, else nothing."""

    encode: str
    """How pictures are encoded; it tells the extension."""

    @classmethod
    def of(
        cls, place: str, copy: int, *, copies: int, encode: str, stem: str | None = None
    ) -> "Names":
        """Return the names of a copy.

        Args:
            place: Path of the photo below its root.
            copy: Its number, from 0.
            copies: How many there are.
            encode: ``keep``, ``jpeg``, ``png`` or ``webp``.
            stem: Another name than the photo's, where that is taken.

        Raises:
            SecurityRefused: The path leads out of its root.
        """
        path = PurePath(place)
        if path.is_absolute() or ".." in path.parts:
            raise SecurityRefused(
                f"{place!r:.200} leads out of the folder, and what is made of it would,"
                " too; move the photo into it"
            )
        number = f"_{copy}" if copies > 1 else ""
        return cls(place, path.stem if stem is None else stem, number, encode)

    @property
    def image(self) -> str:
        """Path of the picture."""
        suffix = extension_of(self.place, self.encode)
        return self._beside(self.place, self.stem + self.number + suffix)

    def side(self, place: str) -> str:
        """Return the path of a file that goes with the photo, as a caption or labels.

        Of one that is named after the photo the part behind its name stays.
        """
        path, own = PurePath(place), PurePath(self.place).stem
        rest = path.name.removeprefix(own)
        if rest == path.name:  # another way to write é
            nfc, own = (unicodedata.normalize("NFC", n) for n in (path.name, own))
            rest = nfc.removeprefix(own) if nfc.startswith(own) else ""
        if rest:
            return self._beside(place, self.stem + self.number + rest)
        return self._beside(place, path.stem + self.number + path.suffix)

    def mask(self, place: str) -> str:
        """Return the path of a mask."""
        return mask_name(self.side(place))

    @staticmethod
    def _beside(place: str, name: str) -> str:
        return str(PurePath(place).with_name(name))


def find_clashes(places: Iterable[str], *, encode: str, alone: bool) -> dict[int, str]:
    """Return other names for photos whose own is taken, by their number.

    Of ``a.jpg`` and ``a.png`` the second is written as ``a-2`` where both would have
    one name, or where files beside them have no extension to differ in.

    Args:
        places: Paths of all photos below their root, in order.
        encode: How pictures are encoded.
        alone: Photos have no files of their name beside them.
    """
    taken = set[int]()
    doubles: list[tuple[int, PurePath]] = []
    for number, place in enumerate(places):
        mark = _mark(PurePath(place), encode, alone=alone)
        if mark in taken:
            doubles.append((number, PurePath(place)))
        taken.add(mark)
    others: dict[int, str] = {}
    for number, path in doubles:
        n = 2
        while (mark := _mark(_numbered(path, n), encode, alone=alone)) in taken:
            n += 1
        others[number] = _numbered(path, n).stem
        taken.add(mark)
    return others


def _numbered(path: PurePath, n: int) -> PurePath:
    return path.with_name(f"{path.stem}-{n}{path.suffix}")


def _mark(path: PurePath, encode: str, *, alone: bool) -> int:
    """Return a hash of what may stand once: a million paths would take 100 MB."""
    return hash(path.with_suffix(extension_of(path.name, encode) if alone else ""))
