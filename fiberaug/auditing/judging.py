"""From counts to what is outside of its bounds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fiberaug.auditing.asking import MixAsking
from fiberaug.auditing.binomial import band, bounds
from fiberaug.auditing.completeness import Epoch
from fiberaug.auditing.counters import LeafCounter, OperationCounters
from fiberaug.auditing.findings import Finding, Range, Rate
from fiberaug.auditing.shares import Share
from fiberaug.mix import REAL
from fiberaug.sizes import counted

__all__ = [
    "judge_epochs", "judge_operations", "judge_records", "judge_shares",
    "judge_sources",
]  # fmt: skip

_SURE = 1e-9


def judge_records(records: int) -> Iterator[Finding]:
    """Yield what there is to say of the log as a whole."""
    if not records:
        yield _finding("order", "the log holds no record: nothing could be judged")


def judge_operations(
    operations: OperationCounters, *, alpha: float, slack: int
) -> tuple[list[Rate], list[Range], list[Finding]]:
    """Return rates and ranges, and what there is to say of them.

    The error is divided by the number of rates and distributions that are judged
    (Bonferroni), so that it is ``alpha`` at most for all of them together.

    Args:
        operations: What was counted.
        alpha: Probability of an error.
        slack: Rows at most that broken partners left unmixed.
    """
    counters = list(operations.leaves.values())
    judged = sum(c.leaf.chance is not None and c.trials > 0 for c in counters)
    judged += sum(s.has_law for c in counters for s in c.sketches.values())
    each = alpha / max(1, judged)
    rates, ranges, found = [], [], []
    for what, (count, record) in operations.strangers.items():
        text = f"{what} is in {counted(count, 'record')} and not in the recipe, first"
        found.append(_finding("rate", f"{text} at {_place(record)}"))
    for counter in counters:
        rate = _rate(counter, each, slack)
        rates.append(rate)
        if rate.is_off:
            found.append(_finding("rate", _said(rate)))
        for one in _ranges(counter, each):
            ranges.append(one)
            found += _of_range(one, counter)
    return rates, ranges, found


def _rate(counter: LeafCounter, alpha: float, slack: int) -> Rate:
    leaf, hits, trials = counter.leaf, counter.hits, counter.trials
    low, high = bounds(hits, trials, alpha)
    chance, is_off = leaf.chance, False
    unmixed = min(slack, trials - hits) if leaf.trials == "paired" else 0
    if chance is None or not trials:
        pass
    elif chance >= 1 - _SURE:  # always, and never, leave chance no room
        is_off = hits + unmixed < trials
    elif chance <= _SURE:
        is_off = hits > 0
    else:
        most = bounds(hits + unmixed, trials, alpha)[1] if unmixed else high
        is_off = not low <= chance <= most
    return Rate(
        path=leaf.path, name=leaf.name, applied=hits, trials=trials, asked=chance,
        why=leaf.why, low=low, high=high, is_off=is_off,
    )  # fmt: skip


def _said(rate: Rate) -> str:
    share = 100 * rate.applied / rate.trials
    asked = 100 * (rate.asked or 0)
    return (
        f"{rate.path} {rate.name} was applied to {rate.applied} of {rate.trials}"
        f" records ({share:.4g} %), the recipe asks for {asked:.4g} %, which is not"
        f" within {100 * rate.low:.4g} to {100 * rate.high:.4g} %"
    )


def _ranges(counter: LeafCounter, alpha: float) -> Iterator[Range]:
    for name, sketch in counter.sketches.items():
        if not sketch.count:
            continue
        limits = counter.limits.get(name)
        distance = sketch.distance() if sketch.has_law else None
        yield Range(
            path=counter.leaf.path, name=counter.leaf.name, parameter=name,
            low=None if limits is None else limits.low,
            high=None if limits is None else limits.high,
            outside=sketch.outside,
            law=limits.law if limits is not None and distance is not None else "",
            distance=distance,
            allowed=None if distance is None else band(sketch.count, alpha),
            count=sketch.count, **sketch.summary(),
        )  # fmt: skip


def _of_range(one: Range, counter: LeafCounter) -> Iterator[Finding]:
    where = f"{one.path} {one.name} {one.parameter}"
    if one.outside:
        value, record = counter.strays[one.parameter]
        yield _finding(
            "range",
            f"{where}: {one.outside} of {counted(one.count, 'value')} outside of"
            f" {one.low:g} to {one.high:g}, first {value:g} at {_place(record)}",
        )
    if one.distance is not None and one.distance > (one.allowed or 0):
        yield _finding(
            "law",
            f"{where}: {counted(one.count, 'value')} are not {one.law} between"
            f" {one.low:g} and {one.high:g}: their distribution is off by"
            f" {one.distance:.3f}, chance explains {one.allowed:.3f}",
        )


def judge_sources(
    recipes: Mapping[tuple[str, int], int], manifest: Mapping[str, Any], why: str
) -> Iterator[Finding]:
    """Yield what there is to say of what the records were made with.

    Args:
        recipes: Records by (recipe, seed).
        manifest: The run's manifest.
        why: Why its data set could not be opened, or empty.
    """
    asked, seed = manifest["recipe"]["hash"], manifest["plan"]["seed"]
    if why:
        text = f"classes and the shares of a mix are not known: {why}"
        yield _finding("recipe", text, is_outside=False)
    names = {recipe for recipe, _ in recipes}
    wrong = {n for n in names if n.partition("+")[0] != asked}
    if wrong or len(names) > 1:
        text = f"records were made with the recipes {sorted(names)[:5]}"
        yield _finding("recipe", f"{text}, the manifest is of {asked}")
    seeds = sorted({s for _, s in recipes} - {seed})
    if seeds:
        text = f"records were made with the seeds {seeds[:5]}, the manifest has {seed}"
        yield _finding("recipe", text)


def judge_shares(
    shares: Sequence[Share], mix: MixAsking | None, *, mixes: bool
) -> Iterator[Finding]:
    """Yield what there is to say of shares.

    Args:
        shares: Of all epochs.
        mix: What the run's mix asked for, where that is known.
        mixes: Whether the run had a mix.
    """
    for share in shares:
        known = {REAL} if mix is None else {*mix.names}
        if (mix is not None or not mixes) and share.source not in known:
            if share.delivered and share.label is None:
                yield _finding(
                    "share",
                    f"epoch {share.epoch}: {counted(share.delivered, 'sample')} of"
                    f" {share.source!r}, a source that the run does not have",
                )
        elif share.is_off:
            yield _finding("share", _off(share))


def _off(share: Share) -> str:
    whole = f"{share.delivered} delivered, {share.asked:.2f} asked for"
    if share.label is not None:
        return (
            f"epoch {share.epoch}: {share.source} of class {share.label}: {whole}; a"
            f" class is within {share.allowed:g}"
        )
    start, stop = share.window or (0, 0)
    return (
        f"epoch {share.epoch}: {share.source} is off by {share.worst:.2f} samples in"
        f" positions {start} to {stop - 1}; a window is within {share.allowed:g}"
        f" ({whole})"
    )


_OUTSIDE = {
    "missing": "that no record has, and nothing says why",
    "doubled": "that one attempt delivered twice",
    "changed": "of which two records say different things",
    "beyond": "that the epoch does not have",
    "reused": "whose sample had its turn in the epoch",
}
_NOTED = {
    "masked": "whose sample was broken and masked",
    "ragged": "that not all ranks had come to when the run ended",
    "repeated": "were delivered again after the run went back, and are equal",
}


def judge_epochs(epochs: Sequence[Epoch]) -> Iterator[Finding]:
    """Yield what there is to say of order and completeness."""
    for epoch in epochs:
        for texts, is_outside in ((_OUTSIDE, True), (_NOTED, False)):
            for kind, text in texts.items():
                count = getattr(epoch, kind)
                if count:
                    places = ", ".join(map(str, epoch.examples.get(kind, ())))
                    what = f"epoch {epoch.epoch}: {counted(count, 'position')} {text}"
                    yield _finding("order", f"{what}: {places}", is_outside=is_outside)
        yield from _ends(epoch)


def _ends(epoch: Epoch) -> Iterator[Finding]:
    if epoch.begin:
        text = f"epoch {epoch.epoch}: the log begins at position {epoch.begin}"
        yield _finding("order", text, is_outside=False)
    if epoch.positions is not None and epoch.end < epoch.positions:
        yield _finding(
            "order",
            f"epoch {epoch.epoch}: ends behind position {epoch.end - 1} of"
            f" {epoch.positions}: broken off, or the last batch was dropped",
            is_outside=False,
        )


def _finding(topic: str, text: str, *, is_outside: bool = True) -> Finding:
    return Finding(is_outside=is_outside, topic=topic, text=text)


def _place(record: Mapping[str, Any]) -> str:
    key = str(record["key"])[:80]
    return f"epoch {record['epoch']}, position {record['position']} ({key})"
