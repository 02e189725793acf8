"""The state of a training on disk: safetensors and JSON, whole or not there.

``state/000000012800/`` holds a file of tensors for each part and ``state.json``, which
names their sizes and hashes. A folder is written beside, synced and renamed, so a state
that has its final name is complete; one that was damaged since is passed over.
"""

import json
import os
import shutil
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fiberaug.errors import DataRefused, StoreError

__all__ = ["State", "has_state", "latest", "recover", "replace_folder", "save_state"]

_FOLDER, _FILE, _VERSION = "state", "state.json", 1
_KEPT = 2
_DIGITS = 12


class State(NamedTuple):
    """All that a training needs to go on."""

    tensors: dict[str, dict[str, torch.Tensor]]
    """By file and by name, in memory."""

    facts: dict[str, Any]
    """The rest, as JSON has it."""


def save_state(
    out: Path,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    facts: Mapping[str, Any],
    *,
    nimg: int,
) -> Path:
    """Write a state, remove all but the newest two, and return its folder.

    Args:
        out: Folder of the training.
        tensors: By file and by name, on any device.
        facts: Fit for JSON.
        nimg: Images shown, which name it.

    Raises:
        StoreError: The disk is full or gone; the last state is still there.
    """
    parent = out / _FOLDER
    folder = parent / f"{nimg:0{_DIGITS}}"
    beside = parent / f".{folder.name}.{os.getpid()}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(".*"):
            shutil.rmtree(old, ignore_errors=True)
        beside.mkdir()
        files = {name: _write(beside, name, some) for name, some in tensors.items()}
        said = {"v": _VERSION, "nimg": nimg, "files": files, "facts": dict(facts)}
        with (beside / _FILE).open("w", encoding="utf-8") as file:
            json.dump(said, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
        _sync(parent)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise StoreError(
            f"cannot save the state of the training in {parent}: {error.strerror};"
            " make room, and the same call goes on from the last one"
        ) from error
    for old in _states(out)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _write(
    folder: Path, name: str, tensors: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    path = folder / f"{name}.safetensors"
    # clone: safetensors refuses tensors that share memory
    plain = {
        key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()
    }
    save_file(plain, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _states(out: Path) -> list[Path]:
    return sorted(
        one
        for one in (out / _FOLDER).glob("[0-9]" * _DIGITS)
        if (one / _FILE).is_file()
    )


def has_state(out: Path) -> bool:
    """Return whether a folder holds a training that can go on."""
    return bool(_states(out))


def latest(out: Path, *, device: torch.device | None = None) -> State:
    """Return the newest whole state of a folder.

    Args:
        out: Folder of the training.
        device: Where tensors are put; None: memory.

    Raises:
        DataRefused: None is whole, or the newest is of a newer release.
    """
    broken: list[str] = []
    for folder in reversed(_states(out)):
        try:
            return _read(folder, device)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            if isinstance(error, DataRefused):
                raise
            broken.append(f"{folder.name}: {error}")
    told = "; ".join(broken) or "there is none"
    raise DataRefused(f"no state in {out / _FOLDER} is whole ({told})")


def _read(folder: Path, device: torch.device | None) -> State:
    said = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    if said["v"] != _VERSION:
        raise DataRefused(
            f"{folder / _FILE} has version {said['v']}, this release reads {_VERSION}"
        )
    tensors = {}
    for name, noted in said["files"].items():
        path = folder / f"{Path(name).name}.safetensors"
        with path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != noted["sha256"]:
                raise ValueError(f"{path.name} was changed")
        tensors[name] = load_file(path, device=str(device or "cpu"))
    return State(tensors, {**said["facts"], "nimg": said["nimg"]})


def replace_folder(beside: Path, folder: Path) -> None:
    """Put a folder that is written in the place of another.

    The old one is there until the new one is; see :func:`recover`.
    """
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put back what :func:`replace_folder` had moved when it was ended."""
    old = _old(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
