"""What a pretrained pipeline would take, and the levers with which it fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.pretrained.footprint import Footprint
from fiberaug.pretrained.levers import Levers, ladder
from fiberaug.sizes import format_bytes, parse_bytes

__all__ = ["Plan", "is_out_of_memory", "plan_for"]

_SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory",
    "not enough memory", "cublas_status_alloc_failed", "std::bad_alloc",
    "could not create a memory", "could not create a primitive",
    "cudnn_status_alloc_failed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a pipeline would take."""

    levers: Levers
    """What makes it take less."""

    peak: int
    """Bytes at the worst moment, of this process or of its GPU, predicted."""

    plain: int
    """Bytes without levers."""

    budget: int | None
    """Bytes that it may take; None: as many as there are."""

    parts: Mapping[str, int]
    """Bytes of ``base``, ``weights`` and ``work`` at the worst moment."""

    parameters: Mapping[str, int]
    """Weights of each component, by name."""

    size: tuple[int, int]
    """Height and width of an image, px."""

    rows: int
    """Images that are made at a time."""

    device: str
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        return {
            "levers": list(self.levers.names), "peak_bytes": self.peak,
            "plain_bytes": self.plain, "budget_bytes": self.budget,
            "parts_bytes": dict(self.parts), "parameters": dict(self.parameters),
            "size": list(self.size), "rows": self.rows, "device": self.device,
            "dtype": self.dtype,
        }  # fmt: skip

    def __str__(self) -> str:
        """Return it as people read it."""
        counts = [f"{n:,} of the {name}" for name, n in self.parameters.items()]
        parts = [f"{name} {format_bytes(n)}" for name, n in self.parts.items()]
        most = "" if self.budget is None else f" of {format_bytes(self.budget)}"
        levers = "; ".join(self.levers.names) or "none"
        lines = [
            f"weights: {', '.join(counts)}",
            f"images: {self.size[0]} x {self.size[1]} px, {self.rows} at a time",
            f"computed: on {self.device} in {self.dtype}",
            f"memory: {format_bytes(self.peak)}{most} ({', '.join(parts)})",
            f"levers: {levers}",
        ]
        if self.levers.names:
            lines.append(f"without them: {format_bytes(self.plain)}")
        return "\n".join(lines)


def plan_for(
    footprint: Footprint,
    *,
    memory: str | int | None,
    may_bf16: bool,
    may_fp8: bool,
    levers: Levers | None = None,
) -> Plan:
    """Return the levers, cheapest in quality first, with which a pipeline fits.

    Args:
        footprint: What it takes with some levers.
        memory: Most that it may take, such as ``"8GB"``. None: no levers are taken.
        may_bf16: See :func:`fiberaug.pretrained.levers.ladder`.
        may_fp8: See there.
        levers: Those that are taken in any case.

    Raises:
        UsageError: It does not fit with all of them: what it takes at least, and what
            else would make it less.
    """
    budget = None if memory is None else parse_bytes(memory, name="memory")
    steps = ladder(
        cuda=footprint.cuda, rows=footprint.rows, may_bf16=may_bf16, may_fp8=may_fp8,
        start=levers,
    )  # fmt: skip
    plain = least = None
    for step in steps:
        needs = footprint.needs(step)
        plain = needs if plain is None else plain
        least = needs if least is None else min(least, needs)
        if budget is None or needs <= budget:
            return _planned(footprint, step, budget, plain)
    assert budget is not None  # noqa: S101  # for the type: without one the first fits
    assert least is not None  # noqa: S101  # for the type: there is a first
    height, width = footprint.size
    fewer = ", fewer rows" if footprint.rows > 1 else ""
    device = "" if footprint.cuda else ", a GPU (weights wait in the CPU's memory then)"
    raise UsageError(
        f"the pipeline does not fit into {format_bytes(budget)}: at {height} x {width}"
        f" px it takes {format_bytes(least)} with all that makes it less"
        f" ({'; '.join(step.names) or 'nothing'}). What would fit:"
        f" memory={format_bytes(least * 21 // 20)!r}, smaller images (size){fewer}"
        f"{device}"
    )


def _planned(
    footprint: Footprint, levers: Levers, budget: int | None, plain: int
) -> Plan:
    dtype = torch.bfloat16 if levers.bf16 else footprint.dtype
    return Plan(
        levers=levers, peak=footprint.needs(levers), plain=plain, budget=budget,
        parts=footprint.parts(levers), parameters=footprint.parameters,
        size=footprint.size, rows=footprint.rows,
        device="cuda" if footprint.cuda else "cpu",
        dtype=str(dtype).removeprefix("torch."),
    )  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left, of CPU or GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
