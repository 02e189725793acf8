"""How members make samples: webdataset's convention, and what a key may look like."""

import re
import unicodedata
from urllib.parse import quote

from fiberaug.errors import LimitExceeded, SecurityRefused

__all__ = ["escape_folder", "escape_stem", "sample_too_large", "split_name"]

_SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__(?:$|/)")
_RESERVED = re.compile(r"(?:^|\.)__[^.]*__(?:\.|$)")
# What the strict tar reader refuses; surrogates: bytes that are no UTF-8.
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")


def split_name(name: str, *, shard: str, offset: int) -> tuple[str, str] | None:
    """Return (key, extension in lower case) of a member, or None when it is no field.

    The key ends at the first dot of the file name, as in webdataset: ``a/b.mask.png``
    is field ``mask.png`` of sample ``a/b``. Names without a dot, hidden files (macOS
    adds ``a/._b.jpg``) and members below ``__meta__/`` belong to no sample.

    Raises:
        SecurityRefused: The extension is one of the names that loaders reserve for
            themselves, such as ``__url__``.

    >>> split_name("a/b.mask.PNG", shard="s.tar", offset=0)
    ('a/b', 'mask.png')
    """
    if _META.match(name) or name.rpartition("/")[2].startswith("."):
        return None
    match = _SPLIT.fullmatch(name)
    if match is None:
        return None
    if _RESERVED.search(match[2]):
        raise SecurityRefused(
            f"member {name!r} has a reserved extension; loaders use such names for"
            " their own fields",
            shard=shard,
            offset=offset,
            stage="read",
        )
    return match[1], match[2].lower()


def sample_too_large(
    size: int, most: int, *, shard: str, key: str, offset: int
) -> LimitExceeded:
    """Return the error of a sample whose members are too large together.

    Args:
        size: Bytes of all members.
        most: The limit.
        shard: File name.
        key: Key of the sample.
        offset: Where its first member lies.
    """
    return LimitExceeded(
        f"the sample has {size} bytes, the limit is sample_bytes={most}",
        shard=shard,
        key=key,
        offset=offset,
        stage="read",
    )


def escape_stem(stem: str) -> str:
    """Return a file's stem as a key can hold it: NFC, dots written as ``%2E``.

    The escape is undone by ``urllib.parse.unquote``.

    >>> escape_stem("img.v2")
    'img%2Ev2'
    """
    stem = unicodedata.normalize("NFC", stem).replace("%", "%25").replace(".", "%2E")
    return _UNSAFE.sub(_quote, stem)


def escape_folder(name: str) -> str:
    """Return a folder's name as a key can hold it: NFC, unsafe characters escaped.

    >>> escape_folder("v2.1"), escape_folder("a" + chr(92) + "b")
    ('v2.1', 'a%5Cb')
    """
    return _UNSAFE.sub(_quote, unicodedata.normalize("NFC", name))


def _quote(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="surrogateescape")
