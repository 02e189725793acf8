"""An audit: the log read once, and compared with what the manifest asks for."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.auditing.asked import asked_leaves
from fiberaug.auditing.asking import asking_of, why_unknown
from fiberaug.auditing.completeness import Completeness, Length, positions_of_plan
from fiberaug.auditing.counters import OperationCounters
from fiberaug.auditing.explaining import Explainer
from fiberaug.auditing.findings import Audit
from fiberaug.auditing.judging import (
    judge_epochs,
    judge_operations,
    judge_records,
    judge_shares,
    judge_sources,
)
from fiberaug.auditing.labels import LabelReader
from fiberaug.auditing.reading import read_entries
from fiberaug.auditing.shares import Share, ShareCounter
from fiberaug.errors import DataRefused, FiberAugError, UsageError
from fiberaug.mix import REAL
from fiberaug.replaying import open_run
from fiberaug.runlog import read_manifest

__all__ = ["audit"]

_MOST_RECIPES = 100


def audit(
    folder: str | Path,
    *,
    confidence: float = 0.999,
    shards: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Audit:
    """Return what a run did, against what its recipe and its mix asked for.

    The log is read once, as a stream. Memory is 7 bytes for each position and view, a
    bit for each sample of an epoch, and 64 KiB for each logged parameter.

    Args:
        folder: The run folder (``log=`` of the loader).
        confidence: Probability, over all operations and parameters together, that a run
            as it was asked for is found to be so, in (0, 1).
        shards: Where the shards are now. None: where they were. Without them classes
            and the shares of a mix are not known; all else is.
        sources: Where sources of its mix are now, by name.

    Raises:
        UsageError: ``confidence`` is out of range.
        StoreError: The folder has no manifest or no log, or one cannot be read.
        DataRefused: A log is damaged, or the manifest is none.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be above 0 and below 1, got {confidence}")
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        run = _Run(folder, manifest, *_open(folder, shards, sources))
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
    ) as error:
        if isinstance(error, FiberAugError):
            raise
        raise DataRefused(f"{folder}: the manifest is none: {error!r}") from error
    ranks = _read(run)
    rates, ranges, found = judge_operations(
        run.operations, alpha=1 - confidence, slack=run.explainer.broken
    )
    epochs = run.order.epochs(run.explainer)
    shares = _shares(run)
    found = [
        *judge_records(run.records),
        *judge_sources(run.recipes, manifest, run.why), *found,
        *judge_shares(shares, run.mix, mixes=run.mixes),
        *judge_epochs(epochs),
    ]  # fmt: skip
    counted = sum(positions.count for positions in run.order.views.values())
    return Audit(
        folder=str(folder), confidence=confidence, records=run.records,
        counted=counted, passes=run.passes, ranks=ranks, rates=tuple(rates),
        ranges=tuple(ranges), shares=tuple(shares), epochs=tuple(epochs),
        stand_ins=dict(run.shares.stand_ins), findings=tuple(found),
    )  # fmt: skip


class _Opened(NamedTuple):
    dataset: Any
    why: str
    """Why there is none."""


def _open(
    folder: Path, shards: str | None, sources: Mapping[str, str] | None
) -> _Opened:
    try:
        return _Opened(open_run(folder, shards=shards, sources=sources), "")
    except FiberAugError as error:
        return _Opened(None, error.message)
    except OSError as error:  # a place that no file can have
        return _Opened(None, str(error))


class _Run:
    """What is followed while a log is read."""

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        dataset: Any,  # noqa: ANN401  # a data set
        why: str,
    ) -> None:
        plan = manifest["plan"]
        self.dataset, self.why = dataset, why
        self.mix = mix = asking_of(dataset, manifest.get("mix"))
        self.mixes = bool(manifest.get("mix"))
        self.unit = int(plan["unit"])
        if self.mixes and mix is None and not why:
            self.why = why_unknown(dataset, manifest["mix"])
        once = not any(plan.get(name) for name in ("epoch_size", "balance", "tile"))
        length: Length = mix.length if mix is not None else (lambda _: None)
        if not self.mixes:
            positions = positions_of_plan(plan)
            length = lambda _: positions  # noqa: E731
        self.order = Completeness(length, once=once)
        self.operations = OperationCounters(asked_leaves(manifest["recipe"]))
        self.shares = ShareCounter()
        self.labels = LabelReader(dataset)
        self.explainer = Explainer(folder, manifest, dataset)
        self.recipes: Counter[tuple[str, int]] = Counter()
        self.records = self.passes = 0


def _read(run: _Run) -> int:
    """Read the log; return the number of ranks that wrote one."""
    ranks: set[int] = set()
    for entry in read_entries(run.explainer.folder):
        record = entry.record
        run.records += 1
        run.passes = max(run.passes, entry.start + 1)
        ranks.add(entry.rank)
        if len(run.recipes) < _MOST_RECIPES:
            run.recipes[record["recipe"], record["seed"]] += 1
        source = run.shares.number(record["origin"])
        if not run.order.see(entry, source, real=record["origin"] == REAL):
            continue
        try:
            run.operations.see(record)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataRefused(
                f"the record of position {record['position']} of epoch"
                f" {record['epoch']} holds what no operation logs: {error}"
            ) from error
        if record["view"] == 0:
            run.shares.see(record, run.labels(record))
    run.operations.finish()
    return len(ranks)


def _shares(run: _Run) -> list[Share]:
    found = []
    for (epoch, view), positions in sorted(run.order.views.items()):
        if view == 0:
            found += run.shares.of_epoch(epoch, positions, run.mix, run.unit)
    return found
