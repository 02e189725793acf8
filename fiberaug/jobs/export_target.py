"""The folder that an export writes: marked while it is unfinished."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically

__all__ = ["ERRORS", "ExportTarget"]

ERRORS = "export_errors.jsonl"
"""What was left out, and what is odd, one JSON object a line."""

_MARK = ".exporting"
"""Folder of notes and of what has no name yet; it goes when all is written."""

_ASKED = "arguments.json"
_DONE = ".export.json"


@dataclass(frozen=True)
class ExportTarget:
    """A folder for an export; it can be pickled.

    Files are made in ``.exporting/`` and moved to their place, so that each is there
    whole or not at all, and a killed export leaves nothing else half-written.
    """

    folder: Path

    @cached_property
    def _made(self) -> set[str]:
        return set()

    def finished(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the figures of the same export, where it is written already.

        Raises:
            UsageError: The folder holds something else.
            StoreError: It cannot be read.
        """
        done = self._json(_DONE)
        if done is not None:
            if done.get("arguments") != _plain(arguments):
                raise UsageError(
                    f"{self.folder} already holds an export of other data or with other"
                    " arguments; choose another folder or remove it"
                )
            shutil.rmtree(self.folder / _MARK, ignore_errors=True)
            return dict(done["figures"])
        try:
            present = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._cannot("read", error) from error
        asked = self._json(f"{_MARK}/{_ASKED}")
        if asked is None and set(present) - {_MARK}:
            raise UsageError(
                f"{self.folder} is not empty ({present[0]} and {len(present) - 1}"
                " more); choose an empty or a new folder"
            )
        if asked is not None and asked != _plain(arguments):
            raise UsageError(
                f"{self.folder} holds an unfinished export of other data or with other"
                " arguments; choose another folder or remove it"
            )
        return None

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Mark the folder.

        Raises:
            StoreError: It cannot be made.
        """
        try:
            (self.folder / _MARK).mkdir(parents=True, exist_ok=True)
            for left in (self.folder / _MARK).glob("*.part"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot("write", error) from error
        if self._json(f"{_MARK}/{_ASKED}") is None:
            self.note(_ASKED, _plain(arguments))

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a note: what it tells of has its place by now."""
        write_atomically(self.folder / _MARK / name, json.dumps(content).encode())

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return a note, or None."""
        return self._json(f"{_MARK}/{name}")

    def scratch(self, name: str) -> Path:
        """Return the path of a file that is needed until all is written."""
        return self.folder / _MARK / name

    def put(self, path: str, data: bytes) -> None:
        """Write a file of the export; it is there whole or not at all.

        Raises:
            StoreError: The disk is full or gone, or the path is too long.
        """
        with self.writing(path) as file:
            file.write(data)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Give a file of the export to write; it gets its name in the end.

        Args:
            path: Below the folder.
        """
        final = f"{self.folder}/{path}"
        temporary = f"{self.folder}/{_MARK}/{os.getpid()}.part"
        try:
            folder = final.rpartition("/")[0]
            if folder not in self._made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            with open(temporary, "wb") as file:  # noqa: PTH123  # Path is half of the time
                yield file
            os.replace(temporary, final)  # noqa: PTH105  # as above
        except BaseException as error:
            Path(temporary).unlink(missing_ok=True)
            if not isinstance(error, OSError) or isinstance(error, StoreError):
                raise
            raise StoreError(
                f"cannot write {final}: {error.strerror or error}; the same command"
                " goes on where it was",
                stage="write",
            ) from error

    def finish(self, arguments: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """Say that all is there, and take the mark away."""
        done = {"arguments": _plain(arguments), "figures": dict(figures)}
        write_atomically(self.folder / _DONE, json.dumps(done).encode())
        shutil.rmtree(self.folder / _MARK, ignore_errors=True)

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            raise self._cannot("read", error) from error
        return found if isinstance(found, dict) else None

    def _cannot(self, verb: str, error: OSError) -> StoreError:
        return StoreError(
            f"cannot {verb} {self.folder}: {error.strerror or error}", stage=verb
        )


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps(dict(arguments)))
    return found
