"""Objects over http and https, with urllib3: one answer, its redirects and bytes."""

import errno
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from fiberaug.errors import SecurityRefused, StoreError
from fiberaug.shards.addresses import PUBLIC, check_host, nearness
from fiberaug.shards.answers import (
    content_range,
    is_final,
    refuse,
    refused,
    version_of,
    why,
)
from fiberaug.shards.connections import manager, proxy_of
from fiberaug.shards.netpolicy import NetPolicy, Passing, Remote
from fiberaug.shards.urls import redact

__all__ = ["Body", "Changed", "Located", "Span", "look", "open_object"]

_CHUNK = 1 << 18
_REDIRECTS = {301, 302, 303, 307, 308}


class Located(NamedTuple):
    """Where an object is asked for."""

    url: str
    """http(s) URL without userinfo; its query can hold a signature."""

    headers: Mapping[str, str]
    """Headers for that host alone, credentials among them."""

    shown: str
    """The user's URL, without credentials."""

    head: bool = True
    """Whether HEAD may be asked as well: a signature can be for GET alone."""


class Span(NamedTuple):
    """Bytes of an object that are asked for."""

    start: int
    """First byte."""

    end: int | None = None
    """Byte behind the last one; None: to the end."""

    version: str = ""
    """Version of the object that they belong to; empty: of any."""

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for them."""
        if not self.start and self.end is None:
            return {}
        last = "" if self.end is None else self.end - 1
        headers = {"Range": f"bytes={self.start}-{last}"}
        if self.version.startswith('"') or self.version.endswith("GMT"):
            headers["If-Range"] = self.version  # RFC 9110, 13.1.5
        return headers


class Changed(Passing):
    """The store has another object than the bytes so far are of."""


class Body:
    """The bytes of one answer.

    Args:
        response: The answer; None: no byte is left.
        start: Byte of the object at which it begins.
        remote: The object.
        partial: Whether the server kept to the bytes that were asked for.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse | None,
        *,
        start: int,
        remote: Remote,
        partial: bool = False,
    ) -> None:
        self._response, self.start, self.remote = response, start, remote
        self.partial = partial

    def read(self) -> bytes:
        """Return the next bytes as soon as there are any; none at the end.

        Raises:
            Passing: The connection breaks off, or no byte comes in time.
        """
        if self._response is None:
            return b""
        try:
            return self._response.read1(_CHUNK) or b""
        except (HTTPError, HTTPException, OSError) as error:
            reason = why(error)
        raise Passing(reason)  # outside: the caught one can quote the URL

    def close(self) -> None:
        """Let go of the connection: what was not read cannot be skipped."""
        if self._response is not None:
            self._response.close()


def look(where: Located, policy: NetPolicy) -> Remote:
    """Return size and version of an object.

    Raises:
        StoreError: See :func:`open_object`.
        SecurityRefused: See :func:`open_object`.
        Passing: See :func:`open_object`.
    """
    if where.head:
        try:
            found = open_object(where, Span(0), policy, method="HEAD").remote
        except StoreError as error:
            if error.errno == errno.ENOENT:
                raise
        else:
            if found.size is not None:
                return found
    # The first byte says it too, where HEAD is refused or tells no size.
    body = open_object(where, Span(0, 1), policy)
    try:
        if body.partial:
            while body.read():  # at its end the connection is free for the next
                pass
    finally:
        body.close()
    return body.remote


