"""Which operations of a recipe are better done by workers, and which to batches.

Every cut of the recipe is made into a recipe of its own and measured in one process;
those that promise most run as whole loaders, in turns with the present one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug import presets
from fiberaug.benching.batches import BatchCost, measure_batch_operations
from fiberaug.benching.cuts import Step, cut_at, cuts_of, present_cut, said, steps_of
from fiberaug.benching.opened import Opened, default_device, open_set, with_form
from fiberaug.benching.operations import OperationCost, measure_operations
from fiberaug.benching.options import BenchOptions
from fiberaug.benching.stages import StageTimes, measure_stages
from fiberaug.benching.turns import LoaderSpeed, race
from fiberaug.errors import FiberAugError, UsageError
from fiberaug.recipe import Recipe

__all__ = [
    "Cut",
    "Placement",
    "StepCost",
    "estimate",
    "measure_placement",
    "read_recipe",
    "recommended",
]

_RACED = 3
"""Cuts that are measured as whole loaders, besides the present one."""
_WORTH = 0.05
"""What a cut has to gain to be worth a change."""
_DISTURBED = 0.15
"""Of the CPUs: where other programs use more, rates are not to be trusted."""


class StepCost(NamedTuple):
    """What an operation costs on both sides."""

    step: Step
    worker: OperationCost | None
    """In a worker. None: not there, or never applied."""

    batch: BatchCost | None
    """On batches. None: not there, or images have several sizes."""


class Cut(NamedTuple):
    """A place where a recipe can be cut."""

    steps: int
    """How many operations workers do."""

    name: str
    """In words."""

    refused: str
    """Why it cannot be run on this set; may be empty."""

    times: StageTimes | None = None
    """What a sample costs in each stage."""

    workers: int = 0
    """The number of workers that is best for it, among those that were tried."""

    estimate: float = 0.0
    """Images a second that follow from the stages."""

    speed: LoaderSpeed | None = None
    """Of the whole loader, where it was measured."""


class Placement(NamedTuple):
    """What was measured."""

    device: str
    steps: list[StepCost]
    cuts: list[Cut]
    present: Cut
    best: Cut
    """The present one, unless another was measured to be at least 5 % faster, and
    faster in each round than the present one in any."""

    recipe: Recipe
    """Of the best cut."""

    sure: bool
    """Whether other programs left the CPUs alone, as far as is known."""


def read_recipe(given: Any) -> Recipe:  # noqa: ANN401  # see BenchOptions
    """Return the recipe of a file, of a preset, or itself.

    Raises:
        UsageError: It is none.
        StoreError: The file cannot be read.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, str) and given in presets.names():
        return presets.preset(given)
    if isinstance(given, str | Path):
        return Recipe.from_file(given)
    raise UsageError(f"placement needs a recipe, got {given!r:.80}; give --recipe")


def measure_placement(
    options: BenchOptions,
    samples: int,
    cpus: int,
    rows: Callable[[StageTimes, int], int],
    tell: Callable[[str], None] = lambda _: None,
) -> Placement:
    """Return what each operation costs on both sides, and the best cut.

    Args:
        options: The set, the recipe, and how long.
        samples: Of a pass.
        cpus: CPUs that may be used.
        rows: How many rows a pass of a loader has, by what a sample costs and workers.
        tell: Called with what is being measured.

    Raises:
        UsageError: There is no recipe, or it is refused.
        FiberAugError: As a loader does.
    """
    recipe = read_recipe(options.recipe)
    device = options.device or default_device()
    steps, present = steps_of(recipe), present_cut(recipe)
    opened: dict[int, Opened] = {}
    cuts: list[Cut] = []
    tell("cuts")
    for number in cuts_of(recipe, steps):
        name = said(steps, number)
        given = replace(options, recipe=cut_at(recipe, steps, number), device=device)
        try:
            opened[number] = with_form(open_set(given))
            times = measure_stages(opened[number], samples, options.seconds / 8)
        except FiberAugError as error:
            if number == present:
                raise
            opened.pop(number, None)
            cuts.append(Cut(number, name, str(error)))
            continue
        guesses = {w: estimate(times, w, cpus) for w in options.tried}
        workers = _fewest(guesses)
        cuts.append(Cut(number, name, "", times, workers, guesses[workers]))
    tell("operations")
    costs = _costs(steps, opened, options.seconds / 4, samples)
    tell("loaders of cuts")
    cuts = _raced(cuts, present, opened, options.seconds, rows)
    now = next(cut for cut in cuts if cut.steps == present)
    best = recommended(cuts, now)
    others = [cut.speed.others or 0.0 for cut in cuts if cut.speed is not None]
    return Placement(
        device, costs, cuts, now, best, cut_at(recipe, steps, best.steps),
        sure=max(others) < _DISTURBED * cpus,
    )  # fmt: skip


