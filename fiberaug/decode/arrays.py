"""NumPy members, ``.npy`` and ``.npz``: no pickle, no surprise in size."""

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import LimitExceeded

__all__ = ["decode_npy", "decode_npz"]

_MOST_BYTES = 256 * 2**20  # of all arrays of an .npz, unpacked
# What NumPy writes. Of the others zipfile unpacks all there is before it counts.
_PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def decode_npy(data: bytes | memoryview) -> NDArray[Any]:
    """Return the array of an ``.npy`` member.

    Raises:
        SampleBroken: It is no array, holds objects, or is cut.
    """
    file = io.BytesIO(data)
    with Refusing("the array is refused"):
        shape, fortran, dtype = _header(file)
        # Not np.load: it takes the memory first and reads then, and any shape can be
        # said in 80 bytes.
        flat = np.frombuffer(data, dtype, _count(shape, dtype), file.tell())
        return flat.reshape(shape, order="F" if fortran else "C").copy()


def _count(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would need pickle")
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} is negative")
    return math.prod(shape)


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format is not read")


def decode_npz(data: bytes | memoryview) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` member by name.

    Raises:
        SampleBroken: It is no archive of arrays.
        LimitExceeded: Unpacked, the arrays are larger than 256 MiB.
    """
    # Of a damaged file zipfile raises eight kinds of errors.
    with (
        Refusing("the arrays are refused"),
        zipfile.ZipFile(io.BytesIO(data)) as archive,
    ):
        size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise LimitExceeded(
                f"the arrays have {size} bytes, the limit is {_MOST_BYTES}",
                stage="decode",
            )
        return {
            entry.filename.removesuffix(".npy"): decode_npy(_unpacked(archive, entry))
            for entry in archive.infolist()
        }


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return what an entry holds, and never more of it than it states."""
    if entry.compress_type not in _PACKED:
        raise ValueError(
            f"{entry.filename!r} is packed by method {entry.compress_type}"
        )
    with archive.open(entry) as member:
        # With a size: else it unpacks the whole stream and cuts it to what is stated.
        return member.read(entry.file_size)
