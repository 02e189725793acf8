"""What stands around the data of a member of our shards: always the same bytes.

They are those that Python's ``tarfile`` writes in POSIX format for a file of root with
mode 0644 and time 0, hence those of webdataset's TarWriter, whatever the release of
either.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block".
"""

from fiberaug.errors import UsageError

__all__ = ["BLOCK", "end_of_archive", "member_header"]

BLOCK = 512
"""Bytes that everything in a tar is padded to."""

_RECORD = 20 * BLOCK
_NAME = 100  # bytes that the header has for it
_MOST = 8**11 - 1  # bytes of a member: eleven octal digits
_BEFORE_SIZE = b"0000000\0" * 2  # owner and group
_AFTER_SIZE = b"00000000000\0"  # time
_FILE, _EXTENDED = b"0000644\0", b"0000000\0"  # modes
_BEHIND_TYPE = bytes(_NAME) + b"ustar\x0000" + bytes(BLOCK - 265)
# The sum of all bytes but name, size and type, the checksum counted as eight blanks.
_CONSTANT = sum(_BEFORE_SIZE + _AFTER_SIZE + _BEHIND_TYPE) + 8 * 32


def member_header(name: str, size: int) -> bytes:
    """Return the blocks that stand before the data of a member.

    One; or three or more for a name that is not ASCII or has over 100 characters, which
    a pax header holds whole.

    Args:
        name: Of the member, text that UTF-8 can hold.
        size: Bytes of its data, at most 8 GiB - 1.

    Raises:
        UsageError: The size does not fit.
    """
    if not 0 <= size <= _MOST:
        raise UsageError(f"a member has 0 to {_MOST} bytes, got {size}")
    if name.isascii() and len(name) <= _NAME:
        return _block(name.encode(), _FILE, size, b"0")
    record = _record(b"path", name.encode())
    return b"".join(
        (
            _block(b"././@PaxHeader", _EXTENDED, len(record), b"x"),
            record,
            bytes(-len(record) % BLOCK),
            _block(name.encode("ascii", "replace")[:_NAME], _FILE, size, b"0"),
        )
    )


def end_of_archive(size: int) -> bytes:
    """Return what ends a tar of ``size`` bytes: two zero blocks, and a full record."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % _RECORD)


def _block(name: bytes, mode: bytes, size: int, kind: bytes) -> bytes:
    digits = b"%011o\0" % size
    total = _CONSTANT + sum(name) + sum(mode) + sum(digits) + kind[0]
    return b"".join((
        name, bytes(_NAME - len(name)), mode, _BEFORE_SIZE, digits, _AFTER_SIZE,
        b"%06o\0 " % total, kind, _BEHIND_TYPE,
    ))  # fmt: skip


def _record(name: bytes, value: bytes) -> bytes:
    """Return a pax record, which begins with its own length."""
    rest = len(name) + len(value) + 3
    length = rest
    while (found := rest + len(str(length))) != length:
        length = found
    return b"%d %s=%s\n" % (length, name, value)
