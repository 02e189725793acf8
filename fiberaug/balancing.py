"""``balance``: from what the user asks for to how often each class is dealt."""

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from fiberaug.dealing import Balance, allocate
from fiberaug.errors import UsageError
from fiberaug.selecting import (
    WEIGHT_UNIT,
    Open,
    Selection,
    class_starts,
    cumulated,
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
    selection: Selection | None,
    known: Sequence[Mapping[int, int]] | None,
) -> Balance:
    """Return how often each group is dealt.

    Args:
        rule: ``uniform``, ``sqrt``, ``weights`` or weights by class name or id.
        total: Positions of an epoch; None: as many as there are samples.
        shards: Number of shards.
        open_index: Opens the index of a shard.
        classes: Names of classes by id.
        selection: The part of the set; None: all of it.
        known: Samples of each class in each shard, where ``dataset.json`` has them.

    Raises:
        UsageError: A class is unknown or has no weight, or samples have no class.
    """
    balance_name(rule)
    if rule == "weights":
        return _by_weights(total, shards, open_index, selection)
    if known is not None and selection is None:
        starts = cumulated(known)
    else:
        starts = class_starts(shards, open_index, selection)
    without = int(starts[-1][-1]) if -1 in starts else 0
    if without:
        raise UsageError(
            f"balance goes by class, and {without} samples have no class id; leave them"
            ' out with subset="label >= 0", or give balance="weights"'
        )
    groups = np.asarray(sorted(starts), np.int64)
    sizes = np.stack([starts[label] for label in groups.tolist()], axis=1)
    own = sizes[-1].astype(np.float64)
    if isinstance(rule, str):
        shares = np.ones(len(own)) if rule == "uniform" else np.sqrt(own)
    else:
        shares = _of_classes(rule, groups, classes)
    if not shares.sum():
        raise UsageError(f"balance={rule!r} gives no class of the set a weight")
    deals = allocate(int(own.sum()) if total is None else total, shares.tolist())
    return Balance(groups=groups, deals=np.asarray(deals, np.int64), starts=sizes)


def _of_classes(
    rule: Mapping[str | int, float], groups: NDArray[np.int64], classes: Sequence[str]
) -> NDArray[np.float64]:
    ids = {name: i for i, name in enumerate(classes)}
    weights: dict[int, float] = {}
    for label, weight in rule.items():
        number = ids.get(label) if isinstance(label, str) else int(label)
        if number is None or number not in set(groups.tolist()):
            raise UsageError(
                f"balance: the set has no sample of class {label!r}; its classes are"
                f" {list(classes)[:20] or groups.tolist()[:20]}"
            )
        weights[number] = float(weight)
    missing = [label for label in groups.tolist() if label not in weights]
    if missing:
        names = [classes[i] if i < len(classes) else i for i in missing[:20]]
        raise UsageError(
            f"balance gives no weight to the classes {names}; 0 leaves a class out"
        )
    return np.asarray([weights[label] for label in groups.tolist()])


def _by_weights(
    total: int | None, shards: int, open_index: Open, selection: Selection | None
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
