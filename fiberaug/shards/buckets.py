"""Objects in buckets and on the Hub, with s3fs, gcsfs and huggingface_hub."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fiberaug.errors import StoreError, UsageError
from fiberaug.shards.http import HttpStore
from fiberaug.shards.transfer import Body, Interrupted, NetPolicy, Remote, not_found
from fiberaug.shards.urls import redact

__all__ = ["BucketStore"]

_BLOCK = 4 << 20
_SIGNED_S = 3600
_FILE_SYSTEMS = {
    "s3": ("s3fs", "S3FileSystem", "s3"),
    "gs": ("gcsfs", "GCSFileSystem", "gs"),
    "hf": ("huggingface_hub", "HfFileSystem", "hf"),
}
_VERSIONS = ("ETag", "etag", "generation", "blob_id", "md5Hash", "LastModified")
_FINAL = (PermissionError, NotADirectoryError, IsADirectoryError, ValueError, TypeError)


class _BucketBody:
    def __init__(self, store: "BucketStore", url: str, start: int) -> None:
        self._store, self._url, self.start = store, url, start
        self.remote = store.stat(url)

    def __iter__(self) -> Iterator[bytes]:
        at, size = self.start, self.remote.size
        if size is None:
            raise StoreError(
                f"cannot read {redact(self._url)}: the store does not say its size",
                stage="fetch",
            )
        while at < size:
            block = self._store.block(self._url, at, min(size, at + _BLOCK))
            # Blocks are requests of their own: none may be of another object.
            if not block or self._store.stat(self._url) != self.remote:
                raise Interrupted(f"it changed at byte {at} of {size}")
            at += len(block)
            yield block


class BucketStore:
    """Reads objects of one protocol; never a chain of them.

    Args:
        kind: ``s3``, ``gs`` or ``hf``.
        policy: Time-outs and bounds.

    Raises:
        UsageError: The library is not installed.
    """

    def __init__(self, kind: str, policy: NetPolicy) -> None:
        module, name, extra = _FILE_SYSTEMS[kind]
        try:
            library = importlib.import_module(module)
        except ImportError:
            raise UsageError(
                f"{kind}:// needs {module}: pip install 'fiberaug[{extra}]'"
            ) from None
        options: dict[str, Any] = {}
        if kind == "s3":
            options["config_kwargs"] = {
                "connect_timeout": policy.connect_s,
                "read_timeout": policy.read_s,
                "retries": {"max_attempts": 1},  # attempts are counted here
            }
        for noisy in (module, "fsspec", "botocore", "aiobotocore"):
            logging.getLogger(noisy).setLevel(logging.WARNING)  # they log whole URLs
        # An instance of this process alone: event loops do not survive a fork.
        self._files: Any = getattr(library, name)(skip_instance_cache=True, **options)
        self._kind = kind
        self._http = HttpStore(policy) if kind == "s3" else None

    def stat(self, url: str) -> Remote:
        """Return size and version of an object. See :class:`Store`."""
        with self._errors(url):
            path = self._path(url)
            self._files.invalidate_cache(self._files._parent(path))  # noqa: SLF001  # of every fsspec system
            info = self._files.info(path)
        if info.get("type") == "directory":
            raise StoreError(f"{redact(url)} is a folder, not a shard", stage="fetch")
        version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
        size = info.get("size")
        return Remote(size=None if size is None else int(size), version=version)

    @contextmanager
    def read(self, url: str, start: int, known: Remote) -> Iterator[Body]:
        """Open an object from a byte on. See :class:`Store`.

        S3 signs a URL and streams it over http, so that what breaks off costs no byte
        twice; the others come in blocks.
        """
        if self._http is None:
            yield _BucketBody(self, url, start)
            return
        with self._errors(url):
            signed = self._files.url(self._path(url), expires=_SIGNED_S)
        with self._http.read(signed, start, known) as body:
            yield body

    def block(self, url: str, start: int, end: int) -> bytes:
        """Return the bytes [start, end) of an object."""
        with self._errors(url):
            return bytes(self._files.cat_file(self._path(url), start=start, end=end))

    def list(self, url: str) -> list[str]:
        """Return the URLs of the files of a folder or a pattern, sorted."""
        with self._errors(url):
            self._files.invalidate_cache()
            path = self._path(url).rstrip("/")
            if any(sign in path for sign in "*?["):
                found = self._files.glob(path)
            else:
                entries = self._files.ls(path, detail=True)
                found = [e["name"] for e in entries if e["type"] == "file"]
        return sorted(f"{self._kind}://{name}" for name in found)

    def _path(self, url: str) -> str:
        return url.partition("://")[2]

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        try:
            yield
        except (StoreError, Interrupted):
            raise
        except FileNotFoundError:
            raise not_found(url, "there is no such object") from None
        except Exception as error:  # noqa: BLE001  # each library has a tree of its own
            name = type(error).__name__
            if isinstance(error, _FINAL) or "Credential" in name:
                raise StoreError(
                    f"cannot read {redact(url)}: {_why(error)}", stage="fetch"
                ) from None
            raise Interrupted(_why(error)) from None


def _why(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0][:200]
    return redact(f"{type(error).__name__}: {first}".rstrip(": "))
