"""Remote objects as files: ranged, resumed where they break off, whole or an error."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from fiberaug.errors import LimitExceeded, StoreError, UsageError
from fiberaug.shards.transfer import (
    Body,
    Interrupted,
    NetPolicy,
    Patience,
    Remote,
    Store,
)
from fiberaug.shards.urls import check_url, is_remote, redact, scheme

__all__ = ["NetPolicy", "Remote", "fetch", "list_folder", "read_small", "stat"]

_Result = TypeVar("_Result")
_RESTARTS = 4
_stores: dict[tuple[int, str, NetPolicy], Store] = {}


def _store(url: str, policy: NetPolicy) -> Store:
    """Return this process's store: connections and event loops do not survive forks."""
    check_url(url)
    if not is_remote(url):
        raise UsageError(f"{redact(url)!r} is no URL of a remote object")
    kind = str(scheme(url))
    name = (os.getpid(), kind, policy)
    if name not in _stores:
        for old in [old for old in _stores if old[0] != os.getpid()]:
            del _stores[old]
        if kind in {"http", "https"}:
            from fiberaug.shards.http import HttpStore  # noqa: PLC0415  # urllib3

            _stores[name] = HttpStore(policy)
        else:
            from fiberaug.shards.buckets import BucketStore  # noqa: PLC0415  # fsspec

            _stores[name] = BucketStore(kind, policy)
    return _stores[name]


def _patiently(
    url: str, policy: NetPolicy, work: Callable[[Store], _Result]
) -> _Result:
    store, patience = _store(url, policy), Patience(url, policy)
    while True:
        try:
            return work(store)
        except Interrupted as failure:
            patience.wait(failure)


def stat(url: str, *, policy: NetPolicy | None = None) -> Remote:
    """Return size and version of a remote object.

    Raises:
        StoreError: It cannot be asked; ``errno`` is ENOENT where there is none.
        UsageError: The protocol is not supported, or its extra is not installed.
        SecurityRefused: The URL, or where it leads to, is not allowed.
    """
    return _patiently(url, policy or NetPolicy(), lambda store: store.stat(url))


def read_small(url: str, *, most: int, policy: NetPolicy | None = None) -> bytes:
    """Return the content of a remote object.

    Args:
        url: Where it is.
        most: Bytes that it may have.
        policy: Time-outs and retries.

    Raises:
        LimitExceeded: It is larger.
        StoreError: It cannot be read; ``errno`` is ENOENT where there is none.
    """

    def work(store: Store) -> bytes:
        content = bytearray()
        with store.read(url, 0, Remote(size=None, version="")) as body:
            for chunk in body:
                content += chunk
                if len(content) > most:
                    raise LimitExceeded(
                        f"{redact(url)} has more than {most} bytes", stage="fetch"
                    )
        if body.remote.size not in {None, len(content)}:
            raise Interrupted(f"{len(content)} of {body.remote.size} bytes came")
        return bytes(content)

    return _patiently(url, policy or NetPolicy(), work)


def list_folder(url: str, *, policy: NetPolicy | None = None) -> list[str]:
    """Return the URLs of the files in a folder of a bucket, or of those of a pattern.

    Raises:
        UsageError: The protocol cannot list.
        StoreError: It cannot be read.
    """
    if scheme(url) in {"http", "https"}:
        raise UsageError(
            f"{redact(url)!r}: http has no listing; name the shards with braces, or the"
            " folder of a set written by `fiberaug convert`"
        )

    def work(store: Store) -> list[str]:
        from fiberaug.shards.buckets import BucketStore  # noqa: PLC0415  # fsspec

        return store.list(url) if isinstance(store, BucketStore) else []

    return _patiently(url, policy or NetPolicy(), work)