def estimate(times: StageTimes, workers: int, cpus: int) -> float:
    """Return the images a second that a loader would reach, by its slowest part.

    Args:
        times: What a sample costs.
        workers: Of the loader; 0: the main process does everything.
        cpus: CPUs that may be used.
    """
    main, gpu = times.received, times.developed * times.gpu
    if not workers:
        return 1 / max(times.worker + main, gpu, 1e-9)
    every = times.stages.whole / cpus
    return 1 / max(times.worker / workers, main, gpu, every, 1e-9)


def recommended(cuts: Sequence[Cut], present: Cut) -> Cut:
    """Return the fastest cut, as measured; the present one unless that is worth it.

    Args:
        cuts: All of them.
        present: The one of the recipe as it is, measured.
    """
    now = present.speed
    if now is None:
        return present
    best, fastest = present, (1 + _WORTH) * now.images_per_s
    for cut in cuts:
        speed = cut.speed
        if speed and speed.images_per_s > fastest and speed.low > now.high:
            best, fastest = cut, speed.images_per_s
    return best


def _fewest(guesses: dict[int, float]) -> int:
    """Return the fewest workers within 5 % of the best."""
    most = max(guesses.values())
    return next(w for w in sorted(guesses) if guesses[w] >= (1 - _WORTH) * most)


def _costs(
    steps: Sequence[Step], opened: dict[int, Opened], seconds: float, samples: int
) -> list[StepCost]:
    """Return the costs of the steps: on both sides as far as a cut has them there."""
    last, first = max(opened), min(opened)
    in_workers: dict[int, OperationCost] = {}
    for cost in measure_operations(opened[last], samples, seconds):
        number = int(cost.path.partition(".")[0])
        before = in_workers.get(number, cost._replace(seconds=0.0))
        in_workers[number] = cost._replace(  # of a composition: all of its operations
            seconds=before.seconds + cost.seconds,
            applied=max(before.applied, cost.applied),
        )
    on_batches = dict(
        enumerate(measure_batch_operations(opened[first], seconds), start=first)
    )
    return [
        StepCost(step, in_workers.get(i), on_batches.get(i))
        for i, step in enumerate(steps)
    ]


def _raced(
    cuts: list[Cut],
    present: int,
    opened: dict[int, Opened],
    seconds: float,
    rows: Callable[[StageTimes, int], int],
) -> list[Cut]:
    """Return the cuts, the present one and the most promising ones measured."""
    others = sorted(
        (cut for cut in cuts if cut.times is not None and cut.steps != present),
        key=lambda cut: -cut.estimate,
    )
    chosen = [cut for cut in cuts if cut.steps == present] + others[:_RACED]
    entries = [
        (opened[cut.steps], cut.workers, rows(cut.times, cut.workers))
        for cut in chosen
        if cut.times is not None
    ]
    speeds = race(entries, seconds)
    found = {cut.steps: speed for cut, speed in zip(chosen, speeds, strict=True)}
    return [cut._replace(speed=found.get(cut.steps)) for cut in cuts]
