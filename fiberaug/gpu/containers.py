"""Kornia's containers that draw which of their augmentations run, and in what order."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.operation import Operation, Params, Shape
from fiberaug.gpu.spec import Spec, spec_of

__all__ = ["KorniaContainer"]


class KorniaContainer(Operation):
    """A container with ``random_apply``: one draw of children for each unit.

    The rows of a unit run through the same children in the same order, with parameters
    of their own, as the rows of a batch do in Kornia. Units run one by one.

    Args:
        module: ``AugmentationSequential`` or ``ImageSequential`` of augmentations that
            keep the size of images.

    Raises:
        UsageError: A child is none, or changes the size.
    """

    joined = False

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = cast("Any", module)
        self.children = [KorniaOperation(child) for child in self.module]
        for child in self.children:
            if child.resizes:
                raise UsageError(
                    f"{self.name} draws whether {child.name} runs, and it changes the"
                    " size of images: batches would differ in size; put it outside"
                )
            self.loses_points = self.loses_points or child.loses_points
        self.moves = any(child.moves for child in self.children)
        self._number = {name: i for i, (name, _) in enumerate(module.named_children())}

    def draw(self, shape: Shape) -> Params:
        """Return the parameters of each step, and which rows any of them is done to."""
        drawn: Params = {}
        gates = [torch.zeros(shape[0])]
        for step, (name, _) in enumerate(self.module.get_forward_sequence()):
            number = self._number[name]
            params = self.children[number].draw(shape)
            gates.append(params["batch_prob"].float())
            for parameter, value in params.items():
                drawn[f"{step}.{number}.{parameter}"] = value
        return {**drawn, "batch_prob": torch.stack(gates).amax(0)}

    def _steps(self, params: Params) -> list[tuple[int, KorniaOperation, Params]]:
        """Return (step, child, its parameters) in order."""
        found: dict[tuple[int, int], Params] = {}
        for name, value in params.items():
            if name != "batch_prob":
                step, number, parameter = name.split(".", 2)
                found.setdefault((int(step), int(number)), {})[parameter] = value
        return [(s, self.children[n], found[s, n]) for s, n in sorted(found)]

    def take(self, params: Params, rows: Sequence[int]) -> Params:
        """Return the parameters of some rows of a unit."""
        index = torch.as_tensor(list(rows), dtype=torch.long)
        taken = {"batch_prob": params["batch_prob"][index]}
        for step, child, own in self._steps(params):
            number = self.children.index(child)
            for parameter, value in child.take(own, rows).items():
                taken[f"{step}.{number}.{parameter}"] = value
        return taken

    def run(self, image: torch.Tensor, params: Params) -> torch.Tensor:
        """Return images."""
        for _, child, own in self._steps(params):
            image = child.run(image, own)
        return image

    def run_mask(self, mask: torch.Tensor, params: Params) -> torch.Tensor:
        """Return masks, to the nearest pixel."""
        for _, child, own in self._steps(params):
            mask = child.run_mask(mask, own)
        return mask

    def matrix(self, params: Params, shape: Shape) -> torch.Tensor | None:
        """Return float32 [B, 3, 3]: pixels before to pixels after."""
        if not self.moves or self.loses_points:
            return None
        whole = torch.eye(3).expand(shape[0], 3, 3)
        for _, child, own in self._steps(params):
            made = child.matrix(own, shape)
            whole = whole if made is None else made @ whole
        return whole

    def row(self, params: Params, row: int) -> dict[str, Any]:
        """Return what is done to a row: a list of operations, in their order."""
        return {
            "operations": [
                {child.name: child.row(own, row)}
                for _, child, own in self._steps(params)
                if bool(child.applied(own)[row])
            ]
        }

    def spec(self) -> Spec:
        """Return the container as a recipe holds it."""
        least, most = self.module.random_apply
        weights = self.module.random_apply_weights.tolist()
        return {
            "ImageSequential": {
                "random_apply": [least, most - 1],
                "random_apply_weights": weights,
                "transforms": [spec_of(child) for child in self.children],
            }
        }
