"""URLs of shards: which are allowed, what they name, and what of them may be shown."""

import re
from urllib.parse import urlsplit, urlunsplit

from fiberaug.errors import SecurityRefused, UsageError

__all__ = ["REMOTE", "check_url", "file_name", "is_remote", "join", "redact", "scheme"]

REMOTE = ("http", "https", "s3", "gs", "hf")
"""Protocols that reach beyond this machine."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//|(?=\S))")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_URL = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)"  # scheme
    r"(?:[^\s/?#'\"<>]*@)?"  # user and password
    r"([^\s?#'\"<>]*)"  # host and path
    r"(?:[?#][^\s'\"<>]*)?"  # query and fragment
)
_QUERY = re.compile(r"\?[\w.%~-]+=[^\s'\"<>)]*")


def scheme(text: str) -> str | None:
    """Return the scheme of a URL in lower case; None for a path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def is_remote(text: str) -> bool:
    """Return whether a text is a URL that reaches beyond this machine."""
    return scheme(text) in REMOTE


def check_url(text: str, *, allow_pipe: bool = False) -> None:
    """Return where a path or URL may be read.

    Raises:
        SecurityRefused: It chains protocols, runs a command, or holds control
            characters.
        UsageError: Its protocol is not supported.
    """
    name = scheme(text)
    if name is None or len(name) == 1:  # a path, or a drive of Windows
        return
    if name == "pipe":
        if not allow_pipe:
            raise SecurityRefused(
                "'pipe:' runs a command on this machine; name the shard itself"
                f" ({'://, '.join(REMOTE)}://), or give allow_pipe=True"
            )
        return
    if "::" in text:
        raise SecurityRefused(
            f"{redact(text)!r} chains protocols with '::'; name the object itself"
        )
    if name not in {*REMOTE, "file"}:
        raise UsageError(
            f"{redact(text)!r} has the protocol {name!r}; supported are file, "
            + ", ".join(REMOTE)
        )
    if _CONTROL.search(text):
        raise SecurityRefused(
            f"{redact(text)!r} holds spaces or control characters; quote them (%20)"
        )


def redact(text: str) -> str:
    """Return a text without the credentials of the URLs in it.

    User, password, query and fragment go: tokens and signatures stand there.

    >>> redact("GET https://me:secret@host/a.tar?X-Amz-Signature=1f failed")
    'GET https://host/a.tar failed'
    """
    return _QUERY.sub("", _URL.sub(r"\1\2", text))


def file_name(url: str) -> str:
    """Return the last part of a URL's path, without its query.

    >>> file_name("https://host/a/b.tar?sig=1")
    'b.tar'
    """
    return urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]


def join(base: str, name: str) -> str:
    """Return the URL of a file in a folder; the folder's query goes with it.

    >>> join("https://host/set/?sig=1", "a.tar")
    'https://host/set/a.tar?sig=1'
    """
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
