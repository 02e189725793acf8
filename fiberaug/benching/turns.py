"""Whole loaders with several numbers of workers, in turns."""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.benching.opened import Opened
from fiberaug.benching.options import usable_cpus
from fiberaug.loader import DataLoader
from fiberaug.parity.timing import cpu_seconds

__all__ = [
    "ROUNDS",
    "LoaderSpeed",
    "StepWait",
    "measure_loaders",
    "measure_steps",
    "race",
]

ROUNDS = 3


class LoaderSpeed(NamedTuple):
    """A loader with some workers: medians over the rounds."""

    workers: int
    images_per_s: float
    low: float
    """Of the slowest round, images a second."""

    high: float
    """Of the fastest round, images a second."""

    images_per_cpu_s: float
    """For each second of user and system time of this process and its workers."""

    cpus: float
    """CPUs that these kept busy."""

    others: float | None
    """CPUs that other programs kept busy meanwhile. None: not known."""

    first_batch_s: float
    """From the start of the loader, its processes included, s."""

    worker_bytes: int | None
    """Memory that each worker has for itself; None: no workers, or not known."""

    images: int
    """That were delivered and counted, over all rounds."""


class StepWait(NamedTuple):
    """How a training loop with steps of a given length would do."""

    step_s: float
    workers: int
    wait_s: float
    """Mean time that a step waits for its batch, s."""

    steps: int


class _Turn(NamedTuple):
    images: int
    wall_s: float
    cpu_s: float
    others_s: float | None
    first_batch_s: float
    worker_bytes: int | None


def measure_loaders(
    opened: Opened,
    workers: tuple[int, ...],
    rows: Callable[[int], int],
    seconds: float,
    tell: Callable[[int], None] = lambda _: None,
) -> list[LoaderSpeed]:
    """Return the speed with each number of workers, over alternating rounds.

    Args:
        opened: The set.
        workers: The numbers.
        rows: How many rows a pass with some workers has.
        seconds: Least length of the passes with one number of workers, s, over all
            rounds.
        tell: Called with the number of workers after each turn.

    Raises:
        FiberAugError: As a loader does.
    """
    return race([(opened, w, rows(w)) for w in workers], seconds, tell)


def race(
    entries: Sequence[tuple[Opened, int, int]],
    seconds: float,
    tell: Callable[[int], None] = lambda _: None,
) -> list[LoaderSpeed]:
    """Return the speeds of loaders that take turns, in their order.

    Args:
        entries: (set, workers, rows of a pass) of each loader.
        seconds: Least length of the passes of a loader, s, over all rounds.
        tell: Called with the number of workers after each turn.

    Raises:
        FiberAugError: As a loader does.
    """
    proven = {id(opened): (opened, 0, 0) for opened, *_ in entries}
    for opened, workers, rows in entries:
        _, most, longest = proven[id(opened)]
        proven[id(opened)] = opened, max(workers, most), max(rows, longest)
    for opened, workers, rows in proven.values():
        _prove(opened, rows, workers)
    turns: list[list[_Turn]] = [[] for _ in entries]
    for _ in range(ROUNDS):
        for turn, (opened, workers, rows) in zip(turns, entries, strict=True):
            turn.append(_turn(opened, workers, rows, seconds / ROUNDS))
            tell(workers)
    return [_speed(e[1], turn) for e, turn in zip(entries, turns, strict=True)]


def measure_steps(
    opened: Opened, workers: int, rows: int, step_s: float, seconds: float
) -> StepWait:
    """Return how long steps wait for their batches, where each takes some time.

    The loop sleeps for the length of a step: a GPU works, and the CPUs are free.

    Args:
        opened: The set.
        workers: Of the loader.
        rows: Of a pass.
        step_s: Length of a step, s.
        seconds: How long, s.
    """
    waited, steps = 0.0, 0
    with opened.loader(workers) as loader:
        _count(_pass(opened, loader, opened.batch_size * max(1, workers)))
        ends = time.perf_counter() + seconds
        while not steps or time.perf_counter() < ends:
            batches = _pass(opened, loader, rows)
            next(batches, None)  # a pass begins with an empty queue
            time.sleep(step_s)
            asked = time.perf_counter()
            for _ in batches:
                waited += time.perf_counter() - asked
                steps += 1
                time.sleep(step_s)
                asked = time.perf_counter()
            if not steps:  # a set of one batch
                break
    return StepWait(step_s, workers, waited / max(1, steps), steps)


