"""Where the files of a table lie, and which rows are of one image."""

import os
import re
import stat
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.jobs.sources.files import EXTENSIONS, inside
from fiberaug.jobs.sources.table_rows import Table

__all__ = ["Owners", "Places", "refuse_twice"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class Places:
    """Finds files below a folder.

    Args:
        root: The folder.
        outside: They may lie elsewhere.
    """

    def __init__(self, root: str, *, outside: bool) -> None:
        self._root, self._outside = root, outside
        self._prefix = os.path.join(os.path.normpath(root), "")
        self._stays = cache(lambda folder: inside(root, folder))

    def __call__(self, text: str, where: str) -> tuple[str, int]:
        """Return the path below the folder, and the bytes: 0 where there is no file.

        A name without an extension is that of the only image that is called so.

        Args:
            text: As the table has it.
            where: The row, for errors.

        Raises:
            UsageError: It is a URL.
            SecurityRefused: It leads out of the folder.
            DataRefused: It is no path, or something else than a file.
        """
        if _URL.match(text):
            raise UsageError(
                f"{where}: {text!r:.200} is a URL; convert reads files: download them"
                " first, for instance with img2dataset, and name the files"
            )
        if not _is_path(text):
            raise DataRefused(f"{where}: {text!r:.200} is no path")
        path = os.path.normpath(os.path.join(self._root, text))
        status = _status(path)
        if status is None and os.path.splitext(path)[1][1:].lower() not in EXTENSIONS:
            there = [end for end in sorted(EXTENSIONS) if _status(f"{path}.{end}")]
            path = f"{path}.{there[0]}" if len(there) == 1 else path
            status = _status(path)
        link = status is not None and stat.S_ISLNK(status.st_mode)
        if not self._outside and not (
            self._stays(os.path.dirname(path))
            and (not link or inside(self._root, path))
        ):
            raise SecurityRefused(
                f"{where}: {text!r:.200} lies outside of {self._root};"
                " allow_outside=True (--allow-outside) takes it all the same"
            )
        if link:
            status = _status(path, follow=True)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise DataRefused(f"{where}: {path} is no file")
        size = status.st_size if status else 0
        if path.startswith(self._prefix):
            return path[len(self._prefix) :], size
        return os.path.relpath(path, self._root), size


def _is_path(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _status(path: str, *, follow: bool = False) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError:  # reading it says why
        return None


class Owners:
    """Finds the rows of one image, by hashes: a million rows take 16 MB."""

    def __init__(self) -> None:
        self._digests = bytearray()

    def add(self, text: str) -> None:
        """Take in the image of the next row."""
        path = os.path.normpath(text).encode(errors="surrogatepass")
        self._digests += blake2b(path, digest_size=16).digest()

    def done(self) -> NDArray[np.int64]:
        """Return the number of the image of each row, in order of appearance."""
        halves = np.frombuffer(self._digests, np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable
        new = np.ones(len(order), bool)
        new[1:] = (halves[order][1:] != halves[order][:-1]).any(axis=1)
        firsts = order[new]
        owners = np.empty(len(order), np.int64)
        rank = np.empty(len(firsts), np.int64)
        rank[np.argsort(firsts)] = np.arange(len(firsts))
        owners[order] = rank[np.cumsum(new) - 1]
        return owners


def refuse_twice(
    table: Table, owners: NDArray[np.int64], rows: Sequence[int] | NDArray[np.int64]
) -> None:
    """Refuse an image that stands in two rows.

    Args:
        table: The table.
        owners: Number of the image of each row.
        rows: Numbers of the rows, for errors.

    Raises:
        DataRefused: One does.
    """
    order = np.argsort(owners, kind="stable")
    equal = np.flatnonzero(owners[order][1:] == owners[order][:-1])
    if len(equal):
        one, other = (int(rows[order[int(equal[0]) + i]]) for i in (0, 1))
        raise DataRefused(
            f"{table.path}: {table.word} {one} and {table.word} {other} have one image,"
            " and the table has no columns of boxes; leave one row for each image, or"
            ' name the columns of boxes: columns={"x_min": ..., ...} (--column)'
        )
