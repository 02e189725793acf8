"""Fits a training into the memory that it may use: the cheapest levers that do."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from fiberaug.errors import UsageError
from fiberaug.machine import look
from fiberaug.sizes import format_bytes, parse_bytes
from fiberaug.training.footprint_process import address_space_left, resident_bytes
from fiberaug.training.levers import Levers, next_kind

__all__ = ["MemoryPlan", "budget_bytes", "is_out_of_memory", "plan_memory"]

_SHARE = 0.85  # of what is free, where no budget is given
_SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory",
    "not enough memory", "cublas_status_alloc_failed", "std::bad_alloc",
    "could not create a memory", "could not create a primitive",
    "cudnn_status_alloc_failed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPlan:
    """How a training fits into memory."""

    levers: Levers
    """Those to take."""

    predicted: int
    """Bytes at the worst moment of a step, all told."""

    budget: int
    """Bytes that may be used."""

    said: tuple[str, ...] = ()
    """What was taken and why, a line each; empty: nothing was needed."""


def plan_memory(
    measure: Callable[[Levers], int],
    budget: int,
    rows: int,
    *,
    levers: Levers | None = None,
    may_bf16: bool = True,
    penalised: bool = True,
) -> MemoryPlan:
    """Return the levers, cheapest in quality first, with which a training fits.

    More parts change nothing but the order of sums, so they come first; then bfloat16;
    then penalties by finite differences with recomputation. Of parts the fewest are
    taken that fit, doubling.

    Args:
        measure: Bytes that a training takes with some levers.
        budget: Bytes that it may take.
        rows: Of a step, of this process.
        levers: Those that are taken in any case.
        may_bf16: Whether bfloat16 may be one.
        penalised: See :func:`fiberaug.training.levers.next_kind`.

    Raises:
        UsageError: It does not fit with all of them: the least that it takes, and what
            else would make it less.
    """
    taken: Levers | None = levers or Levers()
    known: dict[Levers, int] = {}

    def needs(some: Levers) -> int:
        if some not in known:
            known[some] = measure(some)
        return known[some]

    first = taken or Levers()
    kinds: list[str] = []
    while taken is not None:
        choices = _parts(taken, rows)
        # the first is tried first: of many parts the trace takes as many times as long
        if needs(choices[0]) <= budget or needs(choices[-1]) <= budget:
            found = _fewest(choices, needs, budget)
            return MemoryPlan(
                levers=found, predicted=needs(found), budget=budget,
                said=_told(first, found, kinds, rows, needs, budget),
            )  # fmt: skip
        more = next_kind(taken, may_bf16=may_bf16, penalised=penalised)
        taken = None
        if more is not None:
            taken = more[0]
            kinds.append(more[1])
    least = min(known.values())
    raise UsageError(
        f"the training does not fit into {format_bytes(budget)}: with all that makes it"
        f" less ({min(known, key=needs).told(rows)}) it takes {format_bytes(least)};"
        " make the images smaller (half the sides: about a quarter), the networks"
        f" narrower (width), or give memory={format_bytes(_rounded(least))!r}"
    )


def _rounded(count: int) -> int:
    """Return bytes rounded up to two digits, so that the text says enough."""
    unit = int("1".ljust(len(str(count)) - 1, "0"))
    return -(-count // unit) * unit


def _parts(levers: Levers, rows: int) -> list[Levers]:
    found = [levers]
    while (more := found[-1].more_parts(rows)) is not None:
        found.append(more)
    return found


def _fewest(
    choices: list[Levers], needs: Callable[[Levers], int], budget: int
) -> Levers:
    """Return the first that fits, where more parts take less memory: by halving."""
    if needs(choices[0]) <= budget:
        return choices[0]
    low, high = 1, len(choices) - 1
    while low < high:
        middle = (low + high) // 2
        if needs(choices[middle]) <= budget:
            high = middle
        else:
            low = middle + 1
    return choices[low]


def _told(
    first: Levers,
    found: Levers,
    kinds: list[str],
    rows: int,
    needs: Callable[[Levers], int],
    budget: int,
) -> tuple[str, ...]:
    if found == first:
        return ()
    before, after = format_bytes(needs(first)), format_bytes(needs(found))
    said = list(kinds)
    if found.micro_batches > first.micro_batches:
        only = replace(Levers(), micro_batches=found.micro_batches)
        said.insert(0, only.told(rows))
    why = f"to stay below {format_bytes(budget)}"
    return (f"{why}: {'; '.join(said)} ({before} -> {after})",)


def budget_bytes(
    memory: int | str | None = None, device: torch.device | None = None
) -> int:
    """Return the bytes that a training may use, of this process or of its GPU.

    Args:
        memory: Such as ``"2GB"``. None: 85 % of what is free, and what this process
            has already.
        device: Where it trains; None: the CPU.

    Raises:
        UsageError: The text is no size.
    """
    if memory is not None:
        return parse_bytes(memory, name="memory")
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        own: int = torch.cuda.memory_reserved(device)
        return int(_SHARE * free) + own
    free = look().available or _UNKNOWN
    left = address_space_left()
    if left is not None:
        free = min(free, left)
    return int(free * _SHARE) + resident_bytes()


_UNKNOWN = 4 * 10**9  # bytes, where a system does not say what is free


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left, of CPU or GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
