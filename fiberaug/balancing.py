"""``balance``: from what the user asks for to how often each class is dealt."""

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from fiberaug.dealing import Balance, allocate
from fiberaug.errors import UsageError
from fiberaug.selecting import (
    WEIGHT_UNIT,
    Chosen,
    Counts,
    Open,
    class_counts,
    starts_of,
    weights_of,
)

__all__ = ["balance_name", "make_balance"]

_RULES = ("uniform", "sqrt", "weights")


def balance_name(rule: str | Mapping[str | int, float]) -> str:
    """Return what stands in the state for a balance.

    Raises:
        UsageError: It is no rule.
    """
    if isinstance(rule, str):
        if rule not in _RULES:
            raise UsageError(
                f"balance must be one of {_RULES} or weights of classes, got {rule!r}"
            )
        return rule
    if not rule:
        raise UsageError("balance gives no class a weight: the mapping is empty")
    for label, weight in rule.items():
        if not math.isfinite(weight) or weight < 0:
            raise UsageError(
                f"balance: the weight of {label!r} must be finite and >= 0, got"
                f" {weight!r}"
            )
    text = json.dumps({str(label): float(weight) for label, weight in rule.items()})
    if len(text) > 100:
        text = "blake2b " + blake2b(text.encode(), digest_size=8).hexdigest()
    return f"classes {text}"


def make_balance(
    rule: str | Mapping[str | int, float],
    total: int | None,
    *,
    shards: int,
    open_index: Open,
    classes: Sequence[str],
    selection: Chosen | None,
    known: Counts | None,
) -> Balance:
    """Return how often each group is dealt.

    Args:
        rule: ``uniform``, ``sqrt``, ``weights`` or weights by class name or id.
        total: Positions of an epoch; None: as many as there are samples.
        shards: Number of shards.
        open_index: Opens the index of a shard.
        classes: Names of classes by id.
        selection: The part of the set; None: all of it.
        known: Samples of the classes, where ``dataset.json`` has them.

    Raises:
        UsageError: A class is unknown or has no weight, or samples have no class.
    """
    balance_name(rule)
    if rule == "weights":
        return _by_weights(total, shards, open_index, selection)
    counts = known
    if counts is None or selection is not None:
        counts = class_counts(shards, open_index, selection)
    without = sum(int(own.sum()) for label, own in counts.items() if label < 0)
    if without:
        raise UsageError(
            f"balance goes by class, and {without} samples have no class id; leave them"
            ' out with subset="label >= 0", or give balance="weights"'
        )
    own_of = {label: int(own.sum()) for label, own in counts.items() if own.any()}
    groups = sorted(own_of)
    own = [own_of[label] for label in groups]
    if isinstance(rule, str):
        shares = [1.0 if rule == "uniform" else math.sqrt(size) for size in own]
    else:
        shares = _of_classes(rule, groups, classes)
    if not any(shares):
        raise UsageError(f"balance={rule!r} gives no class of the set a weight")
    narrow = np.uint32 if max(own) < 2**32 else np.int64
    sizes = np.empty((shards + 1, len(groups)), narrow, order="F")
    for column, label in enumerate(groups):
        sizes[:, column] = starts_of(counts.pop(label))
    deals = allocate(sum(own) if total is None else total, shares)
    return Balance(
        groups=np.asarray(groups, np.int64),
        deals=np.asarray(deals, np.int64),
        starts=sizes,
    )


def _of_classes(
    rule: Mapping[str | int, float], groups: Sequence[int], classes: Sequence[str]
) -> list[float]:
    ids = {name: i for i, name in enumerate(classes)}
    weights: dict[int, float] = {}
    for label, weight in rule.items():
        number = ids.get(label) if isinstance(label, str) else int(label)
        if number is None or (weight and number not in groups):
            raise UsageError(
                f"balance: the set has no sample of class {label!r}; its classes are"
                f" {list(classes)[:20] or list(groups)[:20]}"
            )
        weights[number] = float(weight)
    missing = [label for label in groups if label not in weights]
    if missing:
        names = [classes[i] if i < len(classes) else i for i in missing[:20]]
        raise UsageError(
            f"balance gives no weight to the classes {names}; 0 leaves a class out"
        )
    return [weights[label] for label in groups]


def _by_weights(
    total: int | None, shards: int, open_index: Open, selection: Chosen | None
) -> Balance:
    sums, samples = [0], 0
    for shard in range(shards):
        index = open_index(shard)
        weights = weights_of(index)
        if selection is not None:
            weights = weights[selection.rows(shard, index)]
        sums.append(sums[-1] + int(weights.sum()))
        samples += len(weights)
    if not sums[-1]:
        raise UsageError("balance='weights': all weights of the index are 0")
    return Balance(
        groups=np.asarray([-1], np.int64),
        deals=np.asarray([samples if total is None else total], np.int64),
        starts=np.asarray(sums, np.int64)[:, None],
        unit=WEIGHT_UNIT,
    )
