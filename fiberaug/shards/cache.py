"""The cache of remote objects: bounded, verified, shared by the processes of a node.

An object lies under the SHA-256 of its URL (without query and userinfo), its version
and its size, so that neither two URLs with one file name nor two versions of one URL
meet. Who fetches it holds a lock that vanishes with the process; everybody else waits
and finds it. It is fetched into a ``.part`` file, checked, synced and renamed: what
stands under a final name was whole and sound.

What counts against the limit: whole objects, and parts with the size they were
announced with. The least recently used go first. A removed file that a process still
has mapped stays readable there, and takes up the disk until it is let go.
"""

import logging
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from fiberaug.errors import ShardDamaged, StoreError, UsageError
from fiberaug.shards.cachefolder import (
    OBJECT,
    Part,
    default_folder,
    make_folder,
    make_private,
    parts_of,
    room_for,
    sweep,
)
from fiberaug.shards.fetching import NetPolicy, Remote, fetch, stat
from fiberaug.shards.pipes import is_pipe, run_pipe
from fiberaug.shards.urls import redact
from fiberaug.sizes import format_bytes, parse_bytes

__all__ = ["Cached", "Check", "ShardCache"]

_log = logging.getLogger("fiberaug")
_ROUNDS = 5
_SAY_AFTER_S = 5.0

Check = Callable[[Path, mmap.mmap], None]
"""(file, its content) -> None; raises ShardDamaged where it is not sound."""


class Cached(NamedTuple):
    """An object of the cache, mapped. It stays readable when it is removed."""

    path: Path
    data: mmap.mmap
    name: tuple[int, int]
    """(device, inode): which file it was."""


