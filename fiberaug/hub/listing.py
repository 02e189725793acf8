"""Files of a folder that are sent: those of a list of kinds, and nothing else."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import SecurityRefused, StoreError
from fiberaug.hub.subject import Subject

__all__ = ["Listed", "list_files"]

_KINDS = frozenset({
    ".safetensors", ".json", ".jsonl", ".tar", ".idx", ".png", ".jpg", ".jpeg",
    ".webp", ".gif", ".csv", ".tsv", ".md", ".txt", ".yaml", ".yml",
})  # fmt: skip
_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE"})
_CODE = frozenset({".py", ".pyc", ".so", ".sh", ".ipynb", ".dll", ".exe"})
_PICKLES = frozenset({
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz",
    ".h5", ".onnx", ".msgpack",
})  # fmt: skip
_LEFT = {
    "state": "what the training needs to go on",
    "judge": "what judged the training",
    "samples/real.png": "it shows photos that were trained on",
    "log.jsonl": "the training's own log",
    ".cache": "the Hub's notes of a download",
    ".git": "another repository",
    ".gitattributes": "the Hub's own",
    ".gitignore": "",
    ".DS_Store": "",
}
"""By path: left out, and why."""

_TOLD = ("samples.png", "loss.png", "loss.csv", "judge.csv")
"""What of a training's folder is sent with its generator."""


class Listed(NamedTuple):
    """What was found in a folder."""

    files: dict[str, Path]
    """By path in the repository."""

    notes: list[str]
    """What was left out, and why."""


def list_files(subject: Subject) -> Listed:
    """Return the files of a folder that are sent.

    Raises:
        SecurityRefused: Something is in it that is not sent to strangers: a hidden
            file, code, a pickle, a link that leads out, a file of an unknown kind.
        StoreError: The folder cannot be read.
    """
    files: dict[str, Path] = {}
    notes: list[str] = []
    try:
        for path in _walk(subject.folder, subject.folder.resolve(), notes):
            files[path.relative_to(subject.folder).as_posix()] = path
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {error.filename}: {error.strerror}") from error
    if subject.training is not None:
        for name in _TOLD:
            path = subject.training / name
            if path.is_file() and not path.is_symlink():
                files[f"training/{name}"] = path
        notes.append(
            f"of the training {subject.folder.name}/ is sent, with its losses and"
            " samples; state/, which it goes on from, is not"
        )
    return Listed(dict(sorted(files.items())), notes)


def _walk(folder: Path, root: Path, notes: list[str], at: str = "") -> Iterator[Path]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda one: one.name)
    for entry in found:
        name = f"{at}{entry.name}"
        if name in _LEFT:
            why = _LEFT[name]
            notes.append(f"{name} is left out" + (f": {why}" if why else ""))
            continue
        path = folder / entry.name
        _check_place(path, name, root)
        if path.is_dir():
            yield from _walk(path, root, notes, f"{name}/")
        else:
            _check_kind(path, name)
            yield path


def _check_place(path: Path, name: str, root: Path) -> None:
    if path.name.startswith("."):
        raise SecurityRefused(
            f"{name} is hidden, and hidden files are not sent: remove or rename it"
        )
    if any(ord(char) < 32 or char in "\\\x7f" for char in path.name):
        raise SecurityRefused(f"{name!r} has characters that the Hub does not take")
    if path.is_symlink():
        there = path.resolve()
        if path.is_dir() or not there.is_relative_to(root):
            raise SecurityRefused(
                f"{name} is a link that leads out of the folder: put the file itself"
                " there, or remove it"
            )
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SecurityRefused(f"{name} is no regular file")


def _check_kind(path: Path, name: str) -> None:
    kind = path.suffix.lower()
    if kind in _KINDS or path.name in _NAMES:
        return
    if kind in _CODE:
        raise SecurityRefused(f"{name} is code, and code is not sent: remove it")
    if kind in _PICKLES:
        raise SecurityRefused(
            f"{name} may run code where it is opened: weights are sent as .safetensors"
            " alone"
        )
    raise SecurityRefused(
        f"{name} is of no kind that is sent ({', '.join(sorted(_KINDS))}): remove it"
    )
