"""Delivered samples, put into a pool that grows.

Shards never change; a new run adds some. ``dataset.json`` is replaced when they are
whole, and only then are the files of the samples removed: whenever that is interrupted,
each sample is in the pool or still in its file, and one that is in both is left out.
"""

import json
import logging
from pathlib import Path

from filelock import FileLock

from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.stores import LocalStore
from fiberaug.jobs.target import check_free
from fiberaug.shards.manifest import FILE, MARK, Manifest
from fiberaug.sizes import counted
from fiberaug.synthetic.online_files import PART, read_sample
from fiberaug.synthetic.online_place import Place, Task
from fiberaug.synthetic.online_pool import (
    Added,
    describe_pool,
    describe_set,
    keys_in,
    parents_in,
)
from fiberaug.synthetic.poolfile import FILE as POOL
from fiberaug.synthetic.poolfile import differences, read_pool_file
from fiberaug.synthetic.seeds import sample_key

__all__ = ["check_pool", "collect"]

_log = logging.getLogger("fiberaug")


_Kept = tuple[int, int, Path]
"""Index, class and file of a sample."""


def collect(place: Place, task: Task) -> int:
    """Put the samples that were delivered into the pool; return their number.

    Args:
        place: The folder of the online generator.
        task: What the pool is of.

    Raises:
        UsageError: The pool's folder holds something else, or the samples are of
            another seed or other classes.
        StoreError: The disk is full or gone.
    """
    if task.keep is None:
        return 0
    with FileLock(place.root / "keep.lock"):
        kept = _kept(place)
        if not kept:
            return 0
        place.check(task, "left samples there to keep")
        pool = check_pool(place, task)
        try:
            return _add(place, task, kept, pool)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"cannot write {task.keep}: {error.strerror}") from error


def check_pool(place: Place, task: Task) -> Manifest | None:
    """Return the set that is in the pool's folder; None where there is none yet.

    Raises:
        UsageError: The folder holds something else.
        DataRefused: It is broken.
    """
    if task.keep is None:
        return None
    store = LocalStore(task.keep)
    if store.size(FILE) is None:
        check_free(store)
        return None
    there = read_pool_file(task.keep)
    if there is None:
        raise UsageError(
            f"{task.keep} holds a data set that is no pool; choose another folder"
        )
    made = place.maker.get("generator", there.generator)
    apart = differences(
        {"asked": there.asked, "generator": there.generator},
        {"asked": task.whose(), "generator": made},
    )
    if apart:
        raise UsageError(
            f"{task.keep} holds another pool: {'; '.join(apart[:5])}; choose another"
            " folder"
        )
    return Manifest.read(task.keep)


def _kept(place: Place) -> list[_Kept]:
    paths = [path for path in place.kept.glob("*/*") if path.name.isdecimal()]
    return sorted((int(path.name), int(path.parent.name), path) for path in paths)


def _add(place: Place, task: Task, kept: list[_Kept], pool: Manifest | None) -> int:
    assert task.keep is not None  # noqa: S101  # for the type
    store = LocalStore(task.keep)
    store.make()
    for path in task.keep.glob(f".*{PART}"):  # a kill while one was written
        path.unlink(missing_ok=True)
    if pool is None:
        store.write(MARK, json.dumps(task.whose()).encode())
    entries = list(pool.shards) if pool else []
    known = keys_in(task.keep, entries)
    with Added(task.keep, len(entries)) as added:
        for index, label, path in kept:
            key = sample_key(task.classes[label], index)
            members = None if key in known else read_sample(path)
            if members is not None:
                added.write(key, members)
            elif key not in known:  # the machine lost power
                place.again.mkdir(exist_ok=True)
                (place.again / f"{label}.{index}").touch()
    entries += added.entries
    if added.entries:
        if pool is not None:
            added.count(*parents_in(task.keep, pool))
        store.write(POOL, describe_pool(task, place.maker, entries, added).to_bytes())
        store.write(FILE, describe_set(task, entries).to_bytes())
    if store.size(FILE) is not None:
        store.remove(MARK)
    for _, _, path in kept:
        path.unlink(missing_ok=True)
    _log.info("%s: %s", task.keep, counted(added.samples, "sample"))
    return added.samples
