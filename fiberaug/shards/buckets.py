"""Where the objects of s3://, gs:// and hf:// are on the web, and what a folder has.

The libraries know credentials, endpoints and listings; the bytes come over http(s), so
that one object is fetched, and goes on where it broke off, like any other.
"""

import errno
import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from urllib3 import make_headers

from fiberaug.errors import StoreError, UsageError
from fiberaug.shards.answers import refused
from fiberaug.shards.http import Located
from fiberaug.shards.netpolicy import Passing
from fiberaug.shards.urls import check_url, redact, scheme

__all__ = ["file_system", "list_objects", "locate", "work"]

_Result = TypeVar("_Result")
_SIGNED_S = 3600
_CLASSES = {
    "s3": ("s3fs", "S3FileSystem"),
    "gs": ("gcsfs", "GCSFileSystem"),
    "hf": ("huggingface_hub", "HfFileSystem"),
}
_FINAL = (ValueError, TypeError, NotImplementedError)
_file_systems: dict[tuple[object, ...], Any] = {}


def locate(url: str, version: str = "") -> Located:
    """Return where an object is asked for, with credentials that hold for a while.

    Args:
        url: URL of the object.
        version: Version that is wanted, where one is known.

    Raises:
        UsageError: The protocol's library is not installed.
        StoreError: There is no such repository, or there are no credentials.
        Passing: The library could not reach its service.
    """
    check_url(url)
    kind, shown = scheme(url), redact(url)
    if kind == "s3":
        return work(shown, lambda: _locate_s3(url, shown))
    if kind == "gs":
        return work(shown, lambda: _locate_gs(url, shown, version))
    if kind == "hf":
        return work(shown, lambda: _locate_hf(url, shown))
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    headers: dict[str, str] = {}
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = dict(make_headers(basic_auth=words))
    return Located(urlunsplit(bare), headers, shown)


def list_objects(url: str) -> list[str]:
    """Return the URLs of the objects right in a folder, sorted.

    Raises:
        UsageError: The protocol has no listing.
        StoreError: There is no such folder, or it may not be listed.
        Passing: The library could not reach its service.
    """
    check_url(url)
    kind, shown = scheme(url), redact(url)
    if kind not in _CLASSES:
        raise UsageError(
            f"{shown!r}: http has no listing; name the shards with braces"
            " (train-{000..015}.tar), or a folder with a dataset.json"
        )

    def entries_of() -> list[str]:
        files = file_system(kind)
        files.invalidate_cache()  # the folder as it is now
        entries = files.ls(_path(url).rstrip("/"), detail=True)
        return [entry["name"] for entry in entries if entry["type"] == "file"]

    return sorted(f"{kind}://{name}" for name in work(shown, entries_of))


def _path(url: str) -> str:
    return url.partition("://")[2]


def _locate_s3(url: str, shown: str) -> Located:
    signed = file_system("s3").sign(_path(url), expiration=_SIGNED_S)
    return Located(str(signed), {}, shown, head=False)


def _locate_gs(url: str, shown: str, version: str) -> Located:
    files = file_system("gs")
    generation = None
    if version.startswith("generation "):
        generation = version.removeprefix("generation ")
    headers: dict[str, str] = {}
    files.credentials.apply(headers)
    found = files.url(_path(url), generation=generation)
    return Located(str(found), headers, shown)


def _locate_hf(url: str, shown: str) -> Located:
    from huggingface_hub import hf_hub_url  # noqa: PLC0415  # the extra hf

    utils: Any = importlib.import_module("huggingface_hub.utils")
    place = file_system("hf").resolve_path(_path(url))
    if not hasattr(place, "path_in_repo"):
        raise UsageError(f"{shown!r} is no file of a repository")
    found = hf_hub_url(
        place.repo_id,
        place.path_in_repo,
        repo_type=place.repo_type,
        revision=place.revision,
    )
    return Located(found, dict(utils.build_hf_headers()), shown)


def file_system(kind: str) -> Any:  # noqa: ANN401  # three libraries' classes
    """Return this process's file system: event loops do not survive a fork."""
    name = (os.getpid(), kind, os.environ.get("AWS_ENDPOINT_URL"))
    if name not in _file_systems:
        module, cls = _CLASSES[kind]
        try:
            library = importlib.import_module(module)
        except ImportError:
            library = None
        if library is None:
            raise UsageError(f"{kind}:// needs pip install 'fiberaug[{kind}]'")
        options: dict[str, Any] = {"skip_instance_cache": True}
        if kind == "s3":
            options |= _s3_options()
        files = _file_systems[name] = getattr(library, cls)(**options)
        if kind != "hf":
            files.retries = 1  # tries are counted elsewhere
    return _file_systems[name]


def _s3_options() -> dict[str, Any]:
    from fsspec.config import conf  # noqa: PLC0415  # with the extra alone

    own = {
        "signature_version": "s3v4",  # presigning falls back to the old one
        "connect_timeout": 10,
        "read_timeout": 30,
        "retries": {"max_attempts": 1},  # tries are counted elsewhere
    }
    given = conf.get("s3", {}).get("config_kwargs", {})
    return {"config_kwargs": {**own, **given}, "cache_regions": True}


def work(shown: str, work: Callable[[], _Result]) -> _Result:
    """Return what a library does; its errors quote URLs and can hold credentials.

    Args:
        shown: The URL as it may be shown.
        work: What to do.

    Raises:
        StoreError: It is refused for good; ``errno`` is ENOENT where nothing is there.
        Passing: The service was not reached.
    """
    failure: StoreError | Passing
    try:
        return work()
    except (StoreError, UsageError):
        raise
    except FileNotFoundError:
        failure = refused(shown, "there is no such object", code=errno.ENOENT)
    except PermissionError:
        failure = refused(shown, "access is denied", code=errno.EACCES)
    except Exception as error:  # noqa: BLE001  # each library has a tree of its own
        name = type(error).__name__
        if "Credential" in name:
            reason = f"{name}: give credentials the way its library takes them"
            failure = refused(shown, reason, code=errno.EACCES)
        elif isinstance(error, _FINAL):
            failure = refused(shown, f"{name}: {redact(str(error))[:200]}")
        else:
            failure = Passing(f"the service is not reached ({name})")
    raise failure
