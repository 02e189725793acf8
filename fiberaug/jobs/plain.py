"""Plain sets where shards are taken: a folder of images, COCO, VOC, YOLO, a table, ...

The set is listed as a conversion lists it and cut into virtual shards, whose samples
are made when they are read. All that holds for shards holds for these: an exact order,
a length, resuming, workers, subsets, records. What they lack, and a conversion gives,
is said in one line when a set is opened.
"""

import logging
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.cachefolder import make_folder, make_private
from fiberaug.shards.manifest import FILE, MARK, Row, fingerprint
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.resolve import SIDE_CAR, ShardSet, resolve

if TYPE_CHECKING:
    from fiberaug.jobs.items import Source
    from fiberaug.jobs.plain_index import Known

__all__ = ["is_plain", "resolve_any"]

_log = logging.getLogger("fiberaug")
_VIRTUAL = re.compile(r"(.+)[/\\](plain-[0-9]{6,}\.shard)")
_TARS = (".tar", ".tgz", ".gz", ".xz", ".zst")
_told: set[Path] = set()  # sets of which the line was said in this process


class _Asked(NamedTuple):
    """A plain set that somebody names."""

    place: str
    """Folder or file, as given."""

    names: tuple[str, ...] = ()
    """Its shards that are wanted; empty: all."""


def is_plain(shards: object) -> bool:
    """Return whether a description of shards names a plain set, or shards of one."""
    return _asked(shards) is not None


def resolve_any(
    shards: object,
    *,
    index_dir: str | Path | None = None,
    cache: ShardCache | None = None,
    allow_pipe: bool = False,
    skip: bool = False,
) -> ShardSet:
    """Return the shards that the user describes, also those of a plain set.

    Args:
        shards: See :func:`fiberaug.shards.resolve.resolve`; or a folder without shards
            or a file that ``fiberaug convert`` takes; or the places of such a set's
            virtual shards, as a run notes them.
        index_dir: Folder of the side-cars, also of a plain set. None: beside the
            shards; the cache for a plain set.
        cache: Its folder keeps the indexes of plain sets.
        allow_pipe: See there.
        skip: See there.

    Raises:
        UsageError: See there; or the plain set can be understood in two ways, or has a
            photo whose annotations are in a frame that nothing tells.
        DataRefused: See there; or what a plain set says contradicts itself.
        StoreError: See there; or a plain set or its index cannot be read or written.
        SecurityRefused: See there.
        ShardDamaged: See there.
    """
    asked = _asked(shards)
    if asked is None:
        return resolve(
            shards, index_dir=index_dir, cache=cache, allow_pipe=allow_pipe, skip=skip
        )
    from fiberaug.jobs.plain_index import find_index  # noqa: PLC0415  # tar shards need no source

    source = _listed(asked.place)
    folder = _own_folder(cache) if index_dir is None else Path(index_dir).absolute()
    known = find_index(source, folder)
    _tell(asked.place, source, known)
    return _set(asked, source, known)


def _asked(shards: object) -> _Asked | None:
    """Return the plain set that a description names, or None."""
    if isinstance(shards, str | Path):
        shards = [shards]
    if not isinstance(shards, list | tuple) or not shards:
        return None
    if not all(isinstance(one, str | Path) for one in shards):
        return None
    texts = [str(one).removeprefix("file://") for one in shards]
    if len(texts) == 1 and _is_plain(texts[0]):
        return _Asked(texts[0])
    matches = [_VIRTUAL.fullmatch(text) for text in texts]
    found = [match for match in matches if match is not None]
    homes = {match[1] for match in found}
    if len(found) < len(texts) or len(homes) > 1 or _is_there(texts):
        return None
    (home,) = homes
    if os.path.isdir(home) and not _is_plain(home):  # noqa: PTH112  # as in _is_plain
        return None
    return _Asked(home, tuple(match[2] for match in found))


def _is_there(paths: Iterable[str]) -> bool:
    return any(map(os.path.lexists, paths))


