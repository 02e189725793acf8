"""Folders that ``datasets`` wrote: their parts, and the rows in them."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.jobs.sources.files import inside

__all__ = ["Part", "find_parts", "is_saved", "open_rows"]

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


class Part(NamedTuple):
    """One data set of a folder."""

    name: str
    """Of the split; empty where there is one data set."""

    fingerprint: str
    """What the library calls this content."""


def is_saved(src: Path) -> bool:
    """Return whether a folder is what ``save_to_disk`` writes."""
    return (src / _SPLITS).is_file() or (
        (src / _STATE).is_file() and (src / _INFO).is_file()
    )


def find_parts(src: Path) -> list[Part]:
    """Return the splits of a folder in the order that it says, or the one data set.

    Raises:
        UsageError: It is no such folder.
        DataRefused: Its description is damaged, or names files elsewhere.
        StoreError: It cannot be read.
    """
    if not is_saved(src):
        raise UsageError(
            f"{src} is not what save_to_disk writes; a data set is saved so by"
            ' datasets.load_dataset(...).save_to_disk("FOLDER")'
        )
    if not (src / _SPLITS).is_file():
        return [Part("", _fingerprint(src, src))]
    with Refusing(f"{src / _SPLITS} is damaged"):
        names = [str(name) for name in json.loads(_read(src / _SPLITS))["splits"]]
    if not names:
        raise DataRefused(f"{src / _SPLITS} names no split")
    return [Part(name, _fingerprint(src, src / name)) for name in names]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _fingerprint(root: Path, folder: Path) -> str:
    state = folder / _STATE
    with Refusing(f"{state} is damaged"):
        content = json.loads(_read(state)) if inside(root, state) else {}
        files = [folder / file["filename"] for file in content["_data_files"]]
        fingerprint = str(content["_fingerprint"])
    for path in [state, *files]:
        if not inside(root, path):
            raise DataRefused(f"{path} lies outside of {root}")
    return fingerprint


def open_rows(folder: str, images: tuple[str, ...], used: tuple[str, ...] = ()) -> Any:  # noqa: ANN401  # a library that only this source needs
    """Return a ``datasets.Dataset`` that lies in a folder; nothing is fetched.

    Args:
        folder: The folder.
        images: Columns whose images are to stay files.
        used: Columns to read; empty: all.

    Raises:
        UsageError: ``datasets`` is not installed.
        DataRefused: The folder is damaged.
    """
    return _opened(
        folder, os.stat(os.path.join(folder, _STATE)).st_mtime_ns, images, used
    )


@lru_cache(maxsize=16)
def _opened(
    folder: str, _mtime: int, images: tuple[str, ...], used: tuple[str, ...]
) -> Any:  # noqa: ANN401  # as above
    try:
        import datasets  # noqa: PLC0415  # an extra
    except ImportError:
        raise UsageError(
            "this source needs the library datasets: pip install 'fiberaug[hf]'"
        ) from None
    with Refusing(f"{folder} cannot be read"):
        rows = datasets.Dataset.load_from_disk(folder).with_format(None)
        for name in images:
            rows = rows.cast_column(name, datasets.Image(decode=False))
        return rows.select_columns([*used]) if used else rows
