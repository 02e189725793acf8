"""The strict reader of tar shards: damage is an error, nothing ends quietly.

``tarfile`` takes a broken header after the first member for the end of the archive, so
a damaged shard looks like a short one. Here the end is the end-of-archive marker, two
zero blocks followed by nothing but zeros, and whatever else is found is reported with
the shard and the byte offset. What no honest shard holds (links, devices, sparse files,
names that leave the folder, fields on which tar programs disagree) is refused.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar
manual, "Basic Tar Format".
"""

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SecurityRefused,
    ShardDamaged,
    UsageError,
)
from fiberaug.shards.limits import Limits

__all__ = ["Limits", "Member", "check_name", "scan"]

_Data: TypeAlias = bytes | mmap.mmap | memoryview
# An extended header: its offset, and the path and size it gives the member behind it.
_Ahead: TypeAlias = tuple[int, bytes | None, int | None]

# name, size and its end, checksum, type, magic and version, first byte of the prefix
_HEADER = struct.Struct("100s24x11ss12x8sc100x8s80xB166x")
_ZERO = bytes(512)
_MAGICS, _V7 = (b"ustar\x0000", b"ustar  \0"), bytes(8)
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a fifo",
    b"K": "the long name of a link",
    b"S": "a sparse file",
}
_PACKED = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ", "xz"), (b"(\xb5/\xfd", "zstd"))

# One form of the field for one sum. If zeros and spaces could stand for each other, a
# flipped bit would pass. Padding with spaces is from before ustar.
_SUM = re.compile(rb"([0-7]{6})(?:\0 | \0)|([0-7]{7})\0")
_V7_SUM = re.compile(rb" *([0-7]{1,6})(?:\0 | \0)")
_OCTAL = re.compile(rb" *([0-7]{1,12})[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,20}")
# Each character belongs to one alternative only, so a match takes linear time.
_PLAIN = re.compile(r"[0-9A-Za-z-]+(?:[._/][0-9A-Za-z-]+)*")
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"__[^.]*__")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Member(NamedTuple):
    """A regular file in a shard."""

    name: str
    """Path as the shard has it, with forward slashes; never normalised."""
    offset: int
    """First byte of the data in the shard."""
    size: int
    """Bytes of data."""
    header_offset: int
    """First byte of the header, or of the pax header or long name before it."""


_DEFAULTS = Limits()


def scan(data: _Data, *, shard: str, limits: Limits = _DEFAULTS) -> Iterator[Member]:
    """Return the regular members of a whole tar shard, in the order of the file.

    The data bytes are not touched, so with an mmap only the headers are paged in.
    The members are known to be all of them when the iterator ends without an error.

    Args:
        data: The whole shard; it must not change meanwhile.
        shard: File name or URL, for the errors.
        limits: Sizes above which the shard is refused.

    Raises:
        UsageError: An argument has the wrong type; raised here, not while iterating.
        ShardDamaged: The shard is cut, has a broken header, no end-of-archive marker,
            something behind it, or no regular member at all.
        SecurityRefused: A member is not a regular file or a directory, its name is
            unsafe, or its headers contradict each other.
        LimitExceeded: A member or an extended header is larger than its limit.
    """
    if not isinstance(data, (bytes, mmap.mmap, memoryview)):
        raise UsageError(f"data must be bytes or an mmap, got {type(data).__name__}")
    if isinstance(data, memoryview):
        if not data.c_contiguous:
            raise UsageError("data must be contiguous, got a memoryview with steps")
        data = data.cast("B")
    if not shard:
        raise UsageError(f"shard must be a file name or URL, got {shard!r}")
    if not isinstance(limits, Limits):
        raise UsageError(f"limits must be Limits(...), got {limits!r}")
    return _walk(data, shard, limits)


