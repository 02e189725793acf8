"""The placement that was measured, for programs and for people."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from fiberaug.benching.cuts import to_yaml
from fiberaug.benching.placement import Cut, Placement, StepCost

__all__ = ["describe_placement", "tell_placement"]

_WIDTH = 96
_NOTE = (
    "An operation and its twin draw from the same ranges, not the same numbers. Where"
    " the numbers are the same, pixels agree to about one level of 255: workers round"
    " after each operation, batches do not. Where they differ more, it is said above."
)
_NO_GPU = (
    "There is no GPU here: batch operations take the time of the main process, which"
    " also trains."
)


def describe_placement(placement: Placement) -> dict[str, Any]:
    """Return it as JSON: seconds of an image, images a second."""
    return {
        "device": placement.device,
        "steps": [_step(cost) for cost in placement.steps],
        "cuts": [_cut(cut) for cut in placement.cuts],
        "present": placement.present.steps,
        "best": placement.best.steps,
        "sure": placement.sure,
        "recipe": placement.recipe.to_dict(),
    }


def _step(cost: StepCost) -> dict[str, Any]:
    step, worker, batch = cost
    on_worker = None
    if worker is not None:
        on_worker = {"seconds": worker.seconds, "applied": worker.applied}
    return {
        "name": step.name,
        "worker": step.worker,
        "batch": step.batch,
        "note": step.note,
        "in_workers": on_worker,
        "on_batches": None if batch is None else batch._asdict(),
    }


def _cut(cut: Cut) -> dict[str, Any]:
    times, speed = cut.times, cut.speed
    stages = None
    if times is not None:
        stages = {
            "worker": times.worker,
            "main_process": times.received,
            "transport": times.stages.transport,
            "batch_operations": times.developed,
        }
    return {
        "steps": cut.steps,
        "name": cut.name,
        "refused": cut.refused,
        "seconds": stages,
        "workers": cut.workers,
        "estimate": cut.estimate,
        "measured": None if speed is None else speed._asdict(),
    }


def tell_placement(placement: Placement) -> Iterator[str]:
    """Yield the lines of it."""
    yield from _steps(placement)
    yield ""
    yield from _cuts(placement)
    yield ""
    yield from _verdict(placement)


def _steps(placement: Placement) -> Iterator[str]:
    yield (
        f"{'one image, us: an operation by itself':<42}{'worker':>8}{'applied':>9}"
        f"{placement.device:>8}{'applied':>9}{'draws':>7}"
    )
    for cost in placement.steps:
        step, worker, batch = cost
        other = next(iter(step.batch or {}), "")
        name = step.name if other in {"", step.name} else f"{step.name} -> {other}"
        here = f"{'-':>8}{'':>9}"
        if worker is not None:
            here = f"{worker.seconds * 1e6:>8,.0f}{_when_applied(worker):>9}"
        there = f"{'-':>8}{'':>9}{'':>7}"
        if batch is not None:
            there = f"{batch.seconds * 1e6:>8,.0f}{_when_applied(batch):>9}"
            there += f"{batch.draw_s * 1e6:>7,.0f}"
        yield f"  {name:<40.40}{here}{there}".rstrip()
        if step.note:
            stays = "" if step.worker and step.batch else "stays: "
            yield from (f"      {line}" for line in wrap(stays + step.note, _WIDTH - 6))


def _when_applied(cost: Any) -> str:  # noqa: ANN401  # of either side
    """Return the microseconds of an image that the operation is applied to."""
    return f"{cost.seconds / cost.applied * 1e6:,.0f}" if cost.applied else "never"


def _cuts(placement: Placement) -> Iterator[str]:
    yield (
        f"{'one image, us: the recipe cut':<42}{'worker':>7}{'main':>7}"
        f"{placement.device:>7}{'estimate':>10}{'workers':>8}  measured, images/s"
    )
    for cut in placement.cuts:
        mark = "*" if cut == placement.present else " "
        if cut.times is None:
            yield f"{mark} {cut.name:<40.40}  cannot be: {_line(cut.refused)}"
            continue
        times, speed = cut.times, cut.speed
        measured = ""
        if speed is not None:
            spread = f"({speed.low:,.0f}, {speed.high:,.0f})"
            measured = f"{speed.images_per_s:>9,.0f} {spread}"
        yield (
            f"{mark} {cut.name:<40.40}{times.worker * 1e6:>7,.0f}"
            f"{times.received * 1e6:>7,.0f}{times.developed * 1e6:>7,.0f}"
            f"{cut.estimate:>10,.0f}{cut.workers:>8}{measured}"
        )


def _line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 54 else f"{words[:51]}..."


def _verdict(placement: Placement) -> Iterator[str]:
    present, best = placement.present, placement.best
    yield f"placement  present: {_rate(present)} images/s ({present.name})"
    if best.steps == present.steps:
        yield (
            "           leave it so: no other cut that was measured is 5 % faster, and"
            " faster in each round"
        )
    else:
        yield f"           best: {best.name}: {_rate(best)} images/s (measured)"
    if not placement.sure:
        yield "           other programs were busy meanwhile: measure when nothing runs"
    if placement.device == "cpu":
        yield from (f"           {line}" for line in wrap(_NO_GPU, _WIDTH - 11))
    if best.steps != present.steps:
        yield from (f"           {line}" for line in wrap(_NOTE, _WIDTH - 11))
        yield ""
        yield from to_yaml(placement.recipe).splitlines()


def _rate(cut: Cut) -> str:
    return "-" if cut.speed is None else f"{cut.speed.images_per_s:,.0f}"
