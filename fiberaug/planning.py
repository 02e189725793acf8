"""The plan of a data set: what takes part, how often, and in which order."""

from collections.abc import Mapping, Sequence
from typing import Any

from fiberaug.balancing import balance_name, make_balance
from fiberaug.errors import UsageError
from fiberaug.plan import Plan
from fiberaug.selecting import Rows, Subset, select
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.opening import read_index
from fiberaug.shards.resolve import ShardSet

__all__ = ["make_plan"]


def make_plan(
    shards: ShardSet,
    *,
    train: bool,
    subset: Subset | None = None,
    balance: str | Mapping[str | int, float] | None = None,
    epoch_size: int | None = None,
    **options: Any,  # noqa: ANN401  # of Plan
) -> tuple[Plan, Rows | None]:
    """Return the plan, and how dealt rows become samples where they are not these.

    Args:
        shards: The shards.
        train: False: every sample once.
        subset: See :class:`fiberaug.StreamingDataset`.
        balance: See there.
        epoch_size: See there.
        options: ``seed``, ``shuffle``, ``lanes``, ``unit`` and ``window`` of the plan.

    Raises:
        UsageError: An argument is out of range, or the shards have no index.
    """
    if epoch_size is not None and epoch_size < 1:
        raise UsageError(f"epoch_size must be >= 1, got {epoch_size}")
    if not train and (balance is not None or epoch_size is not None):
        raise UsageError(
            "train=False delivers every sample once, which balance and epoch_size"
            " would not: leave them out"
        )
    counts = shards.counts
    asked = {"subset": subset, "balance": balance, "epoch_size": epoch_size}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        return Plan(counts=counts, **options), None
    if counts is None:
        raise UsageError(
            f"{' and '.join(asked)} need an index, which not all shards have; run"
            " `fiberaug index SHARDS`"
        )

    def open_index(shard: int) -> ShardIndex:
        return read_index(shards.refs[shard], shards.cache)

    classes = shards.manifest.classes if shards.manifest else ()
    selection = None
    if subset is not None:
        selection = select(subset, counts, open_index, classes)
        options |= {"subset": selection.name}
        counts = selection.counts
    dealt = None
    if balance is not None:
        dealt = make_balance(
            balance, epoch_size, shards=len(counts), open_index=open_index,
            classes=classes, selection=selection, known=_known(shards),
        )  # fmt: skip
        options |= {"balance": dealt, "balanced_by": balance_name(balance)}
    elif epoch_size is not None:
        options |= {"epoch_size": epoch_size}
    plan = Plan(counts=counts, **options)
    if selection is None and dealt is None:
        return plan, None
    return plan, Rows(selection, dealt, weighted=balance == "weights")


def _known(shards: ShardSet) -> Sequence[Mapping[int, int]] | None:
    """Return the samples of each class in each shard, where dataset.json says it."""
    if shards.manifest is None:
        return None
    entries = {entry.name: entry for entry in shards.manifest.shards}
    known: list[Mapping[int, int]] = []
    for ref in shards.refs:
        entry = entries.get(ref.name)
        counts = entry.counts if entry is not None else {}
        if sum(counts.values()) != ref.samples:
            return None  # some have no class, or the file is older than the index
        known.append({int(label): count for label, count in counts.items()})
    return known
