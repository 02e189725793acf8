"""How members make samples: webdataset's convention, and what a key may look like."""

import re
import unicodedata
from urllib.parse import quote

from fiberaug.errors import SecurityRefused

__all__ = ["escape_stem", "split_name"]

_SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__(?:$|/)")
_RESERVED = re.compile(r"(?:^|\.)__[^.]*__(?:\.|$)")


def split_name(name: str, *, shard: str, offset: int) -> tuple[str, str] | None:
    """Return (key, extension in lower case) of a member, or None when it is no field.

    The key ends at the first dot of the file name, as in webdataset: ``a/b.mask.png``
    is field ``mask.png`` of sample ``a/b``. Names without a dot, hidden files and
    members below ``__meta__/`` belong to no sample.

    Raises:
        SecurityRefused: The extension is one of the names that loaders reserve for
            themselves, such as ``__url__``.

    >>> split_name("a/b.mask.PNG", shard="s.tar", offset=0)
    ('a/b', 'mask.png')
    """
    if _META.match(name):
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


def escape_stem(stem: str) -> str:
    """Return a file's stem as a key can hold it: NFC, dots written as ``%2E``.

    The escape is undone by ``urllib.parse.unquote``.

    >>> escape_stem("img.v2")
    'img%2Ev2'
    """
    stem = unicodedata.normalize("NFC", stem)
    return "".join(
        quote(c, safe="") if c in "%\\" or ord(c) < 32 or ord(c) == 127
        else "%2E" if c == "." else c
        for c in stem
    )  # fmt: skip
