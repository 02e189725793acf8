"""URLs of shards: which are allowed, what they name, and what of them may be shown."""

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from fiberaug.errors import SecurityRefused, UsageError

__all__ = ["check_url", "file_name", "is_remote", "join", "redact", "scheme"]

_REMOTE = ("http", "https", "s3", "gs", "hf")
_HTTP = ("http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ADDRESS = re.compile(r"//([^/?#@]*@)?\[[0-9A-Fa-f:.%]*\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# The query ends with the text's word; quotes and brackets that close it stay.
_URL = re.compile(
    r"""([A-Za-z][A-Za-z0-9+.-]*://)  # scheme
        (?:[^\s/?\#]*@)?              # user and password
        ([^\s?\#]*)                   # host and path
        (?:[?\#]\S*?(?=[]'")>,;:.]*(?:\s|$)))?""",
    re.VERBOSE,
)
_QUERY = re.compile(r"\?[\w.%~-]+=\S*")  # of a URL that is cut to its path


def scheme(text: str) -> str | None:
    """Return the scheme of a URL in lower case; None for a path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def is_remote(text: str) -> bool:
    """Return whether a text is a URL that reaches beyond this machine's files."""
    return scheme(text) in _REMOTE


def check_url(text: str, *, allow_pipe: bool = False) -> None:
    """Check that a path or URL has a protocol that is read, and nothing hidden in it.

    Args:
        text: Path or URL.
        allow_pipe: Take ``pipe:`` as well.

    Raises:
        SecurityRefused: It runs a command, chains protocols, or holds control
            characters.
        UsageError: Its protocol is not read, or it names no host.
    """
    if text.lower().startswith("pipe:"):
        if not allow_pipe:
            raise SecurityRefused(
                "'pipe:' runs a command on this machine; name the shard itself"
                " (http://, https://, s3://, gs://, hf://), or give allow_pipe=True"
            )
        return
    if _chained(text):
        raise SecurityRefused(
            f"{redact(text)!r} chains protocols with '::'; name the object itself"
        )
    name = scheme(text)
    if name is None:
        return
    if name not in {*_REMOTE, "file"}:
        raise UsageError(
            f"{redact(text)!r} has the protocol {name!r}; file, {', '.join(_REMOTE)}"
            " are read"
        )
    if _CONTROL.search(text):
        shown = redact(re.split(r"[?#]", text, maxsplit=1)[0])
        raise SecurityRefused(f"{shown!r} holds control characters")
    if name != "file":
        _check_host(text, name)


def _chained(text: str) -> bool:
    rest = _ADDRESS.sub("//host", text, count=1).lower()
    return "::" in rest and ("://" in rest or "::pipe:" in rest)


def _check_host(text: str, name: str) -> None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text has the whole URL
        host, parts = None, None
    if not host or parts is None:
        raise UsageError(
            f"a {name}:// URL names no host or bucket, or a port that is no number; a"
            " / in a password is written %2F"
        )
    if name not in _HTTP and "@" in parts.netloc:
        raise UsageError(
            f"{redact(text)!r} has credentials in it, and {name}:// takes them from the"
            " environment; docs/remote.md says how"
        )
    if re.search(r"\s", parts.netloc + parts.query + parts.fragment):
        shown = redact(re.split(r"[?#]", text, maxsplit=1)[0])
        raise SecurityRefused(f"{shown!r} holds spaces; write them as %20")


def redact(text: str) -> str:
    """Return a text without the credentials of the URLs in it.

    User, password, query and fragment go: tokens and signatures stand there.

    >>> redact("GET 'https://me:secret@host/a.tar?X-Amz-Signature=1f' failed")
    "GET 'https://host/a.tar' failed"
    """
    return _QUERY.sub("", _URL.sub(r"\1\2", text))


def file_name(url: str) -> str:
    """Return the last part of a URL's path, without its query.

    It is what the file would be called in a folder: over http(s), ``%20`` is a space.

    >>> file_name("https://host/a/b%20c.tar?sig=1")
    'b c.tar'
    """
    path = re.split(r"[?#]", url, maxsplit=1)[0].rstrip("/")
    name = path.rpartition("/")[2]
    plain = unquote(name, errors="replace") if scheme(url) in _HTTP else name
    safe = not set(plain) & set("/\\\ufffd") and not _CONTROL.search(plain)
    return plain if safe else name


def join(base: str, name: str) -> str:
    """Return the URL of a file in a folder; the folder's query goes with it.

    Args:
        base: URL of a folder.
        name: File name. A data set's list of shards can come from a stranger.

    Raises:
        SecurityRefused: The name leads out of the folder.

    >>> join("https://host/set/?sig=1", "a b.tar")
    'https://host/set/a%20b.tar?sig=1'
    """
    if name in {"", ".", ".."} or set(name) & set("/\\") or _CONTROL.search(name):
        raise SecurityRefused(f"{name!r} is no file name; it would leave the folder")
    if scheme(base) not in _HTTP:
        return f"{base.rstrip('/')}/{name}"
    parts = urlsplit(base)
    path = f"{parts.path.rstrip('/')}/{quote(name, safe='~')}"
    return urlunsplit(parts._replace(path=path))