# One long loop, since a call for each header would cost a tenth of the time.
def _walk(  # noqa: C901, PLR0912, PLR0915
    data: _Data, shard: str, limits: Limits
) -> Iterator[Member]:
    total, pos, found = len(data), 0, 0
    ahead: _Ahead | None = None
    unpack, adler32, plain = _HEADER.unpack, zlib.adler32, _PLAIN.fullmatch
    member_bytes, name_chars = limits.member_bytes, limits.name_chars
    extended_header_bytes = limits.extended_header_bytes
    try:
        while pos + 512 <= total:
            header = data[pos : pos + 512]
            raw, digits, end, check, kind, magic, prefix = unpack(header)
            # The low half of Adler-32 is 1 plus the sum of the bytes, modulo 65521.
            if adler32(header) & 0xFFFF != _low_adler(check):
                header = bytes(header)
                if header == _ZERO:
                    _check_end(data, pos, found=found, ahead=ahead)
                    return
                _check_sum(header, first=pos == 0)
            if magic not in _MAGICS and magic != _V7 and magic[:6] != b"ustar\0":
                raise ShardDamaged(f"the magic is {_shown(magic)}, expected 'ustar'")
            if end in b"\0 " and not digits.strip(b"01234567"):
                size = int(digits, 8)
            else:
                size = _odd_size(bytes(header[124:136]))
            if kind != b"0" and kind in b"xgL":
                if ahead is not None:
                    raise SecurityRefused(
                        f"the extended header at byte {ahead[0]} is followed by "
                        "another, expected its member"
                    )
                body = _body(data, pos, size, extended_header_bytes)
                ahead = _read_ahead(body, kind, pos)
                pos += (size + 1023) & -512
                continue
            raw = raw.partition(b"\0")[0]
            if prefix:
                raw = _prefix(bytes(header), magic) + b"/" + raw
            start = pos + 512
            begin = pos
            if ahead is not None:
                begin, path, pax_size = ahead
                raw = raw if path is None else path
                size = size if pax_size is None else _agreed(size, pax_size)
                ahead = None
            directory = kind != b"0" and _is_directory(kind, raw, size)
            raw = raw.removesuffix(b"/") if directory else raw
            name = raw.decode("utf-8", "surrogateescape")
            if not plain(name) or len(name) > name_chars:
                check_name(name, name_chars)
            if size > member_bytes:
                raise LimitExceeded(
                    f"{_shown(name)} has {size} bytes, the limit is {member_bytes=}"
                )
            stop = start + size
            if stop > total:
                raise ShardDamaged(
                    f"the file ends inside member {_shown(name)}, after "
                    f"{total - start} bytes of data, expected {size}"
                )
            if not directory:
                found += 1
                yield Member(name, start, size, begin)
            pos = (stop + 511) & -512
        raise _cut(bytes(data[pos:]), total)
    except DataRefused as error:
        error.located(shard=shard, offset=min(pos, total), stage="read")
        raise


@lru_cache(maxsize=2**14)
def _low_adler(field: bytes) -> int:
    """Return what Adler-32 of a header with this checksum ends in, -1 if it is none."""
    match = _SUM.fullmatch(field)
    if match is None:
        return -1
    return (1 + int(match[1] or match[2], 8) - 8 * 32 + sum(field)) % 65521


def _check_sum(header: bytes, *, first: bool) -> None:
    """Refuse a header whose checksum is wrong by the rules of old tar programs, too."""
    field = header[148:156]
    blank = header[:148] + b" " * 8 + header[156:]
    match = _V7_SUM.fullmatch(field)
    if match is not None and header[257:265] == _V7:
        signed = sum(blank) - 256 * sum(byte > 127 for byte in blank)
        if int(match[1], 8) in {sum(blank), signed}:
            return
    if first and header[257:262] != b"ustar":
        raise ShardDamaged(_not_a_tar(header))
    raise ShardDamaged(
        f"the header checksum is {_shown(field)}, expected '{sum(blank):06o}': this "
        "header is damaged, or the size in the one before"
    )


def _not_a_tar(start: bytes) -> str:
    how = "".join(f" once unpacked by {x}" for m, x in _PACKED if start.startswith(m))
    return f"no tar file: it starts with {_shown(start[:24])}, expected a header{how}"


def _cut(tail: bytes, total: int) -> ShardDamaged:
    """Return the error for a file that ends where a header or the marker should be."""
    if total == 0:
        return ShardDamaged("the file has 0 bytes, expected a tar file")
    if tail.count(0) == len(tail):
        return ShardDamaged(
            f"the end-of-archive marker is missing: {len(tail)} zero bytes, expected "
            "1024; the shard is cut or was never finished"
        )
    if total < 512:
        return ShardDamaged(_not_a_tar(tail))
    return ShardDamaged(f"the file ends inside a header: {len(tail)} of 512 bytes")


def _check_end(data: _Data, pos: int, *, found: int, ahead: _Ahead | None) -> None:
    """Refuse what is not two zero blocks and zeros up to the end of the file."""
    total = len(data)
    if total < pos + 1024:
        raise _cut(bytes(data[pos:]), total)
    for start in range(pos, total, 2**20):
        chunk = bytes(data[start : start + 2**20])
        rest = chunk.lstrip(b"\0")
        if rest:
            block = (start + len(chunk) - len(rest)) & -512
            raise ShardDamaged(
                f"{_shown(rest[:24])} stands behind the zero block at byte {pos}, "
                "expected zeros: damage, or tar files put together",
                offset=block,
            )
    if ahead is not None:
        raise ShardDamaged(
            "the archive ends after an extended header, expected its member",
            offset=ahead[0],
        )
    if total % 512:
        raise ShardDamaged(f"the file has {total} bytes, expected a multiple of 512")
    if not found:
        raise ShardDamaged("the archive has 0 regular members, expected at least 1")


def _odd_size(field: bytes) -> int:
    """Return a size that is not eleven octal digits: base 256, or padded otherwise."""
    match = _OCTAL.fullmatch(field)
    if match is not None:
        return int(match[1], 8)
    if field[0] & 0xC0 == 0x80:
        return int.from_bytes(field, "big") & ((1 << 95) - 1)
    what = "negative" if field[0] & 0x80 else "not octal"
    raise ShardDamaged(f"the size {_shown(field)} is {what}, expected octal digits")


