"""Where a conversion writes to: a folder, or a bucket."""

import errno
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.jobs.unit import Unit, Written
from fiberaug.shards.buckets import file_system, work
from fiberaug.shards.netpolicy import Passing
from fiberaug.shards.urls import check_url, redact, scheme

__all__ = ["LocalStore", "ObjectStore", "Store", "store_of"]

_Result = TypeVar("_Result")
_TRIES = 5
_PAUSE_S = 0.5


class Store(Protocol):
    """A place for files; each is there whole or not at all."""

    @property
    def place(self) -> str:
        """Path or URL, as errors name it."""

    def make(self) -> None:
        """Make the place, where it has to be made."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted; with ``/`` those one folder below."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None where there is none."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def remove_folder(self, name: str) -> None:
        """Remove a folder of files, if it is there."""

    def publish(self, unit: Unit) -> Written:
        """Write the shard of a unit and its index."""

    def free_bytes(self) -> int:
        """Return the bytes that are free where shards are made."""


def store_of(dst: str | Path) -> Store:
    """Return the store that a path or URL names.

    Raises:
        UsageError: It has a protocol that is not written to.
        SecurityRefused: The URL is one that is never used.
    """
    text = str(dst)
    if scheme(text) is None:
        return LocalStore(Path(text).absolute())
    check_url(text)
    if scheme(text) != "s3":
        raise UsageError(
            f"{redact(text)!r} cannot be written to; a folder or s3:// can"
        )
    return ObjectStore(text.rstrip("/"))


@dataclass(frozen=True)
class LocalStore:
    """A folder of this machine, or one that all machines see."""

    folder: Path

    @property
    def place(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def make(self) -> None:
        """Make the folder.

        Raises:
            StoreError: It cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot(error) from error

    def names(self) -> list[str]:
        """Return the names of files, and of those in folders that begin with a dot.

        Raises:
            StoreError: The folder cannot be read.
        """
        try:
            return sorted(
                name
                for path in self.folder.iterdir()
                for name in (
                    [f"{path.name}/{inner.name}" for inner in path.iterdir()]
                    if path.name.startswith(".") and path.is_dir()
                    else [path.name]
                )
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot(error) from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        """Return a file's size, or None."""
        try:
            return (self.folder / name).stat().st_size
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file: sibling, sync, rename."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, data)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Remove a folder of files, if it is there."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def publish(self, unit: Unit) -> Written:
        """Write the shard of a unit."""
        return unit.write(self.folder)

    def free_bytes(self) -> int:
        """Return the bytes that are free in the folder."""
        return shutil.disk_usage(self.folder).free

    def _cannot(self, error: OSError) -> StoreError:
        return StoreError(
            f"cannot write {self.folder}: {error.strerror}", stage="write"
        )


@dataclass(frozen=True)
class ObjectStore:
    """A folder of a bucket: an object has its name only once all of it is there."""

    url: str

    @property
    def place(self) -> str:
        """URL of the folder."""
        return redact(self.url)

    def make(self) -> None:
        """Buckets have no folders to make."""

    def names(self) -> list[str]:
        """Return the names of objects below the folder.

        Raises:
            StoreError: It cannot be listed.
        """

        def find() -> list[str]:
            files = self._files()
            files.invalidate_cache()
            base = self._path("").rstrip("/")
            found = (str(name).removeprefix(base) for name in files.find(base))
            return sorted(name.lstrip("/") for name in found)

        return self._asked(find) or []

    def read(self, name: str) -> bytes | None:
        """Return an object's content, or None."""
        return self._asked(lambda: bytes(self._files().cat_file(self._path(name))))

    def size(self, name: str) -> int | None:
        """Return an object's size, or None."""

        def ask() -> int:
            files = self._files()
            files.invalidate_cache()
            return int(files.info(self._path(name))["size"])

        return self._asked(ask)

    def write(self, name: str, data: bytes) -> None:
        """Write an object.

        Raises:
            StoreError: It is refused, or the service is not reached.
        """
        self._tried(lambda: self._files().pipe_file(self._path(name), data))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._asked(lambda: self._files().rm_file(self._path(name)))

    def remove_folder(self, name: str) -> None:
        """Remove the objects of a folder."""
        for one in self.names():
            if one.startswith(f"{name}/"):
                self.remove(one)

    def publish(self, unit: Unit) -> Written:
        """Write the shard of a unit here and send it: the index first."""
        with tempfile.TemporaryDirectory(prefix="fiberaug-convert-") as scratch:
            written = unit.write(Path(scratch))
            if written.entry is not None:
                for name in (f"{unit.name}.idx", unit.name):
                    self._send(Path(scratch, name), name)
        return written

    def free_bytes(self) -> int:
        """Return the bytes that are free for temporary files."""
        return shutil.disk_usage(tempfile.gettempdir()).free

    def _send(self, path: Path, name: str) -> None:
        self._tried(lambda: self._files().put_file(str(path), self._path(name)))

    def _files(self) -> Any:  # noqa: ANN401  # fsspec has no types
        return file_system("s3")

    def _path(self, name: str) -> str:
        return f"{self.url.partition('://')[2]}/{name}"

    def _asked(self, act: Callable[[], _Result]) -> _Result | None:
        """Do something; None where there is no such object."""
        try:
            return self._tried(act)
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

    def _tried(self, act: Callable[[], _Result]) -> _Result:
        """Do something a few times, until the service is reached."""
        for attempt in range(_TRIES):
            try:
                return work(self.place, act)
            except Passing as error:
                reason = error.reason
            except StoreError as error:
                refused = StoreError(
                    error.message.replace("cannot read", "cannot write"), stage="write"
                )
                refused.errno = error.errno
                raise refused from None
            time.sleep(_PAUSE_S * 2**attempt)
        raise StoreError(
            f"cannot write {self.place}: {reason}, {_TRIES} times; the same command"
            " goes on when it is reached",
            stage="write",
        )
