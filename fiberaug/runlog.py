"""The run folder: records, quarantine and manifest of a training run.

``records-<rank>.jsonl.zst`` holds one JSON record a line, ``quarantine.jsonl`` one
broken sample a line, ``manifest.json`` what stands for the whole run once. What was
delivered before a process was killed can be read: every batch is a frame of its own.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from fiberaug import runlog_table
from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.making import Failure
from fiberaug.params import encode
from fiberaug.record import Record
from fiberaug.runlog_frames import mend, pack_lines, read_lines
from fiberaug.runlog_table import KINDS, Line

__all__ = ["MANIFEST", "QUARANTINE", "RecordLog", "read_manifest"]

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
_log = logging.getLogger("fiberaug")
_NAME = re.compile(r"records-(\d+)\.jsonl\.zst")


class RecordLog:
    """Writes and reads the records of a run.

    What :meth:`write` and :meth:`attach` were given is readable when they return, also
    by another process and after a kill, and a batch whose write was cut is left out
    whole; a crash of the machine can take the last seconds. One line is one JSON
    object: a record (``"v": 1``), a loss (``loss``), or the begin of a pass
    (``started_s``, seconds since 1970).

    Args:
        folder: The run folder; made when the first record is written.
        rank: This process's rank; each writes a file of its own.
        skip_damaged: Leave out a damaged batch with a warning in the log and read on.
            By default reading ends there with an error.

    >>> log = RecordLog("runs/none")
    >>> list(log)
    []
    """

    def __init__(
        self, folder: str | Path, *, rank: int = 0, skip_damaged: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"records-{rank}.jsonl.zst"
        self.skip_damaged = skip_damaged
        self._file: BinaryIO | None = None

    def of_rank(self, rank: int) -> None:
        """Write the file of ``rank``, which may be known only when a pass begins."""
        path = self.folder / f"records-{rank}.jsonl.zst"
        if path != self.path:
            self.close()
            self.path = path

    def start(self, manifest: Mapping[str, Any]) -> None:
        """Open the log, write the run's manifest and the begin of a pass.

        Raises:
            StoreError: The folder cannot be written.
        """
        self._open()
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_atomically(self.folder / MANIFEST, text.encode())
        self._append([json.dumps({"started_s": time.time()})])

    def _open(self) -> BinaryIO:
        self.close()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            mend(self.path)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._failed(error) from error
        return self._file

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write {self.path}: {error.strerror or error}")

    def write(self, records: Iterable[Record | str]) -> None:
        """Append records, or their JSON, and hand them to the operating system.

        Raises:
            StoreError: The disk is full or gone; none of them is written.
        """
        self._append(r if isinstance(r, str) else r.to_json() for r in records)

    def attach(self, batch: Mapping[str, Any], loss: Any) -> None:  # noqa: ANN401
        """Append a loss for each sample of a batch, which all its views share.

        Args:
            batch: A batch of the loader with ``record``, as records or as text.
            loss: Tensor, array or list [B]; padding rows are left out.

        Raises:
            UsageError: The batch has no records, or ``loss`` is not one number a row.
            StoreError: See :meth:`write`.
        """
        if "record" not in batch:
            raise UsageError(
                "attach() takes a batch with the field 'record'; give the loader"
                " record='packed' or 'text' and no output="
            )
        values = loss.tolist() if hasattr(loss, "tolist") else loss
        rows = len(batch["record"])
        if not isinstance(values, list | tuple) or len(values) != rows:
            raise UsageError(
                f"loss must have one number for each of {rows} rows, got {loss!r:.200};"
                " take it before the mean, such as with reduction='none'"
            )
        try:
            numbers = [float(value) for value in values]
        except (TypeError, ValueError) as error:
            raise UsageError(f"loss must be numbers [B]: {error}") from error
        pads = batch["is_pad"].tolist() if "is_pad" in batch else [False] * rows
        self._append(
            json.dumps({**_identity(record), "loss": encode(number)})
            for record, number, pad in zip(batch["record"], numbers, pads, strict=True)
            if not pad
        )

    def quarantine(self, failures: Iterable[Failure]) -> None:
        """Append broken samples and damaged shards to ``quarantine.jsonl``.

        Raises:
            StoreError: The file cannot be written.
        """
        text = "".join(
            json.dumps({**f._asdict(), "uid": f"{f.uid:016x}"}) + "\n" for f in failures
        )
        if not text:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / QUARANTINE).open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    # A line that a full disk cut stays alone.
                    text = text if file.read(1) == b"\n" else "\n" + text
                file.write(text.encode())
        except OSError as error:
            raise StoreError(
                f"cannot write {self.folder / QUARANTINE}: {error.strerror}"
            ) from error

    def _append(self, lines: Iterable[str]) -> None:
        text = "".join(line + "\n" for line in lines)
        if not text:
            return
        file = self._file if self._file is not None else self._open()
        rest = memoryview(pack_lines(text))
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            self.close()  # the next write cuts off what was written of this one
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self.close()

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records: rank after rank, each in the order of writing.

        It is a stream: memory does not grow with the log. A run that was resumed
        delivered some positions twice: both lines are there, and ``table(last=True)``
        keeps the later ones. What a kill cut is left out.

        Raises:
            DataRefused: A file is damaged, or holds a line that is no record; with the
                byte at which its frame begins. Records before it were given, those
                behind it are with ``skip_damaged=True``.
        """
        for line in self._lines():
            if isinstance(line.content, Record):
                yield line.content

    def table(
        self,
        kind: str = "samples",
        *,
        name: str | None = None,
        params: bool = False,
        last: bool = False,
    ) -> dict[str, Any]:
        """Return the log as columns, for ``pandas.DataFrame`` and its like.

        ``polars.DataFrame`` and ``pyarrow.table`` take it, too. Whole numbers are int64
        arrays (``seed`` uint64), all else lists, with None where there is no value.

        ``samples``, a row a record: ``key``, ``url``, ``index``, ``uid``, ``position``,
        ``visit``, ``view``, ``epoch``, ``seed``, ``origin``, ``unit``, ``row``,
        ``recipe``, ``environment``, ``replayable``, ``pixels``, ``height`` and
        ``width`` of the decoded image in px, ``n_operations``, ``operations`` such as
        ``"RandomResizedCrop > HorizontalFlip"``, ``loss`` where one was attached.

        ``operations``, a row an applied operation: ``key``, ``uid``, ``epoch``,
        ``position``, ``view``, ``order`` from 0, ``path``, ``name``, ``params`` as JSON
        text, and where asked for a column ``params.<parameter>`` for each parameter:
        numbers, texts, truth values and lists of numbers as they are, all else, and
        what is not of one type, as JSON text.

        ``losses``, a row an attached loss: ``uid``, ``epoch``, ``position``, ``loss``.

        Args:
            kind: ``samples``, ``operations`` or ``losses``.
            name: Only operations of this name, and a column for each parameter.
            params: A column for each parameter of all operations.
            last: Of rows with the same epoch, position and view only those of the pass
                that began last, and there the later one. Use it for a run that was
                resumed, also with another number of ranks.

        Raises:
            UsageError: ``kind`` is not known, or does not go with ``name`` or
                ``params``.
            DataRefused: See :meth:`__iter__`.
        """
        if kind not in KINDS:
            raise UsageError(f"kind must be one of {KINDS}, got {kind!r}")
        if kind != "operations" and (name is not None or params):
            raise UsageError(f"name and params go with 'operations', not {kind!r}")
        lines = self._lines()
        if kind == "operations":
            return runlog_table.operations(lines, last=last, name=name, params=params)
        rows = runlog_table.samples if kind == "samples" else runlog_table.losses
        return rows(lines, last=last)

    def _lines(self) -> Iterator[Line]:
        names = [p.name for p in self.folder.iterdir()] if self.folder.is_dir() else []
        ranks = [int(found[1]) for found in map(_NAME.fullmatch, names) if found]
        for rank in sorted(ranks):
            path = self.folder / f"records-{rank}.jsonl.zst"
            started_s = 0.0
            for offset, text in read_lines(path, skip_damaged=self.skip_damaged):
                try:
                    content = _content(text)
                except (ValueError, RecursionError) as error:
                    refused = DataRefused(
                        f"{path} holds a line that is no record: {error}", offset=offset
                    )
                    if not self.skip_damaged:
                        raise refused from error
                    _log.warning("left out: %s", refused)
                    continue
                if isinstance(content, Record) or "loss" in content:
                    yield Line(rank, started_s, content)
                else:
                    started_s = content.get("started_s", started_s)


def _content(text: bytes) -> Record | dict[str, Any]:
    """Return the record of a line, or what else it holds."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise UsageError(f"a line is an object, got {type(data).__name__}")
    return Record.from_dict(data) if "v" in data else data


def _identity(record: Any) -> dict[str, Any]:  # noqa: ANN401  # see attach()
    """Return what a loss is joined by, of a record, its JSON or the list of views."""
    if isinstance(record, list | tuple):
        record = record[0]
    if isinstance(record, str):
        record = Record.from_json(record)
    return {name: getattr(record, name) for name in ("uid", "epoch", "position")}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a run.

    Raises:
        StoreError: The folder has none.
    """
    path = Path(folder) / MANIFEST
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} is no run folder: cannot read {path.name}: {error}"
        ) from error
