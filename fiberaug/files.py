"""Files that are there whole or not at all, and small ones of JSON."""

import json
import os
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, LimitExceeded, StoreError

__all__ = ["read_json_object", "write_atomically"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: sibling, sync, rename.

    Raises:
        StoreError: The file cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise StoreError(
            f"cannot write {path} ({len(data)} bytes): {error.strerror or error}",
            stage="write",
        ) from error


def read_json_object(path: Path, most_bytes: int) -> dict[str, Any]:
    """Return the object that a JSON file holds, which may come from a stranger.

    Args:
        path: The file.
        most_bytes: Of it.

    Raises:
        FileNotFoundError: It is not there; the caller knows what that means.
        DataRefused: It is no JSON, or no object.
        LimitExceeded: It is larger.
        StoreError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise LimitExceeded(f"{path} is larger than {most_bytes} bytes")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataRefused(f"{path} is not JSON: {error!s:.200}") from error
    if not isinstance(said, dict):
        raise DataRefused(f"{path} must be an object")
    return said
