"""What an HTTP answer says, and what an error of the connection means."""

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import NoReturn

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from fiberaug.errors import StoreError
from fiberaug.shards.netpolicy import Passing

__all__ = ["content_range", "is_final", "refuse", "refused", "version_of", "why"]

_AGAIN = {408, 425, 429}  # beside 5xx
_NEVER = {501, 505}
_ABSENT = {404, 410}
_FORBIDDEN = {401, 403, 407}
# Not the server's own words: they can quote the URL.
_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_CODE = re.compile(rb"<Code>([A-Za-z]{1,40})</Code>")
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


def refused(shown: str, reason: str, *, code: int | None = None) -> StoreError:
    """Return the error for what no further try changes."""
    error = StoreError(f"cannot read {shown}: {reason}", stage="fetch")
    error.errno = code
    return error


def content_range(text: str) -> tuple[int, int | None]:
    """Return (first byte, size of the object); -1 and None where it does not say."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return -1, None
    first, size = found.groups()
    return int(first or -1), None if size == "*" else int(size)


def version_of(headers: Mapping[str, str]) -> str:
    """Return what an answer says of the object's version; empty: nothing."""
    if "x-goog-generation" in headers:  # its ETag is no validator for ranges
        return f"generation {headers['x-goog-generation']}"
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    return tag if tag.startswith('"') else date or tag


def refuse(response: urllib3.BaseHTTPResponse, shown: str) -> NoReturn:
    """Raise the error that an answer's status means.

    Raises:
        StoreError: It is final; ``errno`` is ENOENT or EACCES where it says so.
        Passing: Another try may be answered otherwise.
    """
    status = response.status
    reason = f"the server answered {status} {_PHRASES.get(status, '')}".rstrip()
    if status in _AGAIN or (status >= 500 and status not in _NEVER):
        raise Passing(reason, wait_s=_retry_after(response))
    if "xml" in response.headers.get("Content-Type", ""):
        try:
            found = _CODE.search(response.read1(4096) or b"")
        except (HTTPError, HTTPException, OSError):
            found = None  # the status says enough
        reason += f" ({found[1].decode()})" if found else ""
    code = None
    if status in _ABSENT:
        code = errno.ENOENT
    elif status in _FORBIDDEN:
        code, reason = errno.EACCES, f"{reason}; check the credentials"
    raise refused(shown, reason, code=code)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _inner(error: BaseException) -> list[BaseException]:
    found = [error, error.__cause__, *error.args]
    return [e for e in found if isinstance(e, BaseException)]


def is_final(error: Exception) -> bool:
    """Return whether no further try can help: a certificate, a name nobody has."""
    for inner in _inner(error):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return True
        if isinstance(inner, socket.gaierror) and inner.errno == socket.EAI_NONAME:
            return True
    return False


def why(error: Exception) -> str:
    """Return what happened; urllib3's own texts quote the URL."""
    words = "the connection broke off"
    if isinstance(error, SSLError):
        words = "TLS failed"
    elif isinstance(error, NameResolutionError):
        words = "the host's name has no address"
    elif isinstance(error, ProxyError):
        words = "the proxy does not connect"
    elif isinstance(error, ConnectTimeoutError):
        words = "no connection in time"
    elif isinstance(error, NewConnectionError):
        words = "no connection"
    elif isinstance(error, ReadTimeoutError):
        words = "no byte came in time"
    for inner in _inner(error):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"the certificate is not accepted ({inner.verify_message})"
        if isinstance(inner, OSError) and inner.strerror:
            return f"{words} ({inner.strerror})"
    return words
