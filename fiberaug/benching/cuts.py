"""Where a recipe can be cut: what workers do to samples, and the rest to batches.

Batch operations come after all others, so an operation can move to them only together
with all that stand behind it, and back only with all before it.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from fiberaug.benching.twins import Operation, in_worker, on_batch
from fiberaug.mixes.blending import Blend
from fiberaug.mixes.building import build_mixes
from fiberaug.recipe import Recipe

__all__ = ["Step", "cut_at", "cuts_of", "present_cut", "said", "steps_of", "to_yaml"]


class Step(NamedTuple):
    """An operation of a recipe, whose place is to be chosen."""

    worker: Operation | None
    """As workers do it to a sample. None: they cannot."""

    batch: Operation | None
    """As it is done to a batch. None: it cannot be."""

    note: str
    """In what the two differ; or why there is only one."""

    @property
    def name(self) -> str:
        """Its name in workers, or the only one that it has."""
        return next(iter(self.worker or self.batch or {}))


def steps_of(recipe: Recipe) -> list[Step]:
    """Return the operations of a recipe in their order.

    A ``Normalize`` that ends the section ``cpu`` is none of them: it is done behind the
    batch operations wherever these begin.
    """
    steps = []
    for operation in recipe.cpu[: present_cut(recipe)]:
        batch, note = on_batch(operation)
        steps.append(Step(operation, batch, note))
    for operation in recipe.gpu:
        worker, note = in_worker(operation)
        steps.append(Step(worker, operation, note))
    return steps


def present_cut(recipe: Recipe) -> int:
    """Return how many of the steps workers do now."""
    count = len(recipe.cpu)
    names = [next(iter(operation)) for operation in recipe.cpu]
    if names and names[-1] == "ToTensorV2":
        count -= 1
    if recipe.normalize is None and count and names[count - 1] == "Normalize":
        given = recipe.cpu[count - 1]["Normalize"] or {}
        standard = given.get("normalization", "standard") == "standard"
        count -= standard and given.get("p", 1) >= 1
    return count


def cuts_of(recipe: Recipe, steps: Sequence[Step]) -> list[int]:
    """Return all numbers of steps that workers can do, in ascending order.

    The present one is always there. It is the only one where samples are composed out
    of several (Mosaic, CopyPaste): this stands between the two sides.
    """
    present = present_cut(recipe)
    composes = any(not isinstance(m, Blend) for m in build_mixes(recipe.batch))
    possible = [
        cut
        for cut in range(len(steps) + 1)
        if all(step.worker for step in steps[:cut])
        and all(step.batch for step in steps[cut:])
        and not composes
    ]
    return sorted({present, *possible})


def cut_at(recipe: Recipe, steps: Sequence[Step], cut: int) -> Recipe:
    """Return the recipe of which workers do the first steps, and batches the rest.

    Args:
        recipe: The recipe.
        steps: Its steps.
        cut: How many workers do; one of :func:`cuts_of`.
    """
    present = present_cut(recipe)
    if cut == present:
        return recipe
    worker = [step.worker for step in steps[:cut] if step.worker is not None]
    batch = [step.batch for step in steps[cut:] if step.batch is not None]
    return Recipe(
        cpu=(*worker, *recipe.cpu[present:]),
        gpu=tuple(batch),
        batch=recipe.batch,
        decode=recipe.decode,
        normalize=recipe.normalize,
    )


def said(steps: Sequence[Step], cut: int) -> str:
    """Return a cut in words."""
    if cut == len(steps):
        return "all in workers"
    return "all on batches" if not cut else f"batches from {steps[cut].name} on"


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe as the text of a file, one operation a line.

    >>> print(to_yaml(Recipe(cpu=({"HorizontalFlip": {"p": 0.5}},))))
    version: 1
    cpu:
      - HorizontalFlip: {p: 0.5}
    """
    lines = []
    for name, section in recipe.to_dict().items():
        if isinstance(section, list):
            lines.append(f"{name}:" if section else f"{name}: []")
            lines += [f"  - {_in_line(operation)}" for operation in section]
        else:
            lines.append(_in_line({name: section}))
    return "\n".join(lines)


def _in_line(value: dict[str, Any]) -> str:
    """Return a mapping as ``name: {argument: value}``."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=math.inf
    )
    return text.strip()[1:-1]