class ShardCache:
    """Remote objects as local files.

    Nothing is read or written before the first object is asked for.

    Args:
        folder: Where the objects lie. None: ``fiberaug`` in ``XDG_CACHE_HOME``, else in
            ``~/.cache``.
        limit: Most bytes that they take up, or text such as ``"50GB"``.
        policy: Time-outs and retries.

    Raises:
        UsageError: The limit is no size.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        limit: int | str = "50GB",
        policy: NetPolicy | None = None,
    ) -> None:
        root = default_folder() if folder is None else Path(folder).expanduser()
        self.root = root.absolute()
        self.limit = parse_bytes(limit, name="cache_limit")
        self.policy = policy or NetPolicy()
        self._objects = self.root / "fiberaug-1"
        self._known: dict[str, Remote] = {}
        self._failed: dict[str, tuple[float, StoreError]] = {}
        self._ready = False

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings: what happened in this process stays here."""
        return {**self.__dict__, "_known": {}, "_failed": {}}

    def require(self, live: int) -> None:
        """Check that the shards which are read side by side fit into the cache.

        Args:
            live: See :func:`fiberaug.ahead.live_bytes`.

        Raises:
            UsageError: They do not.
        """
        if live > self.limit:
            raise UsageError(
                f"cache_limit is {format_bytes(self.limit)}, but up to"
                f" {format_bytes(live)} of shards are read side by side, and every one"
                " would be fetched again and again; raise cache_limit to"
                f" {live} bytes or more, or give fewer lanes, a smaller window or"
                " smaller shards"
            )

    def open(
        self, url: str, *, shard: str, known: Remote | None = None, check: Check
    ) -> Cached:
        """Return an object, fetched where the cache does not have it.

        A file that fails its check is removed and fetched again, once.

        Args:
            url: Where it is.
            shard: Name for errors.
            known: Its size and version. None: the store is asked.
            check: Raises ShardDamaged for a file that is not sound.

        Raises:
            StoreError: It cannot be fetched, or the cache cannot be written.
            ShardDamaged: It fails its check, also when fetched again.
        """
        self._start()
        remote = known or self._remote(url, shard)
        path = self._objects / (_key(url, remote) + OBJECT)
        again = path.with_suffix(".again")
        for _ in range(_ROUNDS):
            try:
                found = self._existing(path, remote, shard, check)
                if found is None:
                    found = self._fetched(url, path, remote, shard, check)
            except ShardDamaged:
                if again.exists():
                    raise
                _log.info("%s is damaged; fetched again", redact(url))
                again.touch()
                path.unlink(missing_ok=True)
                continue
            if found is not None:
                return found
        raise StoreError(
            f"{redact(url)} was removed from the cache {_ROUNDS} times before it could"
            f" be opened; other processes need more room: raise cache_limit, now"
            f" {format_bytes(self.limit)}",
            shard=shard,
            stage="read",
        )

    def prefetch(
        self, url: str, *, shard: str, known: Remote | None = None, check: Check
    ) -> Path:
        """Fetch an object that is not there and that nobody fetches now.

        Returns:
            Where it is, or will be.

        Raises:
            StoreError: It cannot be fetched, or the cache cannot be written.
            ShardDamaged: It fails its check; whoever opens it fetches it once more.
        """
        self._start()
        remote = known or self._remote(url, shard)
        path = self._objects / (_key(url, remote) + OBJECT)
        if path.exists():
            return path
        lock = self._lock(path.stem)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return path
        try:
            if not path.exists():
                self._transfer(url, path, remote, shard, check)
        finally:
            lock.release()
        return path

    def renew(self, url: str, old: Cached) -> bool:
        """Remove a file whose content turned out to be wrong.

        Returns:
            Whether opening it again can give another content: False where it was
            fetched again already.
        """
        again = old.path.with_suffix(".again")
        try:
            status = old.path.lstat()
        except FileNotFoundError:
            return True
        if (status.st_dev, status.st_ino) != old.name:
            return True  # another process was first
        if again.exists():
            return False
        _log.info("%s has wrong bytes in the cache; fetched again", redact(url))
        again.touch()
        old.path.unlink(missing_ok=True)
        return True

    def touch(self, paths: Iterable[Path]) -> None:
        """Note that objects are in use: the longest unused are removed first."""
        for path in paths:
            try:
                os.utime(path)
            except OSError:
                continue  # removed, or another user's clock: the mapping still holds

    def size(self) -> int:
        """Return the bytes of the objects that are there."""
        return sum(p.lstat().st_size for p in self._objects.glob("*" + OBJECT))

    def _start(self) -> None:
        if not self._ready:
            make_folder(self.root)
            make_private(self._objects)
            make_private(self._objects / "locks")
            sweep(self._objects, self._lock)
            self._ready = True

    def _lock(self, key: str) -> FileLock:
        # Lock files are never removed, so there is a fixed number of them. One lock for
        # two objects makes one wait for the other, no more.
        return FileLock(self._objects / "locks" / key[:3], thread_local=False)

    def _remote(self, url: str, shard: str) -> Remote:
        found = self._known.get(url)
        if found is None and is_pipe(url):
            found = Remote(size=None, version="")
        if found is None:
            try:
                found = stat(url, policy=self.policy)
            except StoreError as error:
                error.located(shard=shard, stage="read")
                raise
        self._known[url] = found
        return found

    def _existing(
        self, path: Path, remote: Remote, shard: str, check: Check
    ) -> Cached | None:
        found = _map(path, shard)
        if found is None:
            return None
        try:
            _check_size(len(found.data), remote, shard)
            check(path, found.data)
        except StoreError:
            if path.exists():
                raise
            return None  # removed by another process just now
        self.touch([path])
        return found

    def _fetched(
        self, url: str, path: Path, remote: Remote, shard: str, check: Check
    ) -> Cached | None:
        asked = time.monotonic()
        with self._waiting(url, path.stem, shard) as waited:
            if path.exists():
                return None  # it came while we waited
            at, error = self._failed.get(path.stem, (0.0, None))
            if waited and error is not None and at >= asked:
                raise error  # a thread of this process has tried just now
            try:
                return self._transfer(url, path, remote, shard, check)
            except StoreError as failure:
                failure.located(shard=shard, stage="read")
                raise

    def _transfer(
        self, url: str, path: Path, remote: Remote, shard: str, check: Check
    ) -> Cached:
        """Fetch an object whose lock is held."""
        part, came = self._part(path, remote), remote
        try:
            if is_pipe(url):
                run_pipe(url, part)
            else:
                came = fetch(url, part, policy=self.policy, known=remote)
        except StoreError as error:  # its bytes stay, for whoever tries next
            self._failed[path.stem] = time.monotonic(), error
            raise
        try:
            found = _own(part, shard)
            _check_size(len(found.data), remote, shard)
            _check_version(came, remote, url)
            check(part, found.data)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return found._replace(path=path)

    def _part(self, path: Path, remote: Remote) -> Path:
        """Return a part of ours, with the bytes of one that a dead process left."""
        part = Part.own(path.stem, remote.size)
        with FileLock(self._objects / "locks" / "room", thread_local=False):
            left = parts_of(self._objects, path.stem)
            keep = left.pop().path if left and remote.version else None
            for other in left:
                other.path.unlink(missing_ok=True)
            room_for(self._objects, remote.size or 0, self.limit, keep=keep)
            mine = self._objects / part.name
            if keep is not None:
                keep.replace(mine)
            else:
                os.close(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return mine

    @contextmanager
    def _waiting(self, url: str, key: str, shard: str) -> Iterator[bool]:
        """Hold an object's lock; gives whether another had it."""
        lock = self._lock(key)
        started = moved = time.monotonic()
        size, said, waited = -1, False, False
        bound = 2 * self.policy.stall_s
        while True:
            try:
                lock.acquire(timeout=1.0 if waited else 0)
                break
            except Timeout:
                waited = True
            now = time.monotonic()
            fetched = sum(p.size() for p in parts_of(self._objects, key))
            if fetched != size:
                size, moved = fetched, now
            elif now - moved > bound:
                raise StoreError(
                    f"another process fetches {redact(url)} and made no progress for"
                    f" {bound:.0f} s; end it, or give another cache_dir",
                    shard=shard,
                    stage="read",
                )
            if not said and now - started > _SAY_AFTER_S:
                said = True
                _log.info(
                    "waiting for another process that fetches %s: %s so far",
                    redact(url),
                    format_bytes(fetched),
                )
        try:
            yield waited
        finally:
            lock.release()


def _key(url: str, remote: Remote) -> str:
    # Without a version the query may be all that tells two objects apart.
    name = redact(url) if remote.version and not is_pipe(url) else url
    text = "\0".join([name, remote.version, str(remote.size)])
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def _check_size(size: int, remote: Remote, shard: str) -> None:
    if remote.size is not None and size != remote.size:
        words = f"{size} bytes are in the cache, the store says {remote.size}"
        raise ShardDamaged(words, shard=shard, stage="read")


def _check_version(came: Remote, remote: Remote, url: str) -> None:
    if remote.version and came.version != remote.version:
        raise StoreError(f"{redact(url)} has changed; open the data set again")


def _map(path: Path, shard: str) -> Cached | None:
    """Map a file of the cache, never one that a symbolic link names."""
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"cannot read {path} of the cache: {error.strerror or error}", shard=shard
        ) from error
    try:
        status = os.fstat(number)
        if not status.st_size:
            raise ShardDamaged("the object has 0 bytes", shard=shard, stage="read")
        data = mmap.mmap(number, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(number)
    return Cached(path, data, (status.st_dev, status.st_ino))


def _own(part: Path, shard: str) -> Cached:
    found = _map(part, shard)
    if found is None:
        raise StoreError(f"{part} is gone: another program empties the cache")
    return found
