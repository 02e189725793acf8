"""Reading alone and decoding alone: how fast the set could come at most."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fiberaug.benching.opened import Opened, single_threaded
from fiberaug.benching.reading import read_again, read_first
from fiberaug.decode.header import ImageHeader
from fiberaug.errors import DataRefused
from fiberaug.shards.index import DECODES, ShardIndex

__all__ = ["Ceilings", "Kind", "measure_ceilings"]

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


class Kind(NamedTuple):
    """Photos that are decoded alike."""

    name: str
    """Such as ``jpeg``, ``progressive jpeg``, ``CMYK jpeg`` or ``png``."""

    share: float
    """Of the photos, in [0, 1]."""

    seconds_per_megapixel: float
    """CPU seconds of decoding 10**6 px."""


class Ceilings(NamedTuple):
    """What reading and decoding take by themselves."""

    first_read: float
    """Seconds of a sample when it is read for the first time here, by one process: see
    :class:`fiberaug.benching.reading.Reading`."""

    store_bytes_per_s: float | None
    """What the store delivers. None: the set is local, or the cache had it."""

    read: float
    """CPU seconds of a sample that is in memory, its CRC-32 checked."""

    decode: float
    """CPU seconds of decoding all fields of a sample, every photo whole."""

    photos: int
    """Samples that were decoded."""

    bytes: float
    """Mean size of a sample in the shard."""

    pixels: float
    """Mean width times height of a photo, px."""

    kinds: tuple[Kind, ...]
    """The most frequent first."""

    known_sound: float
    """Share of the samples of which the index says that they decode."""

    seekable: float
    """Share of the samples of which the index knows restart markers."""

    broken: int


class _Decoded(NamedTuple):
    kind: str
    seconds: float
    pixels: int


def measure_ceilings(
    opened: Opened,
    samples: int,
    seconds: float,
) -> Ceilings:
    """Return what reading and decoding take by themselves.

    Must be the first measurement: a sample is read for the first time only once.

    Args:
        opened: The set.
        samples: How many samples, at most.
        seconds: How long, at most, for reading and again for decoding, s; at least one
            batch is looked at.
    """
    pool, least = opened.pool(), opened.batch_size
    reading = read_first(opened, pool, samples, seconds)
    broken = reading.broken
    decoded: list[_Decoded] = []
    ends = time.perf_counter() + seconds
    with single_threaded():
        for photo in reading.photos:
            if len(decoded) >= least and time.perf_counter() > ends:
                break
            members = pool[photo.shard].read(photo.number)
            try:
                decoded.append(_decode(opened, members))
            except DataRefused:
                broken += 1
    read, made = reading.photos, max(1, len(decoded))
    return Ceilings(
        first_read=reading.seconds, store_bytes_per_s=reading.store_bytes_per_s,
        read=read_again(pool, read), bytes=reading.bytes,
        decode=sum(one.seconds for one in decoded) / made, photos=len(decoded),
        pixels=sum(one.pixels for one in decoded) / made,
        kinds=_kinds(decoded), broken=broken,
        known_sound=_share(_is_sound(pool[p.shard].index, p.number) for p in read),
        seekable=_share(_is_cut(pool[p.shard].index, p.number) for p in read),
    )  # fmt: skip


def _decode(opened: Opened, members: Mapping[str, memoryview]) -> _Decoded:
    decoder = opened.dataset.setup.decoder
    started = time.process_time()
    done = decoder(members)
    spent = time.process_time() - started
    header = done.header
    data = next((v for k, v in members.items() if _same(k, header)), None)
    kind = header.format if data is None else _kind(header.format, data)
    return _Decoded(kind, spent, header.width * header.height)


def _same(extension: str, header: ImageHeader) -> bool:
    last = extension.rpartition(".")[2]
    return header.format == "jpeg" and last in {"jpg", "jpeg"}


def _kind(form: str, data: memoryview) -> str:
    """Return what a JPEG is, by its frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while form == "jpeg" and at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            cmyk = "CMYK " if data[at + 9] == 4 else ""
            return f"{cmyk}{'progressive ' if marker in _PROGRESSIVE else ''}jpeg"
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return form


def _kinds(decoded: Sequence[_Decoded]) -> tuple[Kind, ...]:
    names = sorted({one.kind for one in decoded})
    kinds = []
    for name in names:
        those = [one for one in decoded if one.kind == name]
        pixels = max(1, sum(one.pixels for one in those))
        spent = sum(one.seconds for one in those)
        kinds.append(Kind(name, len(those) / len(decoded), spent / pixels * 1e6))
    return tuple(sorted(kinds, key=lambda kind: -kind.share))


def _is_sound(index: ShardIndex, number: int) -> bool:
    return bool(index.columns["flags"][number] & DECODES)


def _is_cut(index: ShardIndex, number: int) -> bool:
    return index.segment_ends(number) is not None


def _share(found: Iterable[bool]) -> float:
    flags = list(found)
    return sum(flags) / len(flags) if flags else 0.0
