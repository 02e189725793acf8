"""The index of a plain set: made once from headers, kept, and used until files change.

Each set has a folder named by a digest of its listing and of when its files were
changed. In it lie, for each virtual shard, the side-car of a tar shard and a file of
rows, and last ``dataset.json``. It gets its name when it is whole; until then it has a
hidden one, where an indexing that was interrupted goes on.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fiberaug.bars import ProgressBar
from fiberaug.errors import DataRefused, FiberAugError, ShardDamaged, StoreError
from fiberaug.files import write_atomically
from fiberaug.jobs.items import Source
from fiberaug.jobs.plain_looking import WITH_SIDE_FILES, Looked, look_at, side_files
from fiberaug.jobs.plain_rows import PlainRow, PlainRows, pack_rows
from fiberaug.jobs.plain_shard import ROWS, changed_ns, place_of
from fiberaug.shards.index import IndexBuilder, ShardIndex
from fiberaug.shards.manifest import FILE, Manifest, ShardEntry
from fiberaug.shards.resolve import SIDE_CAR

__all__ = ["NAME", "SAMPLES", "Known", "find_index"]

_log = logging.getLogger("fiberaug")
_FORMAT = 1  # of the index: raised when the same files give another one
SAMPLES = 4096
"""Samples of a virtual shard."""

NAME = "plain-{:06d}.shard"
"""File name of a virtual shard; there is no such file."""

_IMAGE = "jpg;png;webp;bmp;tif;gif;ppm"  # as conversions name it
_KEPT_S = 30 * 86_400.0  # an index that nobody has used for so long is removed
_THREADS = 8
_SAY_AFTER_S = 5.0
# Their other versions may write the same mask or HEIC as other bytes.
_ENCODERS = ("fiberaug", "numpy", "pillow", "pillow-heif")


class Known(NamedTuple):
    """A set that has an index."""

    home: Path
    """Folder of the index."""

    manifest: Manifest
    """Its shards, classes and fields, as ``dataset.json`` of a conversion has them."""


def find_index(source: Source, folder: Path, *, progress: bool = True) -> Known:
    """Return the index of a plain set, made where there is none for these very files.

    Args:
        source: The set, as it lies there now.
        folder: Where indexes are kept.
        progress: Show a bar on a terminal where it takes more than a second.

    Raises:
        UsageError: Nothing tells the frame of a photo's annotations.
        DataRefused: A key stands twice.
        StoreError: The folder cannot be written, or the set is gone.
    """
    changed = np.fromiter(
        (changed_ns(place_of(source.root, item)) for item in source.items),
        np.int64, len(source.items),
    )  # fmt: skip
    home = folder / f"plain-{_digest(source, changed)}"
    known = _read(home)
    if known is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(home):
                known = _read(home) or _make(source, changed, home, progress=progress)
        except OSError as error:
            if isinstance(error, FiberAugError):
                raise
            raise StoreError(
                f"cannot write the index of {source.root} into {folder}:"
                f" {error.strerror or error}; give another cache_dir or index_dir"
            ) from error
        _sweep(folder)
    with suppress(OSError):  # of another user, or read-only: it is used all the same
        os.utime(home)
    return known


def _digest(source: Source, changed: NDArray[np.int64]) -> str:
    """Return a hash of what was listed, and of the state of its files."""
    total = blake2b(digest_size=16)
    packages = [(name, _version(name)) for name in _ENCODERS]
    told = (_FORMAT, SAMPLES, source.kind, source.digest(), packages, cv2.__version__)
    total.update(repr(told).encode() + changed.astype("<i8").tobytes())
    for item in source.items if source.kind in WITH_SIDE_FILES else ():
        for place in side_files(source.kind, item):
            total.update(b"%d," % changed_ns(os.path.join(source.root, place)))  # noqa: PTH118  # as in place_of
    return total.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _read(home: Path) -> Known | None:
    """Return an index that is whole, or None."""
    try:
        manifest = Manifest.read(home)
    except (DataRefused, StoreError):
        return None
    files = (home / (e.name + end) for e in manifest.shards for end in (SIDE_CAR, ROWS))
    return Known(home, manifest) if all(map(Path.is_file, files)) else None


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock of an index: the ranks of a machine make it once."""
    lock = FileLock(home.with_name(f".{home.name}.lock"))
    try:
        lock.acquire(timeout=_SAY_AFTER_S)
    except Timeout:
        _log.info("waiting for another process that indexes the same plain set")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(
    source: Source, changed: NDArray[np.int64], home: Path, *, progress: bool
) -> Known:
    """Make the index; the lock is held."""
    source.items.check_keys()
    part = home.with_name(f".{home.name}.part")
    part.mkdir(exist_ok=True)
    order = source.items.shuffled(0)  # as a conversion: sorted by class trains badly
    entries: list[ShardEntry] = []
    broken: list[str] = []
    bar = ProgressBar(
        total=len(order), unit="img", desc="index", delay=1, leave=False,
        disable=None if progress else True,
    )  # fmt: skip
    with bar, ThreadPoolExecutor(_THREADS, "fiberaug-index") as pool:
        for begin in range(0, len(order), SAMPLES):
            shard = _Shard(source, changed, order[begin : begin + SAMPLES])
            name = NAME.format(len(entries))
            entry, reasons = _finished(part, name), list[str]()
            if entry is None:
                entry, reasons = shard.write(part, name, pool, bar)
            entries.append(entry)
            broken += reasons
    manifest = _described(source, entries, broken)
    write_atomically(part / FILE, manifest.to_bytes())
    if home.exists():  # damaged
        shutil.rmtree(home)
    part.replace(home)
    return Known(home, manifest)


