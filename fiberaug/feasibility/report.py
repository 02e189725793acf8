"""The whole answer: data, routes, and the one to begin with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.feasibility.data import Data, look_at_data
from fiberaug.feasibility.evidence import ENOUGH, FEW
from fiberaug.feasibility.others import other_routes
from fiberaug.feasibility.routes import Route
from fiberaug.feasibility.speed import operations_per_s
from fiberaug.feasibility.trainings import Asked, training_routes
from fiberaug.training.memory import budget_bytes

__all__ = ["Report", "examine_synthesis"]

_A_WEEK = 7 * 24  # hours; nobody waits longer to see whether it helps
_DETAILED = 256  # px: of smaller photos a model of 512 px makes little


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What synthesis would take."""

    data: Data
    budget: int
    """Bytes of memory that may be used."""

    device: str
    routes: tuple[Route, ...]
    recommended: str
    """Name of a route."""

    reason: str
    """Why that one."""

    @property
    def possible(self) -> bool:
        """Whether any route that makes new images fits."""
        return any(one.fits for one in self.routes if one.name != "augment")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return {
            "data": self.data.to_dict(), "budget_bytes": self.budget,
            "device": self.device, "routes": [one.to_dict() for one in self.routes],
            "recommended": self.recommended, "reason": self.reason,
        }  # fmt: skip


def examine_synthesis(
    shards: str,
    *,
    memory: str | int | None = None,
    size: str | None = None,
    device: str | torch.device | None = None,
    index_dir: str | Path | None = None,
    probe: bool = True,
) -> Report:
    """Return what each way to more images would take, and what is published of it.

    Nothing is trained and nothing written; a few steps are made to tell the time. It
    says what fits, never that it helps: :mod:`fiberaug.evaluate` measures that.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        memory: Most that may be used, such as ``"8GB"``; None: 85 % of what is free.
        size: Of what a small generator would learn, such as ``"96x128"``; None: as the
            photos suggest.
        device: Where it would run; None: a GPU where there is one.
        index_dir: Folder of the side-cars; None: beside the shards.
        probe: Make steps to tell the time.

    Raises:
        UsageError: An argument is out of range, or the shards name nothing.
        DataRefused: There are no photos, or nothing to learn from them.
        StoreError: They cannot be read.
    """
    where = _device(device)
    budget = budget_bytes(memory, where)
    folder = None if index_dir is None else Path(index_dir)
    data = look_at_data(shards, index_dir=folder)
    asked = Asked(
        shards=shards, memory=memory, size=size, device=where, index_dir=folder,
        probe=probe,
    )  # fmt: skip
    rate = operations_per_s(where)
    routes = (
        *training_routes(data, asked),
        *other_routes(data, asked, budget=budget, operations_per_s=rate),
    )
    name, reason = _recommended(data, {one.name: one for one in routes})
    return Report(
        data=data, budget=budget, device=str(where), routes=routes, recommended=name,
        reason=reason,
    )  # fmt: skip


def _device(told: str | torch.device | None) -> torch.device:
    if told is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(told)
    except RuntimeError as error:
        raise UsageError(f"device must be such as cpu or cuda, got {told!r}") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"there is no GPU here that torch can use for device={told!r}: leave it out"
        )
    if found.type not in {"cpu", "cuda"}:
        raise UsageError(f"device must be cpu or cuda, got {told!r}")
    return found


def _recommended(data: Data, routes: dict[str, Route]) -> tuple[str, str]:
    """Return a route that fits within a week, and why it and no other."""
    n, whose = data.least, "of the smallest class" if data.counts else "in all"
    detailed = data.short_px is None or data.short_px >= _DETAILED
    order: list[tuple[str, str]] = []
    if detailed and data.regions is not None:
        why = "boxes or masks say what may be repainted, and labels are kept"
        order += [("edit", why), ("paste", f"{why}; it needs little")]
    elif detailed and n < FEW:
        why = f"{n} photos {whose}: knowledge from outside has to come in"
        order += [("edit", why), ("lora", why)]
    elif detailed:
        why = f"{n} photos {whose}, large enough for a base of 512 px"
        order += [("lora", why), ("edit", why)]
    if n >= ENOUGH:
        small = "" if detailed else ", too small for a base of 512 px"
        why = (
            f"{n} photos {whose}{small}; of a generator that saw nothing else small"
            " gains are known at best"
        )
        order += [("diffusion", why), ("gan", why)]
    for name, why in order:
        route = routes[name]
        if route.fits and (route.hours is None or route.hours <= _A_WEEK):
            return name, why
    left = "" if detailed or n >= ENOUGH else (
        f": {n} photos {whose}, of which a generator from scratch harms"
        " more than it helps, and they are too small for a pretrained one"
    )  # fmt: skip
    tried = "nothing else that is advised fits into memory and a week" if order else (
        "no way is advised for such data"
    )  # fmt: skip
    return "augment", f"{tried}{left}"
