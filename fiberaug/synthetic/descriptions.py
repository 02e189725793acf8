"""``generator.json`` of a folder with weights: what all kinds have in common."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fiberaug.errors import DataRefused, LimitExceeded, StoreError, UsageError
from fiberaug.synthetic.gan_places import Frames

__all__ = [
    "FILE",
    "VERSION",
    "checked_names",
    "checked_sha256",
    "plain",
    "read_description",
    "refuse_second",
]

FILE, VERSION = "generator.json", 1
_MOST_BYTES = 2**20
_HASH = re.compile("[0-9a-f]{64}")
Description = TypeVar("Description")


def read_description(
    folder: Path, checked: Callable[[Any], Description]
) -> Description:
    """Return what ``generator.json`` of a folder says, checked.

    Args:
        folder: It may come from a stranger.
        checked: What JSON said -> a description; a UsageError, KeyError, TypeError or
            ValueError of it means that what is said is not sound.

    Raises:
        DataRefused: It is missing, broken, of another kind, or has values out of range.
        LimitExceeded: It is larger than 1 MiB.
        StoreError: It cannot be read.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise DataRefused(f"{folder} holds no generator: no {FILE}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise LimitExceeded(f"{path} is larger than {_MOST_BYTES} bytes")
    try:
        return checked(json.loads(content))
    except (UsageError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataRefused(f"{path} is no sound description: {error!s:.300}") from error


def plain(told: Mapping[str, Any]) -> bytes:
    """Return a description as it is written.

    Raises:
        UsageError: Notes are not fit for JSON, or more than would be read.
    """
    try:
        text = json.dumps(told, indent=1, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"notes must be fit for JSON: {error}") from error
    if len(text) > _MOST_BYTES:
        raise UsageError(
            f"notes and classes are {len(text)} characters long, at most {_MOST_BYTES}"
            " are read"
        )
    return text.encode() + b"\n"


def refuse_second(folder: Path) -> None:
    """Refuse a folder that holds a generator already.

    Raises:
        UsageError: It does.
    """
    if (folder / FILE).exists():
        raise UsageError(f"{folder} holds a generator already; choose another folder")


def checked_names(
    said: Mapping[str, Any], kinds: Collection[str], made_for: int | None
) -> tuple[str, ...]:
    """Return the class names of a description whose version, kind and notes are sound.

    Args:
        said: The description.
        kinds: That this release reads.
        made_for: Classes of the network; None: it does not say.

    Raises:
        UsageError: It is not sound.
        KeyError: Something is missing.
    """
    if said["v"] != VERSION or said["kind"] not in kinds:
        raise UsageError(
            f"version {said['v']!r:.20} and kind {said['kind']!r:.20}; this release"
            f" reads version {VERSION} of {' and '.join(kinds)}"
        )
    classes, notes = said.get("classes", []), said.get("notes", {})
    if (
        not isinstance(classes, list)
        or not all(isinstance(name, str) and name for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise UsageError("classes must be different texts")
    if not isinstance(notes, dict):
        raise UsageError("notes must be an object")
    Frames.of(notes)
    if made_for is not None and classes and len(classes) != made_for:
        raise UsageError(f"{len(classes)} names for {made_for} classes")
    return tuple(classes)


def checked_sha256(told: object) -> str:
    """Return a hash of weights.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(told, str) or not _HASH.fullmatch(told):
        raise UsageError("sha256 must be 64 hexadecimal digits")
    return told