class _Shard(NamedTuple):
    """A virtual shard that is being indexed."""

    source: Source
    changed: NDArray[np.int64]
    numbers: NDArray[np.int64]
    """Rows of the source, in the shard's order."""

    def write(
        self,
        folder: Path,
        name: str,
        pool: ThreadPoolExecutor,
        bar: Any,  # noqa: ANN401  # a ProgressBar
    ) -> tuple[ShardEntry, list[str]]:
        """Write its two files; return its entry and why samples cannot be read."""
        builder, rows, reasons = IndexBuilder(name), list[PlainRow](), list[str]()
        items = [self.source.items[number] for number in self.numbers.tolist()]
        look = partial(look_at, self.source)
        size = 0
        found: Iterator[Looked] = pool.map(look, items)
        for number, item, one in zip(self.numbers.tolist(), items, found, strict=True):
            builder.add(item.key, one.fields, one.facts)
            size += sum(field.size for field in one.fields)
            rows.append(
                PlainRow(item, number, int(self.changed[number]), not one.trouble)
            )
            if one.trouble:
                reasons.append(one.trouble)
            bar.update()
        index = builder.finish(shard_bytes=size, checksums=True)
        write_atomically(folder / (name + ROWS), pack_rows(rows))
        write_atomically(folder / (name + SIDE_CAR), index.to_bytes())
        return _entry(folder, name), reasons


def _finished(folder: Path, name: str) -> ShardEntry | None:
    """Return the entry of a shard that was indexed before this was interrupted.

    One with broken samples is indexed again: it is not noted what is wrong with them.
    """
    try:
        entry = _entry(folder, name)
        rows = PlainRows(folder / (name + ROWS), entry.samples, shard=name)
    except (ShardDamaged, StoreError):
        return None
    return entry if rows.all_sound else None


def _entry(folder: Path, name: str) -> ShardEntry:
    index = ShardIndex.open(folder / (name + SIDE_CAR), shard=name)
    labels, counts = np.unique(index.columns["label"], return_counts=True)
    pairs = zip(labels.tolist(), counts.tolist(), strict=True)
    return ShardEntry(
        name=name, bytes=index.shard_bytes, samples=len(index), sha256="",
        index_crc32=index.digest or "",
        counts={str(label): count for label, count in pairs if label >= 0},
    )  # fmt: skip


def _described(
    source: Source, entries: list[ShardEntry], broken: list[str]
) -> Manifest:
    totals: dict[str, int] = {}
    for entry in entries:
        for label, count in entry.counts.items():
            known = int(label) < len(source.classes)
            name = source.classes[int(label)] if known else label
            totals[name] = totals.get(name, 0) + count
    return Manifest(
        shards=tuple(entries),
        classes=source.classes,
        counts=totals,
        fields={"image": _IMAGE, **source.fields},
        about=source.about,
        producer={
            "program": "fiberaug", "version": version("fiberaug"),
            "plain": source.kind, "broken": len(broken), "first_broken": broken[:1],
        },
    )  # fmt: skip


def _sweep(folder: Path) -> None:
    """Remove indexes that nobody has used for a long time, and what was left of any."""
    for path in [*folder.glob("plain-*"), *folder.glob(".plain-*.part")]:
        try:
            if time.time() - path.stat().st_mtime < _KEPT_S:
                continue
        except OSError:
            continue  # another process was first
        shutil.rmtree(path, ignore_errors=True)
