"""Image files below a folder: which count, in what order, and their keys."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.sources.heif import HEIF, as_png, is_heif
from fiberaug.shards.naming import escape_folder, escape_stem
from fiberaug.shards.writer import check_key

__all__ = ["EXTENSIONS", "Found", "Keys", "file_key", "inside", "read_file", "walk"]

EXTENSIONS = HEIF | {
    "jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm",
}  # fmt: skip
_DRIVE = re.compile(r"^([A-Za-z]):")


class Found(NamedTuple):
    """One file of a folder."""

    path: str
    """Below the folder."""

    size: int
    """Bytes."""


def walk(
    root: Path,
    links: list[str],
    extensions: frozenset[str] = EXTENSIONS,
    others: Counter[str] | None = None,
) -> Iterator[Found]:
    """Yield the files of a folder and its subfolders, in sorted order.

    Hidden files are passed over, and links that leave the folder or lead nowhere.

    Args:
        root: The folder.
        links: Takes the links that were passed over.
        extensions: Of the files, in lower case.
        others: Counts the other files by extension.

    Raises:
        UsageError: There is no such folder.
        StoreError: A folder cannot be read.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is no folder")
    home = os.path.realpath(root)
    for folder, folders, files in os.walk(root, followlinks=False, onerror=_unreadable):
        below = os.path.relpath(folder, root)
        below = "" if below == "." else below
        links += [
            os.path.join(below, name)
            for name in folders
            if os.path.islink(os.path.join(folder, name))
        ]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = os.path.splitext(name)[1][1:].lower()
            if name.startswith("."):
                continue
            if suffix not in extensions:
                if others is not None:
                    others[suffix] += 1
                continue
            path = os.path.join(folder, name)
            leads = os.path.isfile(path)
            if os.path.islink(path) and not (leads and inside(home, path)):
                links.append(os.path.join(below, name))
                continue
            if not leads:  # a pipe, a device
                continue
            yield Found(os.path.join(below, name), os.stat(path).st_size)


def inside(root: str | Path, path: str | Path) -> bool:
    """Return whether a path, links followed, lies in a folder."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    return real == home or real.startswith(home.rstrip(os.sep) + os.sep)


def _unreadable(error: OSError) -> None:
    raise StoreError(f"cannot read {error.filename}: {error.strerror}") from error


def file_key(path: str) -> str:
    """Return the key of a file: its path without the extension, made safe."""
    *folders, name = Path(path).parts
    parts = [escape_folder(part) for part in folders if part not in {"/", "\\"}]
    stem = escape_stem(os.path.splitext(name)[0])
    return _DRIVE.sub(r"\1%3A", "/".join((*parts, stem)))


class Keys:
    """Keys of files, each once: of ``a.jpg`` and ``a.png`` one becomes ``a-2``."""

    def __init__(self) -> None:
        self._seen = set[bytes]()  # hashes: a million keys would take 100 MB

    def __call__(self, path: str) -> str:
        """Return the key of a file.

        Raises:
            UsageError: It cannot be read back.
        """
        key = unique = file_key(path)
        n = 1
        while (digest := _digest(unique)) in self._seen:
            n += 1
            unique = f"{key}-{n}"
        check_key(unique, {"jpg": b""})
        self._seen.add(digest)
        return unique


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=8).digest()


def read_file(root: str, item: Item) -> Raw:
    """Return an image file as it is; HEIC and AVIF as PNG.

    Raises:
        OSError: It cannot be read.
        SampleBroken: It is HEIC or AVIF that cannot be decoded.
    """
    with open(os.path.join(root, item.place), "rb") as file:
        data = file.read()
    return Raw(as_png(data) if is_heif(data) else data)
