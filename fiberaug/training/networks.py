"""Networks of the user's as a step calls them: what they take is found out once."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.calling import call_network, conditions_of

__all__ = [
    "Conditions",
    "Network",
    "check_network",
    "check_networks",
    "unwrapped",
    "weights",
]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What rows are conditioned on."""

    labels: torch.Tensor | None = None
    """int64 [B]."""

    places: torch.Tensor | None = None
    """float32 [B, 3]."""

    def rows(self, rows: slice) -> "Conditions":
        """Return those of some rows."""
        return Conditions(
            None if self.labels is None else self.labels[rows],
            None if self.places is None else self.places[rows],
        )

    def to(self, device: torch.device) -> "Conditions":
        """Return them on a device."""
        return Conditions(
            None if self.labels is None else self.labels.to(device),
            None if self.places is None else self.places.to(device),
        )


class Network:
    """A module that is given the conditions which its ``forward`` names.

    Args:
        module: Its first argument are images or latents; ``labels`` (also ``label``,
            ``y``, ``class_labels``) and ``places`` (also ``positions``) where it takes
            them.
        what: What it is called in errors.

    Raises:
        UsageError: Its ``forward`` needs something else.
    """

    def __init__(self, module: nn.Module, what: str) -> None:
        self.module, self.what = module, what
        try:
            self._names = conditions_of(module)
        except UsageError as error:
            raise UsageError(f"the {what} cannot be trained: {error}") from None

    @property
    def conditioned(self) -> bool:
        """Whether it takes labels."""
        return "labels" in self._names and self._of_ours("classes") != 0

    @property
    def placed(self) -> bool:
        """Whether it takes places."""
        return "places" in self._names and self._of_ours("places") is not False

    def needs(self, name: str) -> bool:
        """Return whether it cannot be called without ``labels``, or ``places``."""
        if name not in self._names:
            return False
        given = inspect.signature(self.module.forward).parameters[self._names[name]]
        return given.default is given.empty

    def _of_ours(self, name: str) -> Any:  # noqa: ANN401  # a number or a switch
        return getattr(getattr(self.module, "config", None), name, None)

    def __call__(self, first: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Return what the module makes of a batch."""
        return call_network(
            self.module, first, conditions.labels, conditions.places, names=self._names
        )

    def logits(self, images: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """Return a logit for each image, float32 [B].

        Raises:
            UsageError: The module does not give one number for each image.
        """
        out = self(images, conditions)
        shape = getattr(out, "shape", None)
        if shape is None or math.prod(shape) != len(images):
            got = type(out).__name__ if shape is None else list(shape)
            raise UsageError(
                f"the {self.what} must give one number for each of {len(images)}"
                f" images, got {got} for images of {list(images.shape[1:])}; of a map"
                " of patches give the mean"
            )
        return out.reshape(len(images)).float()


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside DataParallel, its like, or ``torch.compile``."""
    while True:
        if isinstance(
            module, nn.parallel.DistributedDataParallel | nn.parallel.DataParallel
        ):
            module = module.module
        elif isinstance(module, torch._dynamo.OptimizedModule):  # noqa: SLF001  # its name
            module = module._orig_mod  # noqa: SLF001  # there is no other way
        else:
            return module


def check_networks(generator: object, critic: object) -> None:
    """Refuse networks that cannot be trained, whatever the data.

    Raises:
        UsageError: See :func:`check_network`; or both have a weight in common.
    """
    seen: dict[int, str] = {}
    for what, one in (("generator", generator), ("critic", critic)):
        for name, weight in check_network(one, what):
            if seen.setdefault(id(weight), what) != what:
                raise UsageError(
                    f"the {what} has {name} in common with the generator, and each"
                    " network is still while the other learns: give each its own"
                )


def check_network(one: object, what: str) -> list[tuple[str, nn.Parameter]]:
    """Return the weights of a network by name, in order.

    Args:
        one: The network.
        what: What it is called in errors.

    Raises:
        UsageError: It is no module with weights in float32 of which some are trained.
    """
    named = [] if not isinstance(one, nn.Module) else [*one.named_parameters()]
    if not named:
        raise UsageError(
            f"the {what} must be a torch.nn.Module with weights, got"
            f" {type(one).__name__}"
        )
    for name, weight in named:
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise UsageError(
                f"the {what} has a weight {name} whose shape is not known yet: run"
                " it once on a batch, then train it"
            )
        if weight.dtype != torch.float32:
            raise UsageError(
                f"the {what} has weights in {weight.dtype} ({name}), and training"
                " is in float32: call its float(); bf16=True computes in bfloat16"
            )
    if not any(weight.requires_grad for _, weight in named):
        raise UsageError(
            f"all weights of the {what} are frozen, so that it cannot learn: call"
            " its requires_grad_()"
        )
    return named


def weights(module: nn.Module) -> int:
    """Return the number of weights of a module."""
    return sum(math.prod(one.shape) for one in module.parameters())
