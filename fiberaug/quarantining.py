"""What a run could not make: listed, taken out of the shards, tried again."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.options import parse_decode
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError
from fiberaug.jobs.plain import resolve_any
from fiberaug.runlog import QUARANTINE, read_manifest
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.shards.resolve import expand

__all__ = ["Entry", "Quarantine", "read_quarantine"]

_log = logging.getLogger("fiberaug")
_FIELDS = ("shard", "key", "stage", "reason", "offset", "epoch", "samples")


class Entry(NamedTuple):
    """A sample that could not be made, or a shard that could not be read."""

    shard: str
    key: str | None
    """None: the whole shard."""

    stage: str | None
    reason: str
    """Of the last time."""

    offset: int | None
    """Byte in the shard."""

    times: int
    """How often it was met."""

    epochs: list[int]
    samples: int | None
    """Samples that are lost; None: not known."""


def read_quarantine(folder: str | Path) -> list[Entry]:
    """Return what a run could not make, by shard and key, in the order of its log.

    A line that a kill or a full disk cut is left out with a warning in the log.

    Raises:
        StoreError: The folder does not exist, or its log cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{folder} is no run folder")
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for line in _lines(folder / QUARANTINE):
        found.setdefault((line["shard"], line["key"]), []).append(line)
    return [
        Entry(
            shard, key, lines[-1]["stage"], lines[-1]["reason"], lines[-1]["offset"],
            len(lines), sorted({line["epoch"] for line in lines}),
            lines[-1].get("samples", 1),
        )
        for (shard, key), lines in found.items()
    ]  # fmt: skip


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            {name: data[name] for name in _FIELDS[:-1]}
        except (ValueError, RecursionError, KeyError, TypeError):
            _log.warning("%s: line %d is cut, it is left out", path, number)
        else:
            yield data


class Quarantine:
    """The shards of a run, as they are now; opened one by one, as some may be gone.

    Args:
        folder: The run folder.
        shards: Where the shards are now. None: where they were.

    Raises:
        StoreError: The folder has no manifest.
    """

    def __init__(self, folder: str | Path, *, shards: str | None = None) -> None:
        manifest = read_manifest(folder)
        names = manifest["shards"] if shards is None else _places(shards)
        self._places = {ShardRef(path=name).name: name for name in names}
        self._index_dir = manifest["index_dir"] if shards is None else None
        options = dict(manifest["recipe"]["decode"])
        options.pop("decoder", None)
        self._decoder = SampleDecoder(
            specs=parse_fields(manifest["fields"]),
            classes={name: i for i, name in enumerate(manifest["classes"])},
            options=parse_decode(options),
            decoders={},
            kinds={},
        )

    def retry(self, entry: Entry) -> str | None:
        """Return why a sample or shard still cannot be read and decoded, or None.

        Decoders of the user's own are not known here.
        """
        try:
            file = self._open(entry.shard, verify=True)
            file.read(0)
            if entry.key is not None:
                self._decoder(file.read(_index(file, entry)))
        except FiberAugError as error:
            return f"{type(error).__name__}: {error.message}"
        return None

    def extract(self, entry: Entry, folder: Path) -> list[Path]:
        """Write the members of a sample as they are; return the files.

        Checksums are not checked: that is what there is to look at. Names are made of
        the shard's and the sample's, with what is unsafe escaped, so that nothing is
        written outside of ``folder`` and nothing that is there is followed or replaced.

        Raises:
            DataRefused: The shard cannot be read, or has no such sample.
            StoreError: A file cannot be written.
        """
        if entry.key is None:
            return []
        file = self._open(entry.shard, verify=False)
        home = folder / _safe(entry.shard)
        written = []
        for extension, content in file.read(_index(file, entry)).items():
            path = home / f"{_safe(entry.key)}.{_safe(extension)}"
            _write(path, content)
            written.append(path)
        return written

    def _open(self, shard: str, *, verify: bool) -> ShardFile:
        if shard not in self._places:
            raise DataRefused("the run has no such shard", shard=shard)
        found = resolve_any(
            [self._places[shard]], index_dir=self._index_dir, allow_pipe=True
        )
        return open_shard(found.refs[0], found.cache, verify=verify)


def _places(shards: str) -> list[str]:
    """Return the shards of a folder or pattern, whether they are whole or not."""
    try:
        return [str(path) for path in expand(shards)]
    except UsageError:
        return [ref.path for ref in resolve_any(shards).refs]


def _index(file: ShardFile, entry: Entry) -> int:
    index = file.index.find(entry.key or "")
    if index is None:
        raise DataRefused(
            "the shard has no such sample now", shard=entry.shard, key=entry.key
        )
    return index


def _safe(name: str) -> str:
    """Return a name that is one part of a path, and no special one.

    >>> _safe("../cat/017"), _safe("..")
    ('..%2Fcat%2F017', '%2E%2E')
    """
    text = quote(name, safe=" ._-+=@,()", errors="replace")[:200]
    return text.replace(".", "%2E") if set(text) <= {"."} else text


def _write(path: Path, content: memoryview) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    if path.parent.is_symlink():
        raise StoreError(f"{path.parent} is a link; give an empty folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, flags, 0o644), "wb") as file:  # noqa: PTH123  # of a descriptor
            file.write(content)
    except FileExistsError:
        raise StoreError(f"{path} exists; give an empty folder") from None
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
