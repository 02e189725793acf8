"""What was measured, for programs and for people."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from fiberaug.benching.benching import Bench
from fiberaug.benching.operations import OperationCost
from fiberaug.benching.placement_report import describe_placement, tell_placement
from fiberaug.benching.verdict import parts
from fiberaug.decode import turbo
from fiberaug.sizes import counted, format_bytes

__all__ = ["SHOWN", "describe", "tell"]

SHOWN = 5
"""Operations that are named; the rest is one line."""

_SAID = {
    "reading": "reading and CRC-32",
    "decode": "decode",
    "augment": "augment",
    "draw": "drawing for batch operations",
    "collate": "records and collate",
    "transport": "transport to the main process",
    "finish": "tensors and normalise (main process)",
    "batch": "batch operations (main process)",
}
_LIMITS = {
    "consumer": "the main process, which takes the batches, is busy {} of the time",
    "device": "the GPU, which runs batch operations, is busy {} of the time",
    "store": "what is read for the first time comes {} slower than it could go on",
}
_V = 1
_WIDTH = 96
_LOST = 0.02  # of a training loop's time


def describe(bench: Bench) -> dict[str, Any]:
    """Return what was measured as JSON: seconds, bytes, shares in [0, 1].

    ``v`` changes where the meaning of a name does; names can be added.
    """
    times, verdict, step = bench.times, bench.verdict, bench.step
    kinds = [kind._asdict() for kind in bench.ceilings.kinds]
    whole, placement = times.stages.whole, bench.placement
    return {
        "v": _V, "samples": bench.rows, "shards": bench.shards,
        "batch_size": bench.options.batch_size, "cpus": bench.cpus,
        "compiled_decoder": turbo.available(),
        "stages_s": parts(times, bench.ceilings) | {"whole": whole},
        "measured": {
            "samples": times.samples, "passes": times.passes,
            "low_s": times.spread[0], "high_s": times.spread[1],
            "first_epoch_decode_s": times.first.decode,
            "main_process_s": times.received, "batch_operations_s": times.developed,
            "on_gpu": times.gpu, "broken": times.failures,
            "out_pixels": times.out_pixels, "batch_bytes": times.batch_bytes,
        },
        "operations": [cost._asdict() for cost in bench.operations],
        "ceilings": bench.ceilings._asdict() | {"kinds": kinds},
        "loaders": [speed._asdict() for speed in bench.speeds],
        "verdict": verdict._asdict(),
        "step": None if step is None else step._asdict(),
        "trials": {
            name: None if stages is None else stages._asdict()
            for name, stages in bench.trials._asdict().items()
        },
        "hints": [hint._asdict() for hint in bench.hints],
        "placement": None if placement is None else describe_placement(placement),
    }  # fmt: skip


def tell(bench: Bench) -> Iterator[str]:
    """Yield the lines of one screen."""
    ceilings = bench.ceilings
    samples = "samples not counted (no index)"
    if bench.rows is not None:
        samples = counted(bench.rows, "sample").replace(
            str(bench.rows), f"{bench.rows:,}"
        )
    kinds = ", ".join(f"{kind.share:.0%} {kind.name}" for kind in ceilings.kinds[:3])
    yield (
        f"{samples} in {counted(bench.shards, 'shard')}; photos of"
        f" {ceilings.pixels / 1e6:.2f} megapixels, {format_bytes(int(ceilings.bytes))}"
        f" ({kinds})"
    )
    yield (
        f"{counted(bench.cpus, 'CPU')}, batches of {bench.options.batch_size}, compiled"
        f" JPEG decoder: {'yes' if turbo.available() else 'no'}"
    )
    yield ""
    yield from _stages(bench)
    yield ""
    yield from _ceilings(bench)
    yield ""
    yield from _loaders(bench)
    yield ""
    yield from _verdict(bench)
    for hint in bench.hints:
        lines = wrap(hint.text, _WIDTH) + wrap(hint.remedy, _WIDTH)
        yield from (f"{'   ' if at else '-> '}{line}" for at, line in enumerate(lines))
    if bench.placement is not None:
        yield ""
        yield from tell_placement(bench.placement)


def _stages(bench: Bench) -> Iterator[str]:
    times, whole = bench.times, max(bench.times.stages.whole, 1e-12)
    yield f"{'one image, CPU time in one process':<42}{'us':>8}{'share':>7}"
    for name, seconds in parts(times, bench.ceilings).items():
        if name in {"draw", "batch"} and not times.developed:
            continue
        yield f"  {_SAID[name]:<40}{seconds * 1e6:>8,.0f}{seconds / whole:>7.0%}"
        if name == "augment":
            yield from _operations(bench.operations, whole)
    low, high = (value * 1e6 for value in times.spread)
    yield f"  {'all':<40}{whole * 1e6:>8,.0f}   {1 / whole:,.0f} images per CPU-second"
    yield (
        f"  ({times.passes} passes of {times.samples:,} samples, all between"
        f" {low:,.0f} and {high:,.0f} us)"
    )
    if times.developed:
        where = "the GPU" if times.gpu else "all of torch's threads"
        developed = f"{times.developed * 1e6:,.0f} us"
        yield f"  (batch operations by the clock, on {where}: {developed})"


def _operations(costs: list[OperationCost], whole: float) -> Iterator[str]:
    for cost in costs[:SHOWN]:
        on = "" if cost.applied > 0.995 else f"   on {cost.applied:.0%} of the images"
        yield (
            f"    {cost.name:<38.38}{cost.seconds * 1e6:>8,.0f}"
            f"{cost.seconds / whole:>7.0%}{on}"
        )
    if len(costs) > SHOWN:
        rest = sum(cost.seconds for cost in costs[SHOWN:])
        name = f"{len(costs) - SHOWN} more"
        yield f"    {name:<38}{rest * 1e6:>8,.0f}{rest / whole:>7.0%}"


def _ceilings(bench: Bench) -> Iterator[str]:
    ceilings = bench.ceilings
    yield f"{'ceilings of one core':<42}{'images/s':>8}"
    rate = 1 / max(ceilings.read, 1e-9)
    yield (
        f"  {'reading alone, from memory':<40}{rate:>8,.0f}  "
        f" {format_bytes(int(rate * ceilings.bytes))}/s"
    )
    rate = 1 / max(ceilings.first_read, 1e-9)
    yield (
        f"  {'reading for the first time, with waiting':<40}{rate:>8,.0f}  "
        f" {format_bytes(int(rate * ceilings.bytes))}/s"
    )
    rate = 1 / max(ceilings.decode, 1e-9)
    yield f"  {'decoding alone, whole photos':<40}{rate:>8,.0f}"


def _loaders(bench: Bench) -> Iterator[str]:
    yield (
        "workers  images/s (lowest, highest)  images/CPU-s  CPUs busy  first batch "
        " memory of a worker"
    )
    for speed in bench.speeds:
        size = speed.worker_bytes
        taken = "-" if size is None else format_bytes(size)
        spread = f"({speed.low:,.0f}, {speed.high:,.0f})"
        mark = "*" if speed.workers == bench.verdict.workers else " "
        yield (
            f"{speed.workers:>6}{mark} {speed.images_per_s:>9,.0f} {spread:<17} "
            f"{speed.images_per_cpu_s:>13,.0f} {speed.cpus:>10.1f}"
            f" {speed.first_batch_s:>10.2f} s {taken:>19}"
        )


def _verdict(bench: Bench) -> Iterator[str]:
    verdict = bench.verdict
    text = _LIMITS.get(verdict.limit, "{} of the CPU time of an image")
    text = text.format(f"{verdict.share:.0%}")
    costs = parts(bench.times, bench.ceilings)
    other = max(costs.keys() - {verdict.limit}, key=lambda name: costs[name])
    text += f", {other} {costs[other] / max(bench.times.stages.whole, 1e-12):.0%}"
    yield f"limit    {verdict.limit}: {text}"
    busy = f"{verdict.cpus:.1f} of {bench.cpus} are busy"
    if verdict.others >= 0.05:
        busy += f", and {verdict.others:.1f} with other programs"
    yield f"CPUs     {busy}"
    sure = "" if verdict.sure else ", as far as other programs let it be seen"
    yield (
        f"workers  {verdict.workers}: {verdict.images_per_s:,.0f} images/s, the fewest"
        f" within 5 % of the best{sure}"
    )
    if bench.step is None:
        return
    step = bench.step
    needed = bench.options.batch_size / step.step_s
    lost = step.wait_s / (step.step_s + step.wait_s)
    found = "keeps up" if lost < _LOST else f"loses {lost:.0%} of the time"
    yield (
        f"step     {step.step_s * 1e3:,.0f} ms a batch, {needed:,.0f} images/s, with"
        f" {counted(step.workers, 'worker')}: {found}; {step.steps} steps waited"
        f" {step.wait_s * 1e3:,.1f} ms each"
    )