def open_object(
    where: Located, span: Span, policy: NetPolicy, *, method: str = "GET"
) -> Body:
    """Ask for bytes of an object.

    Redirects stay within http(s), never go from https to http, and never nearer to this
    machine than the first host was.

    Raises:
        StoreError: The server refuses; ``errno`` is ENOENT or EACCES where it says so.
        SecurityRefused: A host is not allowed, or a redirect leads where none may.
        Passing: Another try may be answered.
        Changed: The object is shorter than the span's start.
    """
    shown, url = where.shown, where.url
    headers = {
        "User-Agent": "fiberaug",
        "Accept-Encoding": "identity",
        **span.headers(),
    }
    own = dict(where.headers)
    most = None
    _check_allowed(url, policy, shown)
    for _ in range(policy.redirects + 1):
        response = _request(
            method, url, {**headers, **own}, policy, most=most, shown=shown
        )
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return _body(response, span, shown)
        response.close()
        if most is None:
            most = _reach(url)
        target = _redirected(url, location, policy, most=most, shown=shown)
        if _origin(target) != _origin(url):
            own = {}  # credentials are for the host that they were given for
        url = target
    raise StoreError(
        f"cannot read {shown}: it redirects more than {policy.redirects} times",
        stage="fetch",
    )


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    policy: NetPolicy,
    *,
    most: int | None,
    shown: str,
) -> urllib3.BaseHTTPResponse:
    try:
        with _quietly():
            return manager(os.getpid(), most, proxy_of(url)).request(
                method,
                url,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=policy.connect_s, read=policy.read_s),
            )
    except LocationValueError:
        final, reason = True, "the URL, or the one it redirects to, is none"
    except (HTTPError, HTTPException, OSError) as error:
        final, reason = is_final(error), why(error)
    if final:
        raise refused(shown, reason)
    raise Passing(reason)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _port(parts.scheme)


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _reach(url: str) -> int:
    _, host, port = _origin(url)
    if host is None or (proxy_of(url) is not None and not _is_address(host)):
        return PUBLIC  # the proxy resolves it
    return nearness(host, port)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal() or host == "localhost"


def _check_allowed(url: str, policy: NetPolicy, shown: str) -> None:
    if policy.allowed_hosts is None:
        return
    host = urlsplit(url).hostname or ""
    for name in map(str.lower, policy.allowed_hosts):
        if host == name or (name.startswith(".") and host.endswith(name)):
            return
    raise SecurityRefused(
        f"{shown}: the host {host} is not among the allowed_hosts"
        f" {policy.allowed_hosts}",
        stage="fetch",
    )


def _redirected(
    url: str, location: str, policy: NetPolicy, *, most: int, shown: str
) -> str:
    """Return where an answer redirects to, if a redirect may lead there."""
    try:
        target = urljoin(url, location)
        scheme, host, port = _origin(target)
    except ValueError:  # its text has the URL
        scheme, host, port, target = "", None, 0, ""
    if scheme not in {"http", "https"} or host is None:
        raise SecurityRefused(
            f"{shown} redirects to {redact(target) or 'nowhere'}, which is not http(s)",
            stage="fetch",
        )
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise SecurityRefused(
            f"{shown} redirects from https to {redact(target)}: others could read and"
            " change what comes",
            stage="fetch",
        )
    parts = urlsplit(target)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    _check_allowed(bare, policy, shown)
    if proxy_of(bare) is None or _is_address(host):
        check_host(host, port, most=most, shown=shown)
    return bare


def _body(response: urllib3.BaseHTTPResponse, span: Span, shown: str) -> Body:
    try:
        return _accepted(response, span, shown)
    except BaseException:
        response.close()
        raise


def _accepted(response: urllib3.BaseHTTPResponse, span: Span, shown: str) -> Body:
    status, headers = response.status, response.headers
    first, size = content_range(headers.get("Content-Range", ""))
    if status == 416 and size is not None:  # there is no such byte
        if size < span.start:
            raise Changed(f"the object has {size} bytes, byte {span.start} was next")
        remote = Remote(size=size, version=version_of(headers) or span.version)
        response.close()
        return Body(None, start=span.start, remote=remote)
    if status not in {200, 206}:
        refuse(response, shown)
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise refused(
            shown,
            f"the server sends it with the encoding {encoding[:40]!r}, so no byte of it"
            " can be asked for; store it plain",
        )
    if status == 200:  # the whole
        text = headers.get("Content-Length", "")
        first, size = 0, int(text) if text.isdecimal() else None
    elif first != span.start:
        raise Passing(f"asked for byte {span.start}, and bytes from {first} came")
    remote = Remote(size=size, version=version_of(headers))
    return Body(response, start=first, remote=remote, partial=status == 206)


_busy = threading.local()


def _is_foreign(_: logging.LogRecord) -> bool:
    return not getattr(_busy, "here", False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep urllib3's logs of our own requests out: they quote whole URLs."""
    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(_is_foreign)  # once: the same is not added
    _busy.here = True
    try:
        yield
    finally:
        _busy.here = False
