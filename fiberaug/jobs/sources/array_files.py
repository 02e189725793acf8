"""Files of NumPy arrays: what they hold is known at once, read when it is asked for."""

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import DataRefused, StoreError, UsageError

__all__ = ["Arrays", "Stored", "open_arrays"]

_LOCAL = struct.Struct("<26xHH")  # APPNOTE.TXT 4.3.7: lengths of the name and the rest
_PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # what NumPy writes


class Stored(NamedTuple):
    """An array in a file, before it is read."""

    path: str
    """The file."""

    entry: str | None
    """Its name in an ``.npz``."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        """Return its type and shape, as ``uint8 [60000, 28, 28]``."""
        return f"{self.dtype} {list(self.shape)}"


class Arrays:
    """Arrays of files by name.

    Args:
        stored: Where they are.
        content: What tells these files from others.
    """

    def __init__(self, stored: Mapping[str, Stored], content: str) -> None:
        self.stored, self.content = stored, content
        self._read: dict[str, NDArray[Any] | DataRefused] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return an array: mapped where its bytes lie in the file as they are.

        Raises:
            DataRefused: It is damaged.
        """
        if name not in self._read:
            self._read[name] = _attempt(name, self.stored[name])
        found = self._read[name]
        if isinstance(found, DataRefused):  # of a damaged file each sample says it
            raise DataRefused(found.message)
        return found


def open_arrays(path: str) -> Arrays:
    """Return the arrays of an ``.npz``, an ``.npy``, or a folder of ``.npy`` files.

    Each process keeps what it has read.

    Raises:
        UsageError: It is none of these.
        DataRefused: A file is damaged, or holds Python objects.
        StoreError: It cannot be read.
    """
    files = [path]
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.endswith(".npy"))
        files = [os.path.join(path, name) for name in names if name[0] != "."]
    if not files or not all(name.endswith((".npy", ".npz")) for name in files):
        raise UsageError(f"{path} is no .npz, no .npy and no folder of .npy files")
    try:
        facts = [os.stat(name) for name in files]
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return _opened(
        tuple(files), tuple((fact.st_size, fact.st_mtime_ns) for fact in facts)
    )


@lru_cache(maxsize=4)
def _opened(files: tuple[str, ...], facts: tuple[tuple[int, int], ...]) -> Arrays:
    stored: dict[str, Stored] = {}
    content = blake2b(digest_size=8)
    for name, fact in zip(files, facts, strict=True):
        with Refusing(f"{name} cannot be read"):
            if name.endswith(".npz"):
                with zipfile.ZipFile(name) as archive:
                    for entry in archive.infolist():
                        found = _entry(name, archive, entry)
                        stored[entry.filename.removesuffix(".npy")] = found
                        content.update(repr((entry.filename, entry.CRC)).encode())
            else:
                with open(name, "rb") as file:
                    stored[Path(name).stem] = _header(name, None, file, fact[0])
                content.update(repr((Path(name).name, fact)).encode())
    return Arrays(stored, content.hexdigest())


def _entry(path: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Stored:
    if entry.compress_type not in _PACKED:
        raise ValueError(f"{entry.filename} is packed by method {entry.compress_type}")
    with archive.open(entry) as file:
        return _header(path, entry.filename, file, entry.file_size)


def _header(path: str, entry: str | None, file: IO[bytes], size: int) -> Stored:
    """Return what an array's header says, and refuse one that says more than is there.

    Of any shape NumPy takes the memory first, and reads then.
    """
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format is not read")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(
            f"{entry or 'the array'} holds Python objects, which only pickle could"
            " read; save numbers, or text of one length as np.array(names, dtype=str)"
        )
    if file.tell() + prod(shape) * dtype.itemsize != size:
        raise ValueError(
            f"{entry or 'the array'} is {dtype} {list(shape)}, and has {size} bytes"
        )
    return Stored(path, entry, shape, dtype)


def _attempt(name: str, stored: Stored) -> NDArray[Any] | DataRefused:
    try:
        with Refusing(f"the array {name!r} of {stored.path} cannot be read"):
            if stored.entry is None:
                return np.asarray(
                    np.load(stored.path, mmap_mode="r", allow_pickle=False)
                )
            with zipfile.ZipFile(stored.path) as archive:
                return _unpacked(stored, archive, archive.getinfo(stored.entry))
    except DataRefused as error:
        return error


def _unpacked(
    stored: Stored, archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED or not prod(stored.shape):
        with archive.open(entry) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))
    mapped = np.memmap(stored.path, np.uint8, "r")
    at = entry.header_offset
    at += _LOCAL.size + sum(_LOCAL.unpack(mapped[at : at + _LOCAL.size].tobytes()))
    member = mapped[at : at + entry.file_size]
    if zlib.crc32(member.data) != entry.CRC:
        raise ValueError("it does not have its checksum")
    with archive.open(entry) as file:
        reader = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
        shape, fortran, dtype = reader[npy.read_magic(file)[0]](file)
        pixels = member[file.tell() :].view(dtype)
    return np.asarray(pixels.reshape(shape, order="F" if fortran else "C"))
