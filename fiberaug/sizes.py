"""Sizes as people write them: "256MB" is 10**6 bytes times 256, "256MiB" 2**20."""

import re
from fractions import Fraction

from fiberaug.errors import UsageError

__all__ = ["counted", "format_bytes", "parse_bytes", "parse_sides"]

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{p}B": 10 ** (3 * i) for i, p in enumerate("KMGTP", 1)}
_UNITS |= {f"{p}IB": 2 ** (10 * i) for i, p in enumerate("KMGTP", 1)}
_SIDES = re.compile(r"\s*([0-9]{1,9})(?:\s*[xX]\s*([0-9]{1,9}))?\s*")
_SIZE = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)\s*")


def parse_bytes(size: int | str, *, name: str = "size") -> int:
    """Return a size in bytes.

    Args:
        size: A number of bytes, or text such as ``"256MB"`` or ``"1.5GiB"``.
        name: What the size is called in the error.

    Raises:
        UsageError: The text is not a size, or the size is not positive.

    >>> parse_bytes("256MB"), parse_bytes("1.5KiB"), parse_bytes(7)
    (256000000, 1536, 7)
    """
    if isinstance(size, int) and not isinstance(size, bool):
        count = size
    else:
        match = _SIZE.fullmatch(str(size))
        unit = _UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            raise UsageError(
                f'{name} must be bytes or text such as "256MB" or "1GiB",'
                f" got {size!r:.60}"
            )
        count = int(Fraction(match[1]) * unit)
    if count < 1:
        raise UsageError(f"{name} must be at least 1 byte, got {size!r}")
    return count


def parse_sides(size: str, *, name: str = "size") -> tuple[int, int]:
    """Return (height, width) in px.

    Args:
        size: Text such as ``"1024x768"``, height first, or one number for both.
        name: What the size is called in the error.

    Raises:
        UsageError: The text is not such a size.

    >>> parse_sides("1024x768"), parse_sides("512")
    ((1024, 768), (512, 512))
    """
    match = _SIDES.fullmatch(size)
    if match is None:
        raise UsageError(
            f"{name} must be HEIGHTxWIDTH in px, such as 1024x1024, got {size!r:.60}"
        )
    return int(match[1]), int(match[2] or match[1])


def format_bytes(count: int) -> str:
    """Return bytes as people read them.

    >>> format_bytes(999), format_bytes(256_000_000)
    ('999 B', '256.0 MB')
    """
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "shard"), counted(3, "shard"), counted(0, "problem")
    ('1 shard', '3 shards', 'no problems')
    """
    return f"{count or 'no'} {noun}{'s' * (count != 1)}"