def _prove(opened: Opened, rows: int, workers: int) -> None:
    """Make all rows once: later passes are those of a second epoch."""
    with opened.loader(workers) as loader:
        _count(_pass(opened, loader, rows))


def _turn(opened: Opened, workers: int, rows: int, seconds: float) -> _Turn:
    before = {child.pid for child in multiprocessing.active_children()}
    with opened.loader(workers) as loader:
        asked = time.perf_counter()
        batches = _pass(opened, loader, opened.batch_size * max(1, workers))
        next(batches, None)
        first_batch_s = time.perf_counter() - asked
        _count(batches)
        images = 0
        busy_s = _busy_seconds()
        wall_s, cpu_s = time.perf_counter(), cpu_seconds()
        ends = wall_s + seconds
        while not images or time.perf_counter() < ends:
            images += _count(_pass(opened, loader, rows))
        wall_s, cpu_s = time.perf_counter() - wall_s, cpu_seconds() - cpu_s
        own = [c.pid for c in multiprocessing.active_children() if c.pid not in before]
        taken = [size for pid in own if (size := _own_bytes(pid)) is not None]
    others_s = None
    if busy_s is not None:
        others_s = max(0.0, (_busy_seconds() or 0.0) - busy_s - cpu_s)
    each = int(statistics.median(taken)) if taken else None
    return _Turn(images, wall_s, cpu_s, others_s, first_batch_s, each)


def _pass(opened: Opened, loader: DataLoader, rows: int) -> Iterator[dict[str, Any]]:
    """Yield the batches of the rows that are looked at."""
    first, end = opened.span(rows)
    if opened.rows is not None:
        # What is resumed there ends by itself: every batch that was made is counted.
        start = {"epoch": 0, "position": first}
        loader.load_state_dict({**loader.state_dict(), **start})
        yield from loader
        return
    loader.set_epoch(0)
    yield from islice(loader, -(-end // opened.batch_size))


def _count(batches: Iterator[dict[str, Any]]) -> int:
    return sum(len(batch["__key__"]) - int(batch["is_pad"].sum()) for batch in batches)


def _busy_seconds() -> float | None:
    """Return what all programs together used of the CPUs, s; proc(5).

    None: this process may not use all CPUs, so others need not be in its way.
    """
    if usable_cpus() != os.cpu_count():
        return None
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            words = file.readline().split()
    except OSError:  # no Linux
        return None
    user, nice, system, _idle, _wait, *interrupts = map(int, words[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _own_bytes(pid: int | None) -> int | None:
    """Return the memory that a process shares with no other; proc(5)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it ended, or this is no Linux
        return None
    rows = [line.split() for line in text.splitlines()]
    own = [int(r[1]) for r in rows if r[0] in {"Private_Clean:", "Private_Dirty:"}]
    return 1024 * sum(own)


def _speed(workers: int, turns: list[_Turn]) -> LoaderSpeed:
    rates = sorted(turn.images / turn.wall_s for turn in turns)
    per_cpu = (turn.images / max(turn.cpu_s, 0.01) for turn in turns)
    taken = [turn.worker_bytes for turn in turns if turn.worker_bytes is not None]
    others = [t.others_s / t.wall_s for t in turns if t.others_s is not None]
    return LoaderSpeed(
        workers=workers, images_per_s=statistics.median(rates), low=rates[0],
        high=rates[-1], images_per_cpu_s=statistics.median(per_cpu),
        cpus=statistics.median(turn.cpu_s / turn.wall_s for turn in turns),
        others=statistics.median(others) if others else None,
        first_batch_s=statistics.median(turn.first_batch_s for turn in turns),
        worker_bytes=int(statistics.median(taken)) if taken else None,
        images=sum(turn.images for turn in turns),
    )  # fmt: skip
