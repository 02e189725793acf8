"""What a module takes beside its input: found in the signature of its ``forward``."""

import inspect
from collections.abc import Mapping

import torch
from torch import nn

from fiberaug.errors import UsageError

__all__ = ["call_network", "conditions_of", "latent_shape"]

_WHAT = ("labels", "places")
_ALIASES = {
    "label": "labels", "y": "labels", "class_labels": "labels", "classes": "labels",
    "position": "places", "positions": "places", "place": "places",
    "encoder_hidden_states": "context",
}  # fmt: skip
_SIZES = ("latent_shape", "z_dim", "latent_dim", "nz", "latent_size", "z_size")


def conditions_of(
    module: nn.Module, inputs: int = 1, known: tuple[str, ...] = _WHAT
) -> dict[str, str]:
    """Return the names of the arguments for conditions that are there.

    Args:
        module: It.
        inputs: Arguments before them.
        known: Conditions that there can be.

    Raises:
        UsageError: ``forward`` needs another argument.
    """
    more = list(inspect.signature(module.forward).parameters.values())[inputs:]
    found: dict[str, str] = {}
    for one in more:
        what = _ALIASES.get(one.name, one.name)
        variable = one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
        if what in known and not variable:
            found[what] = one.name
        elif one.default is one.empty and not variable:
            raise UsageError(
                f"{type(module).__name__} needs an argument {one.name!r}; a network is"
                f" given its input, {', '.join(known)}"
            )
    return found


def call_network(
    module: nn.Module,
    first: torch.Tensor,
    labels: torch.Tensor | None = None,
    places: torch.Tensor | None = None,
    *,
    names: Mapping[str, str] | None = None,
) -> torch.Tensor:
    """Return what a module makes of its input and of the conditions that it takes.

    Args:
        module: It.
        first: Latents or images.
        labels: int64 [B]; left out where it takes none.
        places: float32 [B, 3]; left out where it takes none.
        names: What :func:`conditions_of` found, where that is known already.
    """
    values = {"labels": labels, "places": places}
    given = {
        name: values[what]
        for what, name in (conditions_of(module) if names is None else names).items()
        if values[what] is not None
    }
    made: torch.Tensor = module(first, **given)
    return made


def latent_shape(module: nn.Module) -> tuple[int, ...]:
    """Return the shape of one latent that a generator takes.

    Found in its attribute ``z_dim`` (``latent_dim``, ``nz``, ``latent_shape``), else in
    its first layer: (in_features,) of a ``Linear``, (channels, 1, 1) of a convolution.

    Raises:
        UsageError: It cannot be found.
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    first = next((one for one in module.modules() if isinstance(one, kinds)), None)
    spatial = first is not None and not isinstance(first, nn.Linear)
    for name in _SIZES:
        found = getattr(module, name, None)
        if type(found) is int and found > 0:
            own = getattr(module, "config", None) is not None
            return (found, 1, 1) if spatial and not own else (found,)
        if isinstance(found, tuple | list) and found:
            return tuple(int(side) for side in found)
    if isinstance(first, nn.Linear):
        return (first.in_features,)
    if first is not None:
        return (first.in_channels, 1, 1)
    raise UsageError(
        f"which latents {type(module).__name__} takes is not known; give it an"
        " attribute z_dim, or say the shape of one latent"
    )