def fetch(
    url: str,
    target: Path,
    *,
    policy: NetPolicy | None = None,
    known: Remote | None = None,
    progress: Callable[[int], None] | None = None,
) -> Remote:
    """Write a remote object to a file.

    What broke off goes on where it broke off, as long as the object is the same; bytes
    that ``target`` holds already are kept where ``known`` has a version.

    Args:
        url: Where it is.
        target: A file of this caller alone; it is whole once this returns.
        policy: Time-outs and retries.
        known: What the object has to be. None: what is found first.
        progress: Called with the bytes that are there.

    Returns:
        What was fetched.

    Raises:
        StoreError: It cannot be fetched, it changed meanwhile, or the file cannot be
            written; what came so far stays in ``target``.
        SecurityRefused: The URL, or where it leads to, is not allowed.
    """
    policy = policy or NetPolicy()
    try:
        with target.open("r+b" if target.exists() else "w+b") as file:
            transfer = _Transfer(url, file, policy, known, progress)
            return _patiently(url, policy, transfer.run)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"cannot write {target}: {error.strerror or error}", stage="fetch"
        ) from error


class _Transfer:
    def __init__(
        self,
        url: str,
        file: BinaryIO,
        policy: NetPolicy,
        known: Remote | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._url, self._file, self._policy = url, file, policy
        self._pinned = known is not None and bool(known.version)
        self._remote = known or Remote(size=None, version="")
        self._progress = progress
        self._patience = Patience(url, policy)
        self._restarts = 0
        self._at = file.seek(0, os.SEEK_END) if self._pinned else 0
        if self._remote.size is not None and self._at > self._remote.size:
            self._at = 0
        self._cut()

    def _cut(self) -> None:
        self._file.seek(self._at)
        self._file.truncate()

    def run(self, store: Store) -> Remote:
        """Fetch what is missing, however often it breaks off."""
        while self._remote.size is None or self._at < self._remote.size:
            started, before = time.monotonic(), self._at
            try:
                with store.read(self._url, self._at, self._remote) as body:
                    before = self._accept(body)
                    self._copy(body)
                size = self._remote.size
                if size is None or self._at == size:
                    break
                if self._at > size:
                    raise StoreError(
                        f"{redact(self._url)} sent {self._at} bytes and had announced"
                        f" {size}",
                        stage="fetch",
                    )
                raise Interrupted(f"the body ended at byte {self._at} of {size}")  # noqa: TRY301  # as if cut
            except Interrupted as failure:
                self._patience.progress(self._at - before, time.monotonic() - started)
                self._patience.wait(failure)
                if not self._remote.version:
                    self._restart()  # nothing says that the rest belongs to this
        self._file.flush()
        return Remote(size=self._at, version=self._remote.version)

    def _accept(self, body: Body) -> int:
        """Take over what the body says of the object; returns where its bytes go."""
        found = body.remote
        changed = bool(self._remote.version) and found.version != self._remote.version
        resized = None not in {found.size, self._remote.size} and (
            found.size != self._remote.size
        )
        if changed or resized:
            if self._pinned:
                raise StoreError(
                    f"{redact(self._url)} changed since the run began: it was"
                    f" {self._remote.version or self._remote.size}, it is"
                    f" {found.version or found.size}; start again, or restore it",
                    stage="fetch",
                )
            self._restart()
        elif body.start != self._at:
            self._restart()
        if body.start != self._at:
            raise StoreError(
                f"{redact(self._url)}: asked for byte {self._at}, got {body.start}",
                stage="fetch",
            )
        self._remote = found
        return self._at

    def _restart(self) -> None:
        if self._at:
            self._restarts += 1
            if self._restarts > _RESTARTS:
                raise StoreError(
                    f"{redact(self._url)} broke off {self._restarts} times, and its"
                    " server can not go on in the middle, or it changes all the time",
                    stage="fetch",
                )
        self._at = 0
        self._cut()

    def _copy(self, body: Body) -> None:
        policy = self._policy
        since, size = time.monotonic(), 0
        for chunk in body:
            self._file.write(chunk)
            self._at += len(chunk)
            size += len(chunk)
            if self._progress is not None:
                self._progress(self._at)
            passed = time.monotonic() - since
            if passed >= policy.rate_s:
                if size < policy.min_bytes_per_s * passed:
                    raise Interrupted(
                        f"{size / passed:.0f} bytes/s, at least"
                        f" {policy.min_bytes_per_s:g} are needed"
                    )
                self._patience.progress(size, passed)
                since, size = time.monotonic(), 0