def _agreed(size: int, pax: int) -> int:
    """Return a size that is given twice; tar programs differ in which one they use."""
    if pax == size or pax >= 8**11:  # the header cannot say more
        return pax
    raise SecurityRefused(f"the size is {size}, by the pax header {pax}, expected one")


def _is_directory(kind: bytes, raw: bytes, size: int) -> bool:
    """Return whether to skip a member that is not of type '0'; refuse other types."""
    if kind == b"7" or (kind == b"\0" and not raw.endswith(b"/")):
        return False
    if kind not in b"\x005":
        what = f"{_REFUSED.get(kind, 'unknown')} (type {_shown(kind)})"
        raise SecurityRefused(f"{_shown(raw)} is {what}, expected a regular file")
    if size:
        raise ShardDamaged(f"directory {_shown(raw)} has {size} bytes, expected 0")
    return True


def _prefix(header: bytes, magic: bytes) -> bytes:
    if magic[:6] != b"ustar\0":
        # tarfile takes these bytes for a part of the name, GNU tar for times
        found = _shown(header[345:369])
        raise SecurityRefused(f"a header that is not ustar has prefix {found}")
    return header[345:500].partition(b"\0")[0]


def check_name(name: str, name_chars: int = _DEFAULTS.name_chars) -> None:
    """Raise SecurityRefused for a name that no honest shard holds."""
    parts = name.split("/")
    pieces = parts[-1].split(".")[1:]
    rules = (
        (len(name) > name_chars, f"is longer than name_chars={name_chars}"),
        (parts[0] == "", "is empty or absolute"),
        (parts[-1] == "", "ends in a slash"),
        (".." in parts, "leaves its folder by '..'"),
        ("\\" in name, "holds a backslash"),
        (_DRIVE.match(name), "starts with a drive letter"),
        (_CONTROL.search(name), "holds a control character"),
        (_SURROGATE.search(name), "is not UTF-8"),
        # Loaders keep their own fields under such names, an attacker could forge them.
        (any(map(_RESERVED.fullmatch, pieces)), "has a reserved extension like __x__"),
    )
    for broken, why in rules:
        if broken:
            raise SecurityRefused(f"name {_shown(name)} {why}, expected a/b.jpg")


def _body(data: _Data, pos: int, size: int, extended_header_bytes: int) -> bytes:
    """Return the data of an extended header, which the limit keeps small."""
    if size > extended_header_bytes:
        raise LimitExceeded(
            f"an extended header has {size} bytes, limit {extended_header_bytes=}"
        )
    end = pos + 512 + size
    body = bytes(data[pos + 512 : end])
    if size % 512 and bytes(data[end : end + 1]) not in {b"", b"\0"}:
        # tarfile reads names and records on through the block
        raise SecurityRefused("an extended header goes on behind its size")
    if len(body) < size:
        raise ShardDamaged(
            f"the file ends inside an extended header, after {len(body)} bytes of "
            f"data, expected {size}"
        )
    return body


def _read_ahead(body: bytes, kind: bytes, pos: int) -> _Ahead | None:
    """Return what a pax header or long name says about the member behind it."""
    if kind == b"L":
        return pos, body.partition(b"\0")[0], None
    # webdataset's writer puts one such record before each member: keep it cheap
    if body.startswith(b"%d mtime=" % len(body)) and body.endswith(b"\n"):
        return (pos, None, None) if kind == b"x" else None
    records = _pax_records(body)
    if b"GNU.sp" in body and any(key.startswith(b"GNU.sparse.") for key in records):
        raise SecurityRefused("pax records mark a sparse file, expected a plain one")
    path, size = records.get(b"path"), records.get(b"size")
    if kind == b"g":
        if path is not None or size is not None:
            raise SecurityRefused("a global pax header sets a path or size for all")
        return None
    if size is None:
        return pos, path, None
    if not _DECIMAL.fullmatch(size):
        raise ShardDamaged(f"the pax size is {_shown(size)}, expected decimal digits")
    return pos, path, int(size)


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    """Return the records ``length key=value``; touches each byte only a few times."""
    records: dict[bytes, bytes] = {}
    pos = 0
    while pos < len(body):
        space = body.find(b" ", pos, pos + 8)
        digits = body[pos : max(space, pos)]
        end = pos + int(digits) if digits.isdigit() else 0
        record = body[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if not equals or end > len(body) or not value.endswith(b"\n"):
            raise ShardDamaged(
                f"a pax record starts with {_shown(body[pos : pos + 24])}, expected "
                "'length key=value' and a line feed"
            )
        if key in records:
            raise SecurityRefused(f"pax record {_shown(key)} is there twice")
        records[key] = value[:-1]
        pos = end
    return records


def _shown(text: bytes | str) -> str:
    """Return foreign text as a message may hold it: quoted, ASCII, one short line."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return ascii(text if len(text) <= 80 else text[:77] + "...")
