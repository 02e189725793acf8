"""All measurements of a set and a recipe, one after the other."""

from dataclasses import replace
from typing import Any, NamedTuple, Self

from fiberaug.allocator import keep_freed_memory
from fiberaug.bars import ProgressBar
from fiberaug.benching.hints import Hint, Trials, give_hints
from fiberaug.benching.opened import Opened, open_set, with_form
from fiberaug.benching.operations import OperationCost, measure_operations, within
from fiberaug.benching.options import BenchOptions, usable_cpus
from fiberaug.benching.photos import Ceilings, measure_ceilings
from fiberaug.benching.placement import Placement, measure_placement, read_recipe
from fiberaug.benching.stages import StageTimes, measure_stages, samples_for
from fiberaug.benching.trying import try_otherwise
from fiberaug.benching.turns import (
    ROUNDS,
    LoaderSpeed,
    StepWait,
    measure_loaders,
    measure_steps,
)
from fiberaug.benching.verdict import Verdict, judge

__all__ = ["Bench", "run_bench"]

_LEAST_BATCHES = 2  # of each worker in a pass
_STEPS = ("ceilings", "stages", "operations", "trials")
_PLACEMENT = ("cuts", "operations", "loaders of cuts")


class Bench(NamedTuple):
    """What was measured."""

    options: BenchOptions
    rows: int | None
    """Samples of an epoch; None: not known."""

    shards: int
    cpus: int
    """Whole CPUs that may be used."""

    ceilings: Ceilings
    times: StageTimes
    operations: list[OperationCost]
    speeds: list[LoaderSpeed]
    verdict: Verdict
    step: StepWait | None
    """None: no length of a step was given."""

    trials: Trials
    """The same otherwise, where that could help."""

    hints: list[Hint]

    placement: Placement | None = None
    """Operations in workers or on batches. None: was not asked for."""


def run_bench(options: BenchOptions) -> Bench:
    """Return how fast a set comes, where the time goes, what limits, and what helps.

    Freed memory stays with this process from then on, as with a worker.

    It takes about ``seconds`` for each number of workers and three times as long for
    the rest, and longer where a few batches take longer than that; the placement takes
    as long for each of up to four cuts.

    Args:
        options: The set, the recipe, and how long.

    Raises:
        UsageError: An argument, the recipe or the split is refused.
        StoreError: A shard or the recipe cannot be read.
        DataRefused: The set is damaged.
        WorkerDied: A worker ended.
    """
    keep_freed_memory()  # as workers do: the stages are measured here
    if options.placement:
        options = replace(options, recipe=read_recipe(options.recipe))
    opened = open_set(options)
    seconds, cpus = options.seconds, usable_cpus()
    turns = ROUNDS * len(options.tried) + (options.train_step_ms is not None)
    steps = (*_STEPS, *_PLACEMENT) if options.placement else _STEPS
    with _Bar(len(steps) + turns, shown=options.progress) as bar:
        bar.at("reading and decoding")
        # Sized for the stages: a pass shall take a fifth of the time that there is.
        guess = opened.batch_size * max(1, round(seconds * 200 / opened.batch_size))
        ceilings = measure_ceilings(opened, guess, seconds / 2)
        bar.at("stages")
        opened = with_form(opened)
        samples = samples_for(opened, seconds / 5)
        times = measure_stages(opened, samples, seconds)
        bar.at("operations")
        costs = measure_operations(opened, samples, seconds / 4)
        operations = within(costs, times.stages.augment)
        bar.at("trials")
        trials = try_otherwise(opened, options, times, ceilings, seconds / 8)
        rows = _Rows(opened, times, seconds / ROUNDS, cpus)
        bar.at("loaders")
        speeds = measure_loaders(
            opened, options.tried, rows, seconds, lambda w: bar.at(f"{w} workers")
        )
        verdict = judge(times, ceilings, speeds, cpus)
        step = None
        if options.train_step_ms is not None:
            bar.at("steps")
            step_s, best = options.train_step_ms / 1000, verdict.workers
            step = measure_steps(opened, best, rows(best), step_s, seconds)
        placement = None
        if options.placement:
            placement = measure_placement(
                options, min(samples, 2 * opened.batch_size), cpus,
                lambda times, w: _Rows(opened, times, seconds / ROUNDS, cpus)(w),
                bar.at,
            )  # fmt: skip
    hints = give_hints(
        opened, times, ceilings,
        operations=operations, verdict=verdict, trials=trials,
    )  # fmt: skip
    return Bench(
        options, opened.rows, len(opened.dataset.setup.refs), cpus, ceilings, times,
        operations, speeds, verdict, step, trials, hints, placement,
    )  # fmt: skip


class _Rows:
    """How many rows a pass has with some workers, so that it takes about so long."""

    def __init__(
        self, opened: Opened, times: StageTimes, seconds: float, cpus: int
    ) -> None:
        self._opened, self._cpus = opened, cpus
        longest = max(times.stages.whole, times.received, times.developed)
        self._each_s, self._seconds = max(longest, 1e-7), seconds

    def __call__(self, workers: int) -> int:
        size, busy = self._opened.batch_size, max(1, workers)
        rows = self._seconds / self._each_s * min(busy, self._cpus)
        batches = max(_LEAST_BATCHES * busy, round(rows / size))
        first, end = self._opened.span(batches * size)
        return end - first


class _Bar:
    """Says on a terminal what is being measured."""

    def __init__(self, steps: int, *, shown: bool) -> None:
        form = "{desc:<22}|{bar}| {n_fmt}/{total_fmt} [{elapsed}]"
        self._bar: Any = ProgressBar(
            total=steps, leave=False, bar_format=form, disable=None if shown else True
        )
        self._begun = False

    def at(self, what: str) -> None:
        self._bar.set_description_str(what)
        self._bar.update(self._begun)
        self._begun = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.close()
