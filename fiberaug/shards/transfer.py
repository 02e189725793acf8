"""An object into a file: what breaks off goes on at the byte where it broke off."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

from fiberaug.errors import StoreError
from fiberaug.shards.http import Body, Changed, Span
from fiberaug.shards.netpolicy import NetPolicy, Passing, Patience, Remote

__all__ = ["transfer"]

_RESTARTS = 3

Open = Callable[[Span], Body]
"""Asks for bytes of the object; raises StoreError, Passing, Changed."""


def transfer(
    open_body: Open,
    target: Path,
    *,
    policy: NetPolicy,
    shown: str,
    known: Remote | None = None,
    progress: Callable[[int], None] | None = None,
) -> Remote:
    """Write an object to a file, whole.

    Args:
        open_body: Asks for bytes of the object.
        target: The file. Bytes that it has are kept where ``known`` has a version.
        policy: Time-outs and bounds.
        shown: What is fetched, for errors; without credentials.
        known: What the object was before.
        progress: Called with the number of bytes that are there.

    Returns:
        What was fetched, with its size.

    Raises:
        StoreError: The object cannot be read, or the file cannot be written.
        SecurityRefused: The object is not where it may be.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # Unbuffered: what was written is in the file, whatever ends this process.
        with os.fdopen(os.open(target, flags, 0o600), "r+b", buffering=0) as file:
            work = _Transfer(open_body, file, policy, shown, known)
            work.progress = progress
            return work.run()
    except StoreError:
        raise
    except OSError as error:
        failure = StoreError(
            f"cannot write {target}: {error.strerror or error}", stage="fetch"
        )
        failure.errno = error.errno
    raise failure


class _Transfer:
    progress: Callable[[int], None] | None = None

    def __init__(
        self,
        open_body: Open,
        file: BinaryIO,
        policy: NetPolicy,
        shown: str,
        known: Remote | None,
    ) -> None:
        self._open, self._file, self._shown = open_body, file, shown
        self._patience = Patience(policy, shown)
        self._remote = known or Remote(size=None, version="")
        self._size = self._remote.size
        self._at = self._restarts = 0
        if self._remote.pinned:
            self._at = file.seek(0, os.SEEK_END)
        if self._size is not None and self._at > self._size:
            self._at = 0
        self._cut()

    def run(self) -> Remote:
        """Try until the object is whole, or patience ends."""
        while self._at == 0 or self._at != self._size:
            self._patience.begin()
            try:
                self._try()
                break
            except Passing as failure:
                trouble = failure
            if not isinstance(trouble, Changed):
                self._patience.wait(trouble)
            if isinstance(trouble, Changed) or not self._remote.pinned:
                # Nothing would show that the rest is of the same object.
                self._restart(trouble.reason)
        return Remote(size=self._at, version=self._remote.version)

    def _try(self) -> None:
        body = self._open(Span(self._at, version=self._remote.version))
        try:
            self._accept(body)
            while chunk := self._read(body):
                self._write(chunk)
        finally:
            body.close()
        if self._remote.size is not None and self._at != self._remote.size:
            raise Passing(f"the body ended {self._where()}")

    def _read(self, body: Body) -> bytes:
        try:
            return body.read()
        except Passing as failure:
            reason = failure.reason
        raise Passing(f"{reason} {self._where()}")

    def _where(self) -> str:
        return f"at byte {self._at} of {self._remote.size or 'an unknown size'}"

    def _accept(self, body: Body) -> None:
        """Check that what comes continues what is there; else begin again."""
        found, before = body.remote, self._remote
        if None not in (found.size, self._size) and found.size != self._size:
            self._changed(f"it had {self._size} bytes, it has {found.size}")
        other = "" not in (found.version, before.version) and (
            found.version != before.version
        )
        if body.start != self._at or (other and self._at):
            self._restart(
                "the object changed" if other else "the server cannot go on in it"
            )
            if body.start:
                raise Passing("the object changed", wait_s=0)
        size = found.size if found.size is not None else self._size
        self._remote = Remote(size=size, version=found.version or before.version)

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            count = self._file.write(view)
            view = view[count:]
        self._at += len(chunk)
        if self._remote.size is not None and self._at > self._remote.size:
            self._changed(f"it sends more than the {self._remote.size} bytes it has")
        self._patience.add(len(chunk))
        if self.progress is not None:
            self.progress(self._at)

    def _restart(self, reason: str) -> None:
        if self._at:
            self._restarts += 1
        if self._restarts > _RESTARTS:
            raise StoreError(
                f"cannot read {self._shown}: begun again {_RESTARTS} times, and again"
                f" {reason}; fetch it when it does not change, or from a server that"
                " has ETags and ranges",
                stage="fetch",
            )
        self._at = 0
        self._cut()

    def _changed(self, how: str) -> NoReturn:
        raise StoreError(
            f"{self._shown}: the object changed: {how}; open the data set again, or"
            " restore the object",
            stage="fetch",
        )

    def _cut(self) -> None:
        self._file.seek(self._at)
        self._file.truncate()
