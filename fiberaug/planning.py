"""The plan of a data set: what takes part, how often, and in which order."""

from collections.abc import Mapping
from typing import Any

from fiberaug.balancing import balance_name, make_balance
from fiberaug.errors import UsageError
from fiberaug.plan import Plan
from fiberaug.rows import Rows
from fiberaug.selecting import Counts, Subset, empty_counts, select
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.opening import read_index
from fiberaug.shards.resolve import ShardSet
from fiberaug.tiled import Boxes, make_tiled
from fiberaug.tiling import Tiling

__all__ = ["make_plan"]


def make_plan(
    shards: ShardSet,
    *,
    train: bool,
    subset: Subset | None = None,
    balance: str | Mapping[str | int, float] | None = None,
    epoch_size: int | None = None,
    tiling: Tiling | None = None,
    boxes: Boxes | None = None,
    **options: Any,  # noqa: ANN401  # of Plan
) -> tuple[Plan, Rows | None]:
    """Return the plan, and how dealt rows become samples where they are not these.

    Args:
        shards: The shards.
        train: False: every sample once.
        subset: See :class:`fiberaug.StreamingDataset`.
        balance: See there.
        epoch_size: See there.
        tiling: How photos are cut into tiles; None: they are whole.
        boxes: Reads the boxes of a photo, for tiles that are not empty.
        options: ``seed``, ``shuffle``, ``lanes``, ``unit`` and ``window`` of the plan.

    Raises:
        UsageError: An argument is out of range, or the shards have no index.
    """
    counts = shards.counts
    asked = {
        "subset": subset, "balance": balance, "epoch_size": epoch_size, "tile": tiling
    }  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    _check(asked, counts, train=train)
    if not asked or counts is None:
        return Plan(counts=counts, **options), None

    def open_index(shard: int) -> ShardIndex:
        return read_index(shards.refs[shard], shards.cache)

    classes = shards.manifest.classes if shards.manifest else ()
    known = None
    by_class = balance is not None and subset is None and tiling is None
    if isinstance(subset, int) or by_class:
        known = _known(shards)
    selection = None
    if subset is not None:
        selection = select(subset, counts, open_index, classes, known=known)
        options |= {"subset": selection.name}
        counts = selection.counts
    tiled = None
    if tiling is not None:
        tiled = make_tiled(
            tiling, len(counts), open_index, selection=selection, boxes=boxes
        )
        options |= {"tile": tiling.describe()}
        counts = tiled.counts
    dealt = None
    if balance is not None:
        dealt = make_balance(
            balance, epoch_size, shards=len(counts), open_index=open_index,
            classes=classes, selection=tiled or selection, known=known,
        )  # fmt: skip
        options |= {"balance": dealt, "balanced_by": balance_name(balance)}
    plan = Plan(counts=counts, epoch_size=epoch_size, **options)
    if selection is None and dealt is None and tiled is None:
        return plan, None
    return plan, Rows(selection, dealt, weighted=balance == "weights", tiled=tiled)


def _check(
    asked: Mapping[str, Any], counts: tuple[int, ...] | None, *, train: bool
) -> None:
    size = asked.get("epoch_size", 1)
    if type(size) is not int or size < 1:
        raise UsageError(f"epoch_size must be >= 1, got {size!r}")
    if not train and asked.keys() & {"balance", "epoch_size"}:
        raise UsageError(
            "train=False delivers every sample once, which balance and epoch_size"
            " would not: leave them out"
        )
    if asked and counts is None:
        raise UsageError(
            f"{' and '.join(asked)} need an index, which not all shards have; run"
            " `fiberaug index SHARDS`"
        )
    if asked and not sum(counts or ()):
        raise UsageError(f"{' and '.join(asked)}: the shards hold no sample")


def _known(shards: ShardSet) -> Counts | None:
    """Return the samples of each class in each shard, where dataset.json says it."""
    if shards.manifest is None:
        return None
    entries = {entry.name: entry for entry in shards.manifest.shards}
    known: Counts = {}
    for number, ref in enumerate(shards.refs):
        entry = entries.get(ref.name)
        counts = entry.counts if entry is not None else {}
        sound = all(
            type(count) is int and 0 <= count < 2**32 and label.isdecimal()
            for label, count in counts.items()
        )
        if not sound or sum(counts.values()) != ref.samples:
            return None  # some have no class, or the file is older than the index
        for text, count in counts.items():
            label = int(text)
            if label not in known:
                known[label] = empty_counts(len(shards.refs), classes=len(known) + 1)
            known[label][number] = count
    return known
