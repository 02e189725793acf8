"""The folder that a conversion writes: marked while it is unfinished."""

import json
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs.journal import Journal
from fiberaug.shards.manifest import (
    FILE,
    MARK,
    Manifest,
    ShardEntry,
    write_atomically,
)

__all__ = ["ERRORS", "Target", "check_free", "finished"]

ERRORS = "convert_errors.jsonl"
"""What was left out, one JSON object a line."""


def check_free(folder: Path) -> list[str]:
    """Return what an interrupted conversion left in a folder, sorted.

    Raises:
        UsageError: The folder holds a data set or something else.
        StoreError: It cannot be read.
    """
    if (folder / FILE).exists():
        raise _holds(folder)
    try:
        present = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror}", stage="write"
        ) from error
    foreign = [name for name in present if not name.startswith(f".{MARK}.")]
    if foreign and MARK not in foreign:
        raise UsageError(
            f"{folder} is not empty ({foreign[0]} and {len(foreign) - 1} more);"
            " choose an empty or a new folder"
        )
    return present


def _holds(folder: Path, why: str = "") -> UsageError:
    return UsageError(
        f"{folder} already holds a data set{why}; choose another folder or remove it"
    )


def finished(folder: Path, arguments: Mapping[str, Any]) -> Manifest | None:
    """Return the set in a folder that the same conversion has written before.

    What a kill at its very end left is removed.

    Args:
        folder: The folder.
        arguments: What the shards depend on.

    Raises:
        UsageError: It holds another data set.
    """
    if not (folder / FILE).exists():
        return None
    manifest = Manifest.read(folder)
    if manifest.producer.get("arguments") != json.loads(json.dumps(dict(arguments))):
        raise _holds(folder, " of another source or of other arguments")
    Journal(folder).close()
    (folder / MARK).unlink(missing_ok=True)
    return manifest


class Target:
    """The folder of a new data set.

    Args:
        folder: It must not exist, be empty, or be what an interrupted conversion left.
        arguments: What the shards depend on, kept in ``dataset.json``.
        resume: Keep the shards that an interrupted conversion has finished; else they
            are removed, too.

    Raises:
        UsageError: The folder holds something else.
        StoreError: It cannot be made.
    """

    def __init__(
        self, folder: Path, arguments: Mapping[str, Any], *, resume: bool = False
    ) -> None:
        self.folder, self._arguments = folder, dict(arguments)
        present = check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot write {folder}: {error.strerror}", stage="write"
            ) from error
        self._journal = Journal(folder)
        kept = self._journal.finished() if resume else set()
        for name in present:  # the mark says that these are ours, and unfinished
            if name.removesuffix(".idx") in kept:
                continue
            if name.endswith((".tar", ".idx", ".part")) or name == ERRORS:
                (folder / name).unlink()
        if not resume:
            self._journal.close()
        write_atomically(folder / MARK, json.dumps(self._arguments).encode())

    def shard(self, number: int) -> Path:
        """Return the path of a shard."""
        return self.folder / f"shard-{number:06d}.tar"

    def drop_others(self, names: Collection[str]) -> None:
        """Remove shards of an earlier run that are none of these."""
        for name in self._journal.finished() - set(names):
            self._journal.forget(name)

    def finish(
        self,
        entries: Sequence[ShardEntry],
        classes: Sequence[str],
        fields: Mapping[str, str],
        *,
        about: Mapping[str, Any] | None = None,
        splits: Mapping[str, Sequence[str]] | None = None,
    ) -> Manifest:
        """Write ``dataset.json`` and take the mark away.

        Raises:
            UsageError: There is no shard.
        """
        if not entries:
            raise UsageError(f"no sample was written to {self.folder}")
        totals: dict[str, int] = {}
        for entry in entries:
            for label, count in entry.counts.items():
                name = classes[int(label)] if int(label) < len(classes) else label
                totals[name] = totals.get(name, 0) + count
        order = {name: i for i, name in enumerate(classes)}
        manifest = Manifest(
            shards=tuple(entries),
            classes=tuple(classes),
            counts=dict(
                sorted(totals.items(), key=lambda item: order.get(item[0], len(order)))
            ),
            fields=dict(fields),
            about=dict(about or {}),
            splits={part: list(names) for part, names in (splits or {}).items()},
            producer={
                "program": "fiberaug",
                "version": version("fiberaug"),
                "arguments": self._arguments,
            },
        )
        write_atomically(self.folder / FILE, manifest.to_bytes())
        self._journal.close()
        (self.folder / MARK).unlink()
        return manifest
