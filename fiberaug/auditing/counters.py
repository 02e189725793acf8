"""What the records say of each operation: how often, and with which parameters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fiberaug.auditing.asked import Leaf
from fiberaug.auditing.derived import derived
from fiberaug.auditing.limits import Limits, limits_of
from fiberaug.auditing.sketches import Sketch

__all__ = ["LeafCounter", "OperationCounters"]

_CONSTANT = frozenset({"fill", "fill_mask", "interpolation", "seed", "shape"})
_MOST_SKETCHES = 4096
_MOST_APART = 4
_NUMBERS = frozenset({int, float})
_STAGES = ("gpu.", "batch.")


class LeafCounter:
    """Counts of one operation.

    Args:
        leaf: What is asked for.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.hits = 0
        """Records that have it, of those that count."""
        self.trials = 0
        """Records that count, see :attr:`Leaf.trials`."""
        self.limits: Mapping[str, Limits] = limits_of(leaf)
        self.sketches: dict[str, Sketch] = {}
        self.strays: dict[str, tuple[float, dict[str, Any]]] = {}
        """First value of a parameter that is outside of its limits, and its record."""
        self._derives = leaf.known and "gpu" not in leaf.path

    def see(self, params: Mapping[str, Any], record: dict[str, Any], room: int) -> int:
        """Note parameters; return how many of them are new.

        Args:
            params: Of a record.
            record: That record.
            room: How many parameters more may be followed.
        """
        before = len(self.sketches)
        most, sketches = room + before, self.sketches
        for name, value in _numbers(params):
            sketch = sketches.get(name) or self._sketch(name, most)
            if sketch is not None:
                sketch.add(value)
                limits = sketch.limits
                if limits is not None and not limits.low <= value <= limits.high:
                    self._check(name, value, value, value, record)
        if self._derives:
            for name, (value, least, greatest) in derived(
                self.leaf.name, params
            ).items():
                sketch = sketches.get(name) or self._sketch(name, most)
                if sketch is not None:
                    sketch.add(value)
                    self._check(name, value, least, greatest, record)
        return len(self.sketches) - before

    def _sketch(self, name: str, most: int) -> Sketch | None:
        if len(self.sketches) >= most:
            return None
        self.sketches[name] = Sketch(self.limits.get(name))
        return self.sketches[name]

    def _check(
        self,
        name: str,
        value: float,
        least: float,
        greatest: float,
        record: dict[str, Any],
    ) -> None:
        limits = self.limits.get(name)
        if limits is not None and not _within(least, greatest, limits):
            self.strays.setdefault(name, (value, record))
            self.sketches[name].outside += 1


def _within(least: float, most: float, limits: Limits) -> bool:
    """Return whether any value of a range is allowed, but for float32's rounding."""
    slack = 1e-6 * max(1.0, abs(limits.low), abs(limits.high))
    return most >= limits.low - slack and least <= limits.high + slack


def _numbers(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of parameters: of short lists each, else the ends."""
    for key, value in params.items():
        if key in _CONSTANT:
            continue
        kind, name = type(value), above + key
        if kind is float or kind is int:
            yield name, value
        elif kind is list:
            yield from _of_list(name, value)
        elif kind is dict:
            summed = "dtype" in value and "shape" in value  # see fiberaug.params
            inner = {n: value[n] for n in ("min", "max") if n in value}
            if not above:
                yield from _numbers(inner if summed else value, f"{name}.")


def _of_list(name: str, values: list[Any]) -> Iterator[tuple[str, float]]:
    if len(values) <= _MOST_APART and _NUMBERS.issuperset(map(type, values)):
        for i, value in enumerate(values):
            yield f"{name}[{i}]", value
        return
    numbers = list(_flat(values))
    if numbers:
        yield f"{name}.min", min(numbers)
        yield f"{name}.max", max(numbers)


def _flat(values: Iterable[Any]) -> Iterator[float]:
    for value in values:
        kind = type(value)
        if kind is float or kind is int:
            yield value
        elif kind is list:
            yield from _flat(value)


class OperationCounters:
    """Counts of all operations of a run.

    Args:
        leaves: What the manifest asks for.
    """

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self.leaves = {leaf.path: LeafCounter(leaf) for leaf in leaves}
        self.strangers: dict[str, tuple[int, dict[str, Any]]] = {}
        """Records by operation that the recipe does not have, and the first of them."""
        self._vague = any(
            c.leaf.chance is None and not c.leaf.known for c in self.leaves.values()
        )
        self._records = self._units = self._paired = 0
        self._room = _MOST_SKETCHES

    def see(self, record: dict[str, Any]) -> None:
        """Count a record."""
        row = record["batch"].get("row", 0)
        self._records += 1
        self._units += not row
        self._paired += bool(row)
        seen: set[str] = set()
        for step in record["applied_transforms"]:
            counter = self._counter(step, record)
            if counter is None:
                continue
            path = counter.leaf.path
            if path not in seen:
                seen.add(path)
                kind = counter.leaf.trials
                counts = row if kind == "paired" else not row or kind == "records"
                counter.hits += bool(counts)
            self._room -= counter.see(step["params"], record, self._room)

    def _counter(
        self, step: Mapping[str, Any], record: dict[str, Any]
    ) -> LeafCounter | None:
        path, name = step["path"], step["name"]
        counter = self.leaves.get(path)
        if counter is not None and counter.leaf.name in {"", name}:
            return counter
        what = f"{path} {name}"[:120]
        counter = self.leaves.get(what)
        if counter is None and self._vague and not path.startswith(_STAGES):
            why = "it stands below an operation of which nothing is known"
            leaf = Leaf(path=path, name=name, chance=None, why=why, known=False)
            counter = self.leaves[what] = LeafCounter(leaf)
        if counter is None:
            count, first = self.strangers.get(what, (0, record))
            if len(self.strangers) < _MOST_SKETCHES or what in self.strangers:
                self.strangers[what] = count + 1, first
        return counter

    def finish(self) -> None:
        """Tell each operation how many records count for it."""
        trials = {
            "records": self._records, "units": self._units, "paired": self._paired
        }  # fmt: skip
        for counter in self.leaves.values():
            counter.trials = trials[counter.leaf.trials]
