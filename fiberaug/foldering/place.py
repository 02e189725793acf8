"""The folder that is written: marked while it is unfinished, and what is done of it.

While it is written it holds ``.augmenting/``: ``job.json`` (of which command), a note a
unit, and files that have no name yet. ``augment.json`` is written last.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fiberaug.errors import StoreError, UsageError

__all__ = ["DONE", "Place"]

DONE = "augment.json"
"""What was done, once all of it is."""

_WORK = ".augmenting"
_JOB = "job.json"


class Place:
    """A folder of augmented photos.

    Args:
        folder: The folder, which may not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._work = folder / _WORK
        self._folders = set[Path]()
        self._files = 0

    def done(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what the same command has written here, or None.

        Raises:
            UsageError: Something else is there.
            StoreError: It cannot be read.
        """
        known = _read(self.folder / DONE)
        if known is not None:
            if known.get("arguments") != arguments:
                raise UsageError(
                    f"{self.folder} holds what another command wrote"
                    f"{_differing(known.get('arguments'), arguments)}; choose another"
                    " folder or remove it"
                )
            shutil.rmtree(self._work, ignore_errors=True)  # a kill at the very end
            return known
        begun = _read(self._work / _JOB)
        if begun is not None and begun != arguments:
            raise UsageError(
                f"{self.folder} is the unfinished work of another command"
                f"{_differing(begun, arguments)}; finish that one, or remove the folder"
            )
        if begun is None:
            self._check_free()
        return None

    def _check_free(self) -> None:
        try:
            there = sorted(p.name for p in self.folder.iterdir() if p.name != _WORK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"cannot read {self.folder}: {error.strerror}") from error
        if there:
            raise UsageError(
                f"{self.folder} is not empty ({there[0]} and {len(there) - 1} more);"
                " choose an empty or a new folder"
            )

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Mark the folder as unfinished; remove what a killed run left without a name.

        Raises:
            StoreError: It cannot be made.
        """
        with self._storing(self.folder):
            self._work.mkdir(parents=True, exist_ok=True)
            for path in self._work.glob("tmp-*"):
                path.unlink(missing_ok=True)
            if not (self._work / _JOB).exists():
                self.write(f"{_WORK}/{_JOB}", _json(arguments))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against a second command; the lock ends with its process.

        Raises:
            StoreError: Another process writes it, or it cannot be made.
        """
        with self._storing(self.folder):
            self._work.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._work / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise StoreError(
                    f"another process is writing {self.folder}; wait for it"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def write(self, name: str, data: bytes | Iterable[bytes]) -> int:
        """Write a file, whole or not at all; return its size in bytes.

        Args:
            name: Path below the folder.
            data: Its content, or pieces of it.

        Raises:
            StoreError: It cannot be written; nothing of it is left.
        """
        path, size = self.folder / name, 0
        self._files += 1
        part = self._work / f"tmp-{os.getpid()}-{self._files}"
        with self._storing(path):
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
            try:
                with part.open("wb") as file:
                    for piece in (data,) if isinstance(data, bytes) else data:
                        size += file.write(piece)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return size

    def note(self, unit: int) -> dict[str, Any] | None:
        """Return the note of a finished unit whose files are there, or None."""
        found = _read(self._work / _note(unit))
        if found is None:
            return None
        for name, size in found["files"].items():
            with suppress(OSError):
                if (self.folder / name).stat().st_size == size:
                    continue
            return None
        return found

    def finish_unit(self, unit: int, note: Mapping[str, Any]) -> None:
        """Note that the files of a unit are written."""
        self.write(f"{_WORK}/{_note(unit)}", _json(note))

    def notes(self, units: int) -> Iterator[dict[str, Any]]:
        """Yield the notes of all units, in order.

        Raises:
            StoreError: One is gone.
        """
        for unit in range(units):
            found = _read(self._work / _note(unit))
            if found is None:
                raise StoreError(f"{self._work / _note(unit)} is gone; begin again")
            yield found

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write :data:`DONE` and take the mark away."""
        self.write(DONE, json.dumps(about, indent=1).encode() + b"\n")
        shutil.rmtree(self._work, ignore_errors=True)

    @contextmanager
    def _storing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            more = "; with space there the same command goes on" if full else ""
            raise StoreError(
                f"cannot write {path}: {error.strerror or error}{more}", stage="write"
            ) from error


def _note(unit: int) -> str:
    return f"unit-{unit:06d}.json"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _read(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where there is none that is whole."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise StoreError(f"{error.filename} lies in a file, not in a folder") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _differing(old: Any, new: Mapping[str, Any]) -> str:  # noqa: ANN401  # JSON
    """Say which arguments differ."""
    if not isinstance(old, Mapping):
        return ""
    names = sorted(n for n in {*old, *new} if old.get(n) != new.get(n))
    return f" (with another {', '.join(names)})" if names else ""
