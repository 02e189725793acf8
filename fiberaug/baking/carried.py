"""Fields that a pipeline only carries: into a member or into JSON, by what they are."""

import io
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["Carried", "archive", "base_name", "carry", "is_exact_text"]


class Carried(NamedTuple):
    """Where a value goes."""

    source: str
    """Right side of the field mapping."""

    member: bytes | None = None
    """Content of the member that the source names; None: the value is JSON."""


def base_name(field: str) -> str:
    """Return how the members of a field begin: in lower case, and of this field alone.

    >>> base_name("depth"), base_name("Depth")
    ('depth', 'depth-3b62336d')
    """
    low = field.lower()
    return low if low == field else f"{low}-{zlib.crc32(field.encode()):08x}"


def is_exact_text(text: str) -> bool:
    """Return whether a text member gives this very text again."""
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return unicodedata.normalize("NFC", text) == text and not text.startswith("\ufeff")


def carry(field: str, value: Any, extension: str | None) -> Carried:  # noqa: ANN401  # any field
    """Return where a value goes so that it is read back as it is.

    Args:
        field: Name of the field.
        value: bytes, text, an array, arrays by name, or what JSON can hold.
        extension: Extension that bytes keep; None: that of the field's name.

    Raises:
        UsageError: Nothing of these.
    """
    base = base_name(field)
    if isinstance(value, bytes):
        return Carried(extension or f"{base}.bin", value)
    if isinstance(value, str) and is_exact_text(value):
        return Carried(f"{base}.txt", value.encode())
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return Carried(f"{base}.npy", _npy(value))
    if isinstance(value, Mapping) and value and all(map(_is_array, value.values())):
        return Carried(f"{base}.npz", archive(value))
    if isinstance(value, str | bool | int | float | list | dict):
        return Carried(f"json:fields.{field}")
    raise UsageError(
        f"field {field!r} is a {type(value).__module__}.{type(value).__qualname__}; a"
        " shard holds bytes, text, arrays, and what JSON has (numbers, lists, dicts)"
    )


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays by name as an ``.npz``: the same bytes for the same arrays."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archived:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # its time is fixed
            entry.compress_type = zipfile.ZIP_DEFLATED
            archived.writestr(entry, _npy(array), compresslevel=1)
    return file.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and not value.dtype.hasobject
