"""Objects over http and https, with urllib3."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from fiberaug.errors import SecurityRefused, StoreError
from fiberaug.shards.transfer import Interrupted, NetPolicy, Remote, not_found
from fiberaug.shards.urls import redact

__all__ = ["HttpStore"]

_CHUNK = 1 << 18
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_ASK_WITH_GET = {403, 405, 501}  # signed for GET alone, or no HEAD at all


class _HttpBody:
    def __init__(
        self, response: urllib3.BaseHTTPResponse, start: int, remote: Remote
    ) -> None:
        self._response, self.start, self.remote = response, start, remote

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._response.read1(_CHUNK):
                yield chunk
        except (HTTPError, OSError) as error:
            raise Interrupted(_reason(error)) from None


class HttpStore:
    """Reads objects over http(s).

    Redirects stay within http(s), never go from https to http, never to link-local
    addresses (where clouds keep credentials), and to private ones only from there.

    Args:
        policy: Time-outs and bounds.
    """

    def __init__(self, policy: NetPolicy) -> None:
        self._policy = policy
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def stat(self, url: str) -> Remote:
        """Return size and version of an object. See :class:`Store`."""
        with self._open("HEAD", url, {}) as (response, status):
            if status == 200:  # OK
                return _remote(response, _length(response))
            if status not in _ASK_WITH_GET:
                raise _refusal(url, status, response)
        with self._open("GET", url, {"Range": "bytes=0-0"}) as (response, status):
            if status == 200:  # OK
                return _remote(response, _length(response))
            if status == 206:  # a part
                return _remote(response, _range(response)[1])
            raise _refusal(url, status, response)

    @contextmanager
    def read(self, url: str, start: int, known: Remote) -> Iterator[_HttpBody]:
        """Open an object from a byte on. See :class:`Store`."""
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if known.version and not known.version.startswith("W/"):
                headers["If-Range"] = known.version
        with self._open("GET", url, headers) as (response, status):
            if status == 200:  # OK
                size = _length(response)
                yield _HttpBody(response, 0, _remote(response, size))
            elif status == 206:  # a part
                first, size = _range(response)
                yield _HttpBody(response, first, _remote(response, size))
            else:
                raise _refusal(url, status, response)

    @contextmanager
    def _open(
        self, method: str, url: str, headers: dict[str, str]
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, int]]:
        response = self._follow(method, url, headers)
        whole = False
        try:
            if response.status in _AGAIN:
                raise Interrupted(
                    f"the server answered {response.status} {response.reason or ''}",
                    _retry_after(response),
                )
            yield response, response.status
            whole = True
        finally:
            # What was not read to its end cannot be used for another request.
            if whole and method == "HEAD":
                response.drain_conn()
                response.release_conn()
            else:
                response.close()

    def _follow(
        self, method: str, url: str, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        origin = urlsplit(url)
        self._check_host(url, origin.hostname)
        current = url
        for _ in range(self._policy.redirects + 1):
            response = self._request(method, current, headers, origin.hostname)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            target = urljoin(_bare(current), response.headers["Location"])
            self._check_redirect(origin.scheme, origin.hostname, current, target)
            current = target
        raise StoreError(
            f"{redact(url)} redirects more than {self._policy.redirects} times",
            stage="fetch",
        )

    def _request(
        self, method: str, url: str, headers: dict[str, str], origin: str | None
    ) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(url)
        sent = {"Accept-Encoding": "identity", **headers}
        if parts.username is not None and parts.hostname == origin:
            user, word = unquote(parts.username), unquote(parts.password or "")
            sent |= urllib3.make_headers(basic_auth=f"{user}:{word}")
        policy = self._policy
        try:
            return self._pool(parts.scheme, parts.hostname).request(
                method,
                _bare(url),
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=policy.connect_s, read=policy.read_s),
            )
        except SSLError:
            raise StoreError(
                f"cannot read {redact(url)}: its certificate is not accepted",
                stage="fetch",
            ) from None
        except (HTTPError, OSError) as error:
            raise Interrupted(_reason(error)) from None

    def _pool(self, scheme: str, host: str | None) -> urllib3.PoolManager:
        proxy = None if proxy_bypass(host or "") else getproxies().get(scheme)
        if proxy not in self._pools:
            self._pools[proxy] = (
                urllib3.PoolManager(maxsize=8)
                if proxy is None
                else urllib3.ProxyManager(proxy, maxsize=8)
            )
        return self._pools[proxy]

    def _check_host(self, url: str, host: str | None) -> None:
        allowed = self._policy.allowed_hosts
        if not host:
            raise StoreError(f"{redact(url)} names no host", stage="fetch")
        if allowed is not None and host not in allowed:
            raise SecurityRefused(
                f"{redact(url)}: the host {host} is not among the allowed {allowed}",
                stage="fetch",
            )

    def _check_redirect(
        self, scheme: str, origin: str | None, source: str, target: str
    ) -> None:
        parts = urlsplit(target)
        where = f"{redact(source)} redirects to {redact(target)}"
        if parts.scheme not in {"http", "https"}:
            raise SecurityRefused(f"{where}, which is not http(s)", stage="fetch")
        if scheme == "https" and parts.scheme == "http":
            raise SecurityRefused(f"{where}, out of https", stage="fetch")
        self._check_host(target, parts.hostname)
        private = any(map(_is_private, _addresses(origin)))
        for address in _addresses(parts.hostname):
            if address.is_link_local or address in _METADATA:
                raise SecurityRefused(
                    f"{where}, where clouds keep credentials", stage="fetch"
                )
            if _is_private(address) and not private:
                raise SecurityRefused(
                    f"{where}, an address of a private network", stage="fetch"
                )


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_METADATA = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
}


def _addresses(host: str | None) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # the request itself will say so
    addresses = (
        ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found
    )
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


def _is_private(address: _Address) -> bool:
    return not address.is_global


def _bare(url: str) -> str:
    """Return a URL without userinfo and fragment."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@")[-1], fragment=""))


def _remote(response: urllib3.BaseHTTPResponse, size: int | None) -> Remote:
    headers = response.headers
    tag = headers.get("ETag", "")
    if tag.startswith("W/"):
        tag = headers.get("Last-Modified", tag)
    return Remote(size=size, version=tag or headers.get("Last-Modified", ""))


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _range(response: urllib3.BaseHTTPResponse) -> tuple[int, int | None]:
    """Return (first byte, size of the object) of a part."""
    text = response.headers.get("Content-Range", "")
    unit, _, rest = text.partition(" ")
    span, _, size = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdecimal():
        raise Interrupted(f"the server sent a part without saying which ({text!r})")
    return int(first), int(size) if size.isdecimal() else None


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _refusal(url: str, status: int, response: urllib3.BaseHTTPResponse) -> StoreError:
    what = f"the server answered {status} {response.reason or ''}".rstrip()
    if status in {404, 410}:
        return not_found(url, what)
    return StoreError(f"cannot read {redact(url)}: {what}", stage="fetch")


def _reason(error: Exception) -> str:
    """Return what happened, without the URL that urllib3 quotes."""
    name = type(error).__name__
    words = {
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "no bytes in time",
        "NewConnectionError": "no connection",
        "NameResolutionError": "the host has no address",
        "IncompleteRead": "the body was cut short",
        "ProtocolError": "the connection broke off",
        "ConnectionResetError": "the connection was reset",
    }
    return words.get(name, name)
