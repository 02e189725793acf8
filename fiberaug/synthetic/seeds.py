"""The seed and the key of a synthetic sample: functions of its class and its index.

Source: BLAKE2, RFC 7693.
"""

import re
import unicodedata
from hashlib import blake2b
from struct import Struct

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed

__all__ = ["sample_key", "sample_seed"]

_HEAD = Struct("<2Q")
_MOST_INDEX = 2**63
_MOST_CHARS = 48
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*")
_HASHED = re.compile(r"-[0-9a-f]{12}$")
_ODD = re.compile(r"[^0-9A-Za-z_]+")


def sample_seed(seed: int, label: str, index: int) -> int:
    """Return the seed of one synthetic sample, in [0, 2**63).

    It depends on nothing else: not on the batch, the process or the classes beside it.

    Args:
        seed: Seed of the run, in [0, 2**64).
        label: Name of the class, in any form of Unicode; the decimal label where
            classes have no names.
        index: Number of the sample in its class, from 0.

    Raises:
        UsageError: ``seed`` or ``index`` is out of range.

    >>> sample_seed(0, "cat", 0)
    3611896046523107690
    """
    head = _HEAD.pack(check_seed(seed), _check_index(index))
    digest = blake2b(head + _name(label).encode(), digest_size=8, person=b"fa-sample")
    return int.from_bytes(digest.digest(), "little") >> 1


def sample_key(label: str, index: int) -> str:
    """Return the key of one synthetic sample, safe in a tar and in any file system.

    No two samples share one: a name with other characters than letters, digits, ``_``
    and ``-``, and a long one, is shortened and gets 12 digits of its hash.

    Args:
        label: Name of the class, or the decimal label.
        index: Number of the sample in its class, from 0.

    Raises:
        UsageError: ``index`` is out of range.

    >>> sample_key("cat", 12), sample_key("Fähre / rot", 3)
    ('cat-000012', 'F-hre-rot-903bca6a74fe-000003')
    """
    _check_index(index)
    name = _name(label)
    plain = len(name) <= _MOST_CHARS and _PLAIN.fullmatch(name)
    if not plain or _HASHED.search(name):
        digest = blake2b(name.encode(), digest_size=6).hexdigest()
        short = _ODD.sub("-", name)[: _MOST_CHARS - 13].strip("-_")
        name = f"{short or 'class'}-{digest}"
    return f"{name}-{index:06d}"


def _name(label: str) -> str:
    return unicodedata.normalize("NFC", label)


def _check_index(index: int) -> int:
    if type(index) is not int or not 0 <= index < _MOST_INDEX:
        raise UsageError(f"index must be an integer in [0, 2**63), got {index!r}")
    return index
