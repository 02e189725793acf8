"""A COCO annotation file entry by entry: parsed at once it would take gigabytes."""

import json
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from fiberaug.errors import DataRefused, StoreError

__all__ = ["CocoFile", "Entry", "looks_like_file", "place"]

_CHUNK = 2**22
_HEAD = 2**16
_LONGEST = 16  # of a literal, a number's sign or an escape that a chunk may cut
_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|[\[\]{}]', re.DOTALL)
_DECODER = json.JSONDecoder()


class Entry(NamedTuple):
    """One value of the file's object, or one item of a list there."""

    key: str
    """Key of the value or of the list."""

    value: Any
    """Parsed."""

    begin: int
    """Byte in the file at which it begins."""

    end: int
    """Byte at which it ends."""


class CocoFile:
    """A JSON file whose top level is an object of lists, read in one pass.

    Bytes are taken for characters one by one, so that an index is a place in the file;
    only entries that are not ASCII are decoded as UTF-8.

    Args:
        path: The file.

    Raises:
        StoreError: It cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.keys: list[str] = []
        """Keys of the top level that came so far."""
        self._text, self._at, self._base = "", 0, 0
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed below
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def entries(self) -> Iterator[Entry]:
        """Yield the items of each list, and each other value as a whole.

        Raises:
            DataRefused: It is cut or no JSON; line and column are named.
        """
        if self._more() and self._text.startswith("\xef\xbb\xbf"):  # a BOM
            self._at = 3
        self._take("{", "an object with images and annotations must begin here")
        mark = self._peek()
        while mark != "}":
            key = self._value("").value
            if not isinstance(key, str):
                self._refuse(f"a key must stand here, got {key!r:.60}")
            if key in self.keys:
                self._refuse(f"the key {key!r} stands twice")
            self.keys.append(key)
            self._take(":", "a colon must stand here")
            if self._peek() == "[":
                yield from self._items(key)
            else:
                yield self._value(key)
            mark = self._peek()
            if mark != "}":
                self._take(",", "a comma or the end of the object must stand here")
        self._at += 1
        if self._peek():
            self._refuse("something follows the end of the object")

    def _items(self, key: str) -> Iterator[Entry]:
        self._at += 1
        mark = self._peek()
        while mark != "]":
            yield self._value(key)
            mark = self._peek()
            if mark != "]":
                self._take(",", f"a comma or the end of {key} must stand here")
        self._at += 1

    def _take(self, mark: str, otherwise: str) -> None:
        if self._peek() != mark:
            self._refuse(otherwise)
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on; twice as much each time, while one value is not whole."""
        rest = self._text[self._at :]
        data = self._file.read(max(_CHUNK, len(rest)))
        if not data:
            return False
        self._text = rest + data.decode("latin-1")
        self._base += self._at
        self._at = 0
        return True

    def _value(self, key: str) -> Entry:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _LONGEST
                whole = not cut and not error.msg.startswith("Unterminated")
                further = error.pos - self._at
                if whole or not self._more():
                    self._refuse(error.msg, further)
            except (ValueError, RecursionError) as error:
                self._refuse(str(error))
            else:
                if end < len(self._text) or not self._more():
                    break
        text = self._text[self._at : end]
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1").decode())
            except UnicodeDecodeError as error:
                self._refuse("it is no UTF-8", error.start)
        entry = Entry(key, value, self._base + self._at, self._base + end)
        self._at = end
        return entry

    def _refuse(self, reason: str, further: int = 0) -> NoReturn:
        if self._at + further >= len(self._text) and not self._more():
            reason += "; the file ends here, it is cut"
        raise DataRefused(
            f"{place(self.path, self._base + self._at + further)}: no sound JSON:"
            f" {reason}"
        )


def place(path: str, offset: int) -> str:
    """Return a byte's place in a file for an error: path, line and column."""
    line, column, done = 1, offset + 1, 0
    with open(path, "rb") as file:
        while data := file.read(min(_CHUNK, offset - done)):
            line += data.count(b"\n")
            if b"\n" in data:
                column = offset - done - data.rindex(b"\n")
            done += len(data)
    return f"{path}, line {line}, column {column}"


def looks_like_file(path: str) -> bool:
    """Return whether a JSON file begins as COCO annotations do; its head is read.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    keys = set(_top_keys(head.decode("latin-1")))
    if "images" in keys:
        return bool(keys & {"annotations", "categories", "info", "licenses"}) or (
            re.search(rb'"file_name"\s*:', head) is not None
        )
    return (
        "annotations" in keys and re.search(rb'"image_id"\s*:', head) is not None
    ) or ("categories" in keys and re.search(rb'"supercategory"\s*:', head) is not None)


def _top_keys(text: str) -> Iterator[str]:
    """Yield the keys of the top level, as far as a text goes."""
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if depth == 0 and mark != "{":
            return
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif depth == 1 and token[2]:
            yield token[1]
