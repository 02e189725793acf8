"""What a pool holds, in figures and in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from fiberaug.sizes import counted
from fiberaug.synthetic.poolfile import PoolFile

__all__ = ["figures_of", "tell"]

_MOST_CLASSES = 40


def figures_of(file: PoolFile) -> dict[str, Any]:
    """Return the figures of a pool as plain values.

    ``generate_s_each`` is the generator's time for each sample that was taken: what was
    refused is in it.

    Args:
        file: Its ``pool.json``.
    """
    totals = {"asked": 0, "made": 0, "accepted": 0}
    rejected: dict[str, int] = {}
    for told in file.counts.values():
        for name in totals:
            totals[name] += told[name]
        for reason, n in told.get("rejected", {}).items():
            rejected[reason] = rejected.get(reason, 0) + n
    seconds = file.cost.get("generate_s", 0)
    cost = dict(file.cost)
    cost["generate_s_each"] = round(seconds / max(1, totals["accepted"]), 6)
    return {
        "state": file.state, "generator": dict(file.generator),
        "source_type": file.source_type, "licence": file.licence,
        **totals, "rejected": rejected, "counts": dict(file.counts),
        "size": dict(file.size), "parents": dict(file.parents), "data": file.data,
        "checks": dict(file.checks), "cost": cost,
    }  # fmt: skip


def tell(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures of a pool in words, a line each.

    Args:
        figures: Of :func:`figures_of`.
    """
    size, cost, generator = figures["size"], figures["cost"], figures["generator"]
    samples = counted(figures["accepted"], "synthetic sample")
    yield (
        f"pool: {samples} of {figures['asked']} asked for, native"
        f" {size['height']}x{size['width']} px, {size['channels']} channels"
    )
    digest = generator.get("sha256") or generator.get("source") or "no hash"
    name = generator.get("name") or generator.get("class")
    yield f"generator: {generator.get('kind')}, {name}, {str(digest)[:16]}"
    licence = figures["licence"] or "not said"
    yield f"marked: {figures['source_type']}; licence: {licence}"
    yield from _class_lines(figures["counts"])
    made = figures["made"]
    yield f"made: {made}, refused: {_named(figures['rejected'])}"
    if "generate_s" in cost:
        yield (
            f"cost: {cost['generate_s']:.3g} s in the generator on"
            f" {cost.get('device')}, {1000 * cost['generate_s_each']:.3g} ms a sample"
            f" taken; peak {cost.get('peak_mib')} MiB;"
            f" {counted(cost.get('calls', 0), 'call')}"
        )
    yield from _check_lines(figures)
    parents = figures["parents"]
    if parents.get("samples"):
        parts = {name or "unknown": n for name, n in parents["splits"].items()}
        yield f"made from others: {parents['samples']}; parents: {_named(parts)}"


def _class_lines(counts: Mapping[str, Any]) -> Iterator[str]:
    for name, told in list(counts.items())[:_MOST_CLASSES]:
        lacks = told["asked"] - told["accepted"]
        short = f", {lacks} too few" if lacks else ""
        yield f"  {told['accepted']:>8}  {name} ({told['made']} made{short})"
    if len(counts) > _MOST_CLASSES:
        yield f"  ... and {len(counts) - _MOST_CLASSES} classes more"


def _check_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    checks, data = figures["checks"], figures["data"]
    if "near_copies" in checks:
        yield (
            f"among them: {checks['near_copies']} near-copies,"
            f" {checks.get('same_pixels')} with pixels that another has"
        )
    if data is None:
        yield "training data: not compared with (--against names it)"
    else:
        yield (
            f"training data: compared with {counted(data['samples'], 'sample')}"
            f" ({str(data['fingerprint'])[:16]}), no copy taken"
        )
    batch = checks.get("batch")
    if batch:
        told = "the same in any batch"
        if batch["differing"]:
            told = (
                f"{batch['differing']} of {batch['compared']} differ by up to"
                f" {batch['most']} levels in another batch"
            )
        yield f"batches: {told} ({batch['compared']} tried)"
    if checks.get("threshold") is not None:
        yield f"classifier: confidence of {checks['threshold']:.3g} at least"


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"
