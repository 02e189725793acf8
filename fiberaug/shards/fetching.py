"""Remote objects: what they are, their bytes in memory, and as whole files."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fiberaug.errors import LimitExceeded, StoreError, UsageError
from fiberaug.shards.netpolicy import NetPolicy, Passing, Patience, Remote
from fiberaug.shards.urls import check_url, is_remote, redact

__all__ = [
    "NetPolicy",
    "Remote",
    "exists",
    "fetch",
    "list_folder",
    "read_small",
    "stat",
]

_Result = TypeVar("_Result")


def stat(url: str, *, policy: NetPolicy | None = None) -> Remote:
    """Return size and version of a remote object.

    Args:
        url: ``http(s)://``, ``s3://``, ``gs://`` or ``hf://``.
        policy: Time-outs and bounds.

    Raises:
        StoreError: It cannot be read. ``errno`` is ENOENT where there is none, EACCES
            where the store forbids it; these two are not tried again.
        UsageError: The protocol is not read, or its library is not installed.
        SecurityRefused: The URL, or one that it redirects to, is not allowed.
    """
    from fiberaug.shards.buckets import locate  # noqa: PLC0415  # urllib3
    from fiberaug.shards.http import look  # noqa: PLC0415  # same

    bounds = policy or NetPolicy()
    return _patiently(url, bounds, lambda: look(locate(url), bounds))


def exists(url: str, *, policy: NetPolicy | None = None) -> bool:
    """Return whether there is a remote object.

    Raises:
        StoreError: The store does not say.
        UsageError: See :func:`stat`.
        SecurityRefused: See :func:`stat`.
    """
    try:
        stat(url, policy=policy)
    except StoreError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def read_small(url: str, *, most: int, policy: NetPolicy | None = None) -> bytes:
    """Return the content of a remote object.

    Args:
        url: See :func:`stat`.
        most: Most bytes that it may have.
        policy: Time-outs and bounds.

    Raises:
        LimitExceeded: It has more.
        StoreError: See :func:`stat`.
        UsageError: See :func:`stat`.
        SecurityRefused: See :func:`stat`.
    """
    from fiberaug.shards.buckets import locate  # noqa: PLC0415  # urllib3
    from fiberaug.shards.http import Span, open_object  # noqa: PLC0415  # same

    bounds = policy or NetPolicy()

    def work() -> bytes:
        content = bytearray()
        rate = Patience(bounds, redact(url))  # of this try: the next begins again
        body = open_object(locate(url), Span(0), bounds)
        try:
            _check_most(url, body.remote.size or 0, most)
            while chunk := body.read():
                content += chunk
                _check_most(url, len(content), most)
                rate.add(len(chunk))
        finally:
            body.close()
        if body.remote.size not in {None, len(content)}:
            raise Passing(f"{len(content)} of {body.remote.size} bytes came")
        return bytes(content)

    return _patiently(url, bounds, work)


def list_folder(url: str, *, policy: NetPolicy | None = None) -> list[str]:
    """Return the URLs of the objects right in a remote folder, sorted.

    Args:
        url: ``s3://``, ``gs://`` or ``hf://``.
        policy: Time-outs and bounds.

    Raises:
        UsageError: It is http(s), which has no listing.
        StoreError: There is no such folder, or it may not be listed.
    """
    from fiberaug.shards.buckets import list_objects  # noqa: PLC0415  # fsspec

    return _patiently(url, policy or NetPolicy(), lambda: list_objects(url))


def fetch(
    url: str,
    target: Path,
    *,
    policy: NetPolicy | None = None,
    known: Remote | None = None,
    progress: Callable[[int], None] | None = None,
) -> Remote:
    """Write a remote object to a file, whole.

    What breaks off goes on at its next byte (RFC 9110, 13.1.5: ``If-Range``), as long
    as the object is the same. Where the server cannot say so, or sends all of it, it is
    begun again, at most three times. A file that is not whole is never accepted; one
    without an announced length is when the connection ends in order.

    Args:
        url: See :func:`stat`.
        target: A file of this caller alone, made with mode 600, never through a
            symbolic link. Bytes that it has are kept where ``known`` has a version.
        policy: Time-outs and bounds.
        known: What :func:`stat` said. An object of another size is refused.
        progress: Called with the number of bytes that are there.

    Returns:
        What was fetched, with its size.

    Raises:
        StoreError: See :func:`stat`; or the object changes, or the file cannot be
            written. What came so far stays in the file.
        UsageError: See :func:`stat`.
        SecurityRefused: See :func:`stat`.
    """
    _check(url)
    from fiberaug.shards.buckets import locate  # noqa: PLC0415  # urllib3
    from fiberaug.shards.http import open_object  # noqa: PLC0415  # same
    from fiberaug.shards.transfer import transfer  # noqa: PLC0415  # same

    bounds = policy or NetPolicy()
    return transfer(
        lambda span: open_object(locate(url, span.version), span, bounds),
        target,
        policy=bounds,
        shown=redact(url),
        known=known,
        progress=progress,
    )


def _check(url: str) -> None:
    check_url(url)
    if not is_remote(url):
        raise UsageError(f"{redact(url)!r} is no URL of a remote object")


def _check_most(url: str, size: int, most: int) -> None:
    if size > most:
        raise LimitExceeded(
            f"{redact(url)} has {size} bytes or more, the limit is {most}",
            stage="fetch",
        )


def _patiently(url: str, policy: NetPolicy, work: Callable[[], _Result]) -> _Result:
    _check(url)
    patience = Patience(policy, redact(url))
    while True:
        try:
            return work()
        except Passing as failure:
            trouble = failure
        patience.wait(trouble)
