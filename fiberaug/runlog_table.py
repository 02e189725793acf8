"""Columns of a record log: one row a sample, an operation or a loss."""

import json
from array import array
from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.record import AppliedTransform, Record

__all__ = ["KINDS", "Line", "losses", "operations", "samples"]

KINDS = ("samples", "operations", "losses")
_WHOLE = (
    "index", "position", "visit", "view", "epoch", "unit", "row", "n_operations",
    "order",
)  # fmt: skip


class Line(NamedTuple):
    """One line of a log."""

    rank: int
    started_s: float
    """When the pass began that wrote the line, seconds since 1970."""

    content: Record | Mapping[str, Any]
    """A record, or a loss: ``uid``, ``epoch``, ``position``, ``loss``."""


class _Columns:
    """Columns that grow by a row, of which the last of each place can be kept."""

    def __init__(self, names: Iterable[str]) -> None:
        self.columns: dict[str, Any] = {name: _column(name) for name in names}
        self._places = array("q"), array("q"), array("q")
        self._started = array("d")
        self._place_of_row = array("q")
        self._texts: dict[str, str] = {}

    def deliver(self, started_s: float, epoch: int, position: int, view: int) -> None:
        """Begin the rows of what was delivered at a place of the run."""
        for column, value in zip(self._places, (epoch, position, view), strict=True):
            column.append(value)
        self._started.append(started_s)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; equal texts are kept once."""
        self._place_of_row.append(len(self._started) - 1)
        for name, value in row.items():
            text = isinstance(value, str)
            self.columns[name].append(
                self._texts.setdefault(value, value) if text else value
            )

    def finish(self, *, last: bool) -> dict[str, Any]:
        """Return the columns, all rows or those that were delivered last."""
        kept = None
        if last and self._started:
            kept = self._is_last()[np.array(self._place_of_row, np.int64)]
        return {name: _finished(values, kept) for name, values in self.columns.items()}

    def _is_last(self) -> NDArray[np.bool_]:
        places = np.array([np.array(p, np.int64) for p in self._places])
        started = np.array(self._started)
        order = np.lexsort((np.arange(len(started)), started, *places))
        changes = np.diff(places[:, order], axis=1).any(0)
        is_last = np.empty(len(started), np.bool_)
        is_last[order] = np.append(changes, True)  # a value, no flag
        return is_last


def _column(name: str) -> Any:  # noqa: ANN401  # array or list
    if name in _WHOLE:
        return array("q")
    return array("Q") if name == "seed" else []


def _finished(values: Any, kept: NDArray[np.bool_] | None) -> Any:  # noqa: ANN401
    if isinstance(values, array):
        numbers = np.array(values, np.int64 if values.typecode == "q" else np.uint64)
        return numbers if kept is None else numbers[kept]
    return values if kept is None else list(compress(values, kept))


def samples(lines: Iterable[Line], *, last: bool) -> dict[str, Any]:
    """Return the columns of ``RecordLog.table("samples")``."""
    names = (
        "key", "url", "index", "uid", "position", "visit", "view", "epoch", "seed",
        "origin", "unit", "row", "recipe", "environment", "replayable", "pixels",
        "height", "width", "n_operations", "operations", "loss",
    )  # fmt: skip
    columns = _Columns(names)
    loss, view = columns.columns["loss"], columns.columns["view"]
    latest: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for rank, started_s, content in lines:
        if not isinstance(content, Record):
            for row in latest.get((rank, *_identity(content)), ()):
                loss[row] = float(content["loss"])
            continue
        record = content
        place = rank, record.uid, record.epoch, record.position
        rows = latest.get(place, ())
        if any(view[row] == record.view for row in rows):
            rows = ()  # delivered anew, with a loss of its own
        latest[place] = *rows, len(loss)
        columns.deliver(started_s, record.epoch, record.position, record.view)
        height, width = [*record.decode.get("shape", ()), None, None][:2]
        steps = [step.name for step in record.applied_transforms]
        columns.add(
            {name: getattr(record, name) for name in names[:10]}
            | {name: record.batch[name] for name in ("unit", "row")}
            | {name: getattr(record, name) for name in names[12:16]}
            | {"height": height, "width": width, "n_operations": len(steps)}
            | {"operations": " > ".join(steps), "loss": None}
        )
    return columns.finish(last=last)


def _identity(loss: Mapping[str, Any]) -> tuple[str, int, int]:
    return loss["uid"], loss["epoch"], loss["position"]


def operations(
    lines: Iterable[Line], *, last: bool, name: str | None, params: bool
) -> dict[str, Any]:
    """Return the columns of ``RecordLog.table("operations")``."""
    names = ("key", "uid", "epoch", "position", "view")
    columns = _Columns((*names, "order", "path", "name", "params"))
    for _, started_s, record in lines:
        if not isinstance(record, Record):
            continue
        columns.deliver(started_s, record.epoch, record.position, record.view)
        of_sample = {field: getattr(record, field) for field in names}
        for order, step in enumerate(record.applied_transforms):
            if name is None or step.name == name:
                columns.add({**of_sample, "order": order, **_step(step)})
    table = columns.finish(last=last)
    if params or name is not None:
        table |= _parameters(table["params"])
    return table


def _step(step: AppliedTransform) -> dict[str, str]:
    return {"path": step.path, "name": step.name, "params": json.dumps(step.params)}


def _parameters(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return a column for each parameter, None where an operation has none."""
    rows = [json.loads(text) for text in texts]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        f"params.{name}": _one_type([row.get(name) for row in rows]) for name in names
    }


def _one_type(values: list[Any]) -> list[Any]:
    """Return values of one type: as they are, or all as JSON text where they mix."""
    kinds = {_kind(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return _map(float, values) if float in kinds else values
    if len(kinds) == 1 and kinds <= {bool, str}:
        return values
    if kinds == {list}:
        inner = {_kind(item) for value in values if value is not None for item in value}
        if inner <= {int, float}:
            number = float if float in inner else int
            return _map(lambda value: [number(item) for item in value], values)
    return _map(json.dumps, values)


def _kind(value: Any) -> type:  # noqa: ANN401
    is_large = type(value) is int and not -(2**63) <= value < 2**63
    return object if is_large else type(value)  # data frames hold 64 bits


def _map(function: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    return [None if value is None else function(value) for value in values]


def losses(lines: Iterable[Line], *, last: bool) -> dict[str, Any]:
    """Return the columns of ``RecordLog.table("losses")``."""
    columns = _Columns(("uid", "epoch", "position", "loss"))
    for _, started_s, loss in lines:
        if not isinstance(loss, Record):
            uid, epoch, position = _identity(loss)
            columns.deliver(started_s, epoch, position, 0)
            columns.add(
                {"uid": uid, "epoch": epoch, "position": position}
                | {"loss": float(loss["loss"])}
            )
    return columns.finish(last=last)
