"""Shards of a local set made seekable in place, so that a killed run goes on."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.jobs.converting import Bar
from fiberaug.jobs.crew import run_jobs
from fiberaug.jobs.job import available_cores
from fiberaug.jobs.restarting import check_tool
from fiberaug.jobs.seekable_shard import ShardNote, make_shard_seekable
from fiberaug.shards.index import read_head
from fiberaug.shards.manifest import FILE, SEEKING, Manifest, ShardEntry
from fiberaug.shards.resolve import SIDE_CAR, expand

__all__ = ["MadeSeekable", "make_seekable"]

_ENDED_S = 10.0


class MadeSeekable(NamedTuple):
    """What became of a set."""

    shards: int
    marked: int
    """JPEGs that got restart markers."""

    already: int
    """JPEGs that had them."""

    left: list[dict[str, str]]
    """JPEGs that stay as they were: shard, member and reason."""

    bytes_before: int
    """Of all shards."""

    bytes_after: int


def make_seekable(
    shards: object, *, workers: int | None = None, progress: bool = True
) -> MadeSeekable:
    """Give the JPEGs of a local set restart markers, in place and without loss.

    Each shard is written beside the old one, every new photo decoded and compared with
    the old one, and then renamed; its index keeps what it says, and learns the offsets
    of the segments. ``dataset.json`` is written last. Order, keys and pixels stay; the
    fingerprint of the set changes, since bytes do. A call that was interrupted, however
    it ended, goes on where it was when it is made again; until then the set is refused.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them, all local.
        workers: Processes. None: one for each core.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: A shard is remote, nothing here can write restart markers, or
            another process is at work on the set.
        ShardDamaged: A shard is broken, or its index does not fit.
        StoreError: A shard cannot be read or written, or the disk is full.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be >= 1, got {workers}")
    check_tool()
    paths = expand(shards)
    homes = sorted({path.parent for path in paths})
    with ExitStack() as stack:
        for home in homes:
            stack.callback(_begun(home).release)
        notes = _run(paths, workers or available_cores(), progress=progress)
        for home in homes:
            here = [
                note
                for path, note in zip(paths, notes, strict=True)
                if path.parent == home
            ]
            _end(home, here)
    return MadeSeekable(
        shards=len(notes),
        marked=sum(note.marked for note in notes),
        already=sum(note.already for note in notes),
        left=[one for note in notes for one in note.left],
        bytes_before=sum(note.bytes_before for note in notes),
        bytes_after=sum(note.bytes_after for note in notes),
    )


def _begun(home: Path) -> FileLock:
    """Mark a folder as unfinished and return the lock that says who is at work."""
    folder = home / SEEKING
    try:
        shutil.rmtree(_done(home), ignore_errors=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    # Workers of a run that was killed hold it until they see that they are alone.
    lock = FileLock(folder / "lock", timeout=_ENDED_S)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"another process makes {home} seekable just now") from None
    return lock


def _run(paths: Sequence[Path], workers: int, *, progress: bool) -> list[ShardNote]:
    side_cars = [path.with_name(path.name + SIDE_CAR) for path in paths]
    there = [one for one in side_cars if one.is_file()]
    total = sum(read_head(one, shard=one.name).samples for one in there)
    with Bar(total, "seekable", shown=progress) as bar:
        jobs = ((path,) for path in paths)
        workers = min(workers, len(paths))
        running = run_jobs(make_shard_seekable, jobs, workers=workers, told=bar.told)
        with closing(running) as results:
            return list(results)


def _end(home: Path, notes: Sequence[ShardNote]) -> None:
    """Write ``dataset.json`` and take the mark away."""
    if (home / FILE).is_file():
        new = {note.name: note for note in notes}
        manifest = Manifest.read(home)
        entries = (_entry(entry, new.get(entry.name)) for entry in manifest.shards)
        changed = replace(manifest, shards=tuple(entries))
        if changed != manifest:
            write_atomically(home / SEEKING / FILE, changed.to_bytes())
            (home / SEEKING / FILE).replace(home / FILE)
    # One step: a folder of notes that is half removed would be taken for begun.
    (home / SEEKING).rename(_done(home))
    shutil.rmtree(_done(home), ignore_errors=True)


def _entry(entry: ShardEntry, note: ShardNote | None) -> ShardEntry:
    if note is None:
        return entry
    return replace(
        entry, bytes=note.bytes_after, sha256=note.sha256 or entry.sha256,
        index_crc32=note.index_crc32 or entry.index_crc32,
    )  # fmt: skip


def _done(home: Path) -> Path:
    return home / f"{SEEKING}.done"
