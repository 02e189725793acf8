"""Whether a pass has every sample once, with the label that the shards say."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fiberaug.checkup.findings import Finding, named, note, ok, problem
from fiberaug.parity.ours import Ours
from fiberaug.parity.rows import Row

__all__ = ["Identity"]

_MOST_RANKS = 64
_NEAR = 0.02


@dataclass(slots=True)
class Identity:
    """Collects the keys and labels of a pass and says what differs from the set."""

    ours: Ours
    names: dict[str, int] = field(default_factory=dict)
    """Class ids by name."""

    rows: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    """Keys that the set does not have."""

    labels: Counter[int | str] = field(default_factory=Counter)
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How often (our class, their class) came for one key."""

    example: dict[tuple[int, int], str] = field(default_factory=dict)

    def add(self, row: Row) -> str | None:
        """Take in a sample; return its key in the set, where it has one."""
        self.rows += 1
        label = row.label
        if label is not None:
            known = self.ours.class_id(label, self.names)
            label = label if known is None else known
            self.labels[label] += 1
        if row.key is None:
            return None
        key = self.ours.find(row.key)
        if key is None:
            self.unknown.append(row.key)
            return None
        self.seen[key] += 1
        mine = self.ours.labels.get(key)
        if mine is not None and isinstance(label, int):
            self.pairs[mine, label] += 1
            self.example.setdefault((mine, label), key)
        return key

    def report(self, *, batch_rows: int) -> Iterator[Finding]:
        """Yield what is wrong with samples and labels.

        Args:
            batch_rows: Rows of a full batch of theirs.
        """
        yield self._samples(batch_rows)
        if self.unknown:
            text = f"{len(self.unknown):,} keys that the set lacks: "
            yield problem(
                "keys", text + named(self.unknown),
                "the loader reads other shards, or makes keys of its own",
            )  # fmt: skip
        elif not self.seen and self.rows:
            yield note(
                "keys", "batches hold none: samples and pixels cannot be told apart",
                'hand the key on: {"__key__": ..., "image": ..., "label": ...}',
            )  # fmt: skip
        yield from self._labels()
        yield from self._histogram()

    def _samples(self, batch_rows: int) -> Finding:
        size, rows = len(self.ours), self.rows
        twice = [key for key, count in self.seen.items() if count > 1]
        missing = [key for key in self.ours.labels if key not in self.seen]
        missing = missing if self.seen else []
        figures = {
            "ours": size, "theirs": rows, "missing": len(missing), "twice": len(twice),
        }  # fmt: skip
        if rows == size and not missing and not twice:
            each = "every key once" if self.seen else "keys are not known"
            return ok("samples", f"{rows:,} in both, {each}", figures)
        text = f"theirs {rows:,}, the set {size:,}"
        if missing:
            text += f"; {len(missing):,} missing: {named(missing)}"
        if twice:
            text += f"; {len(twice):,} more than once: {named(twice)}"
        return problem("samples", text, self._why(batch_rows), figures)

    def _why(self, batch_rows: int) -> str:
        size, rows = len(self.ours), self.rows
        for ranks in range(2, _MOST_RANKS + 1):
            if rows and abs(rows * ranks - size) <= max(_NEAR * size, ranks):
                return (
                    f"1 of {ranks} is delivered: the stream is split over ranks or"
                    " workers once more than there are; split it in one place"
                )
        if 0 < size - rows < batch_rows:
            return "the last, short batch is dropped: drop_last=False delivers it"
        if rows > size:
            return (
                "more than one epoch: split shards over workers, and leave out"
                " resampled=True and repeat()"
            )
        return "look for shards that are skipped, and handlers that swallow errors"

    def _labels(self) -> Iterator[Finding]:
        total = self.pairs.total()
        wrong = {pair: n for pair, n in self.pairs.items() if pair[0] != pair[1]}
        if not total:
            return
        if not wrong:
            yield ok("labels", f"{total:,} of {total:,} equal")
            return
        count = sum(wrong.values())
        steps = {theirs - mine for mine, theirs in self.pairs}
        becomes = dict(self.pairs.keys())
        pair = max(wrong, key=wrong.__getitem__)
        place = f"such as {self.example[pair]}: ours {self.ours.class_name(pair[0])},"
        place += f" theirs {self.ours.class_name(pair[1])}"
        text = f"{count:,} of {total:,} differ, {place}"
        if len(steps) == 1 and len(becomes) > 1:
            (step,) = steps
            text = f"off by {_step(step)}: theirs = ours {step:+d}, {place}"
            remedy = "count classes from 0 in both"
        elif len(becomes) == len(self.pairs) == len(set(becomes.values())):
            text = f"classes are numbered otherwise ({count:,} of {total:,}), {place}"
            remedy = "number them in one order: dataset.json has ours"
        else:
            remedy = "look where labels and images part ways: sorting, zipping, caching"
        yield problem("labels", text, remedy, {"wrong": count, "of": total})

    def _histogram(self) -> Iterator[Finding]:
        known = (v for v in self.ours.labels.values() if v is not None)
        mine: Counter[int | str] = Counter(known)
        if not mine or not self.labels:
            return
        figures = {
            str(label): [mine.get(label, 0), self.labels.get(label, 0)]
            for label in sorted({*mine, *self.labels}, key=str)
        }
        differing = {label: pair for label, pair in figures.items() if len({*pair}) > 1}
        if not differing:
            yield ok("classes", f"{len(mine)} with the same counts in both", figures)
            return
        rows = [
            f"{self._name(label)} {a:,}|{b:,}" for label, (a, b) in differing.items()
        ]
        text = f"counts differ (ours|theirs): {named(rows)}"
        step = self._shifted(mine)
        if step:
            text = f"off by {_step(step)}: theirs = ours {step:+d}; {text}"
        yield problem("classes", text, "see labels and samples", figures)

    def _shifted(self, mine: Counter[int | str]) -> int:
        """Return by how much their class ids are off, where all are alike; else 0."""
        ids = [label for label in self.labels if isinstance(label, int)]
        if len(ids) != len(self.labels) or len(mine) < 2:
            return 0
        known = {label: n for label, n in mine.items() if isinstance(label, int)}
        step = min(ids) - min(known)
        moved = {label + step: count for label, count in known.items()}
        return step if moved == dict(self.labels) else 0

    def _name(self, label: str) -> str:
        number = label.removeprefix("-").isdecimal()
        return self.ours.class_name(int(label)) if number else label


def _step(step: int) -> str:
    return "one" if abs(step) == 1 else str(abs(step))
