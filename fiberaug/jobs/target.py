"""The place that a conversion writes: marked while it is unfinished."""

import json
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.jobs.journal import Journal, finished
from fiberaug.jobs.stores import Store
from fiberaug.shards.manifest import FILE, MARK, Manifest, ShardEntry

__all__ = ["ERRORS", "Target", "check_free", "find_finished"]

ERRORS = "convert_errors.jsonl"
"""What was left out, one JSON object a line."""


def check_free(store: Store) -> list[str]:
    """Return what an interrupted conversion left in a place, sorted.

    Raises:
        UsageError: The place holds a data set or something else.
        StoreError: It cannot be read.
    """
    present = store.names()
    if FILE in present:
        raise _holds(store)
    foreign = [name for name in present if not name.startswith(f".{MARK}.")]
    if foreign and MARK not in foreign:
        raise UsageError(
            f"{store.place} is not empty ({foreign[0]} and {len(foreign) - 1} more);"
            " choose an empty or a new folder"
        )
    return present


def _holds(store: Store, why: str = "") -> UsageError:
    return UsageError(
        f"{store.place} already holds a data set{why}; choose another folder or remove"
        " it"
    )


def find_finished(store: Store, arguments: Mapping[str, Any]) -> Manifest | None:
    """Return the set in a place that the same conversion has written before.

    What a kill at its very end left is removed.

    Args:
        store: The place.
        arguments: What the shards depend on.

    Raises:
        UsageError: It holds another data set.
    """
    content = store.read(FILE)
    if content is None:
        return None
    manifest = Manifest.parse(content, f"{store.place}/{FILE}")
    if manifest.producer.get("arguments") != json.loads(json.dumps(dict(arguments))):
        raise _holds(store, " of another source or of other arguments")
    Journal(store).close()
    store.remove(MARK)
    return manifest


class Target:
    """The place of a new data set.

    Args:
        store: It must be empty, or what an interrupted conversion left.
        arguments: What the shards depend on, kept in ``dataset.json``.
        resume: Keep the shards that an interrupted conversion has finished; else they
            are removed, too.

    Raises:
        UsageError: The place holds something else.
        StoreError: It cannot be made.
    """

    def __init__(
        self, store: Store, arguments: Mapping[str, Any], *, resume: bool = False
    ) -> None:
        self.store, self._arguments = store, dict(arguments)
        present = check_free(store)
        store.make()
        self._journal = Journal(store)
        self._kept = finished(present) if resume else set()
        for name in present:  # the mark says that these are ours, and unfinished
            if name.removesuffix(".idx") in self._kept:
                continue
            if name.endswith((".tar", ".idx", ".part")) or name == ERRORS:
                store.remove(name)
        if not resume:
            self._journal.close()
        store.write(MARK, json.dumps(self._arguments).encode())

    def drop_others(self, names: Collection[str]) -> None:
        """Remove shards of an earlier run that are none of these."""
        for name in self._kept - set(names):
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
            raise UsageError(f"no sample was written to {self.store.place}")
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
        self.store.write(FILE, manifest.to_bytes())
        self._journal.close()
        self.store.remove(MARK)
        return manifest