def _is_plain(text: str) -> bool:
    """Return whether a path holds no shards, but may hold images."""
    if not text or "\0" in text:
        return False
    if os.path.isdir(text):  # noqa: PTH112  # Path.is_dir raises where a name is too long
        try:
            names = os.listdir(text)  # noqa: PTH208  # as above
        except OSError:
            return False
        return not any(name.endswith(".tar") or name in {FILE, MARK} for name in names)
    if not os.path.isfile(text) or text.endswith(_TARS):  # noqa: PTH113  # as above
        return False
    return bool(_kinds(Path(text)))


def _kinds(path: Path) -> list[str]:
    from fiberaug.jobs.sources.finding import KINDS  # noqa: PLC0415  # tar shards need no source

    return [
        name for name, kind in KINDS.items() if name != "shards" and kind.looks(path)
    ]


def _kind(path: Path) -> str:
    """Return how a set is read: Pascal VOC's own folders of masks are read with it."""
    return "voc" if _kinds(path) == ["voc", "masks"] else "auto"


def _listed(place: str) -> "Source":
    """Return a plain set, listed as a conversion lists it."""
    from fiberaug.jobs.sources.files import EXTENSIONS, walk  # noqa: PLC0415  # tar shards need no source
    from fiberaug.jobs.sources.finding import find_source  # noqa: PLC0415  # as above

    path = Path(place).absolute()
    if not os.path.lexists(path):
        raise StoreError(f"{place} is gone, or was moved")
    try:
        source = find_source(path, _kind(path))
    except UsageError as error:
        raise UsageError(
            f"{error.message}; `fiberaug convert {shlex.quote(place)} DST` can be told"
        ) from error
    except DataRefused:
        if path.is_dir() and next(walk(path, []), None) is None:
            raise UsageError(
                f"{place!r} has no .tar file and no image"
                f" ({', '.join(sorted(EXTENSIONS))}); give a folder that `fiberaug"
                " convert` wrote, or one of images"
            ) from None
        raise
    return replace(source, root=os.path.abspath(source.root))  # noqa: PTH100  # Path.absolute keeps ".."


def _own_folder(cache: ShardCache | None) -> Path:
    """Return where this user's indexes of plain sets are kept."""
    root = (cache or ShardCache()).root
    make_folder(root)
    for folder in (root / "fiberaug-1", root / "fiberaug-1" / "plain"):
        make_private(folder)
    return root / "fiberaug-1" / "plain"


def _set(asked: _Asked, source: "Source", known: "Known") -> ShardSet:
    from fiberaug.jobs.plain_shard import PlainSource  # noqa: PLC0415  # as above

    opener = PlainSource(
        kind=source.kind, root=source.root, reader=source.reader, home=str(known.home)
    )
    entries = {entry.name: entry for entry in known.manifest.shards}
    missing = [name for name in asked.names if name not in entries]
    if missing:
        raise StoreError(
            f"{asked.place} has no {missing[0]} now: it has {len(entries)} virtual"
            " shards; the set was changed"
        )
    chosen = [entries[name] for name in asked.names or entries]
    refs = tuple(
        ShardRef(
            path=os.path.join(asked.place, entry.name),  # noqa: PTH118  # as given
            index=str(known.home / (entry.name + SIDE_CAR)),
            samples=entry.samples, digest=entry.index_crc32, bytes=entry.bytes,
            opener=opener,
        )
        for entry in chosen
    )  # fmt: skip
    rows: list[Row] = [(e.name, e.bytes, e.samples, e.index_crc32) for e in chosen]
    return ShardSet(refs=refs, manifest=known.manifest, fingerprint=fingerprint(rows))


def _tell(place: str, source: "Source", known: "Known") -> None:
    """Say once what was found, and what shards would be better at."""
    if known.home in _told:
        return
    _told.add(known.home)
    broken = known.manifest.producer.get("broken", 0)
    first = "".join(known.manifest.producer.get("first_broken", ()))
    trouble = f"; {broken} cannot be read, the first {first}" if broken else ""
    _log.warning(
        "%s: plain %s, %s%s; `fiberaug convert %s DST` gains sequential reads, a"
        " checksum of every byte, no files to open for each sample, and an index that"
        " goes with the data",
        place, source.kind, source.said, trouble, shlex.quote(place),
    )  # fmt: skip
