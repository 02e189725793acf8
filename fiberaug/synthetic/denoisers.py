"""A network that takes noise out of images, and what it is told beside them."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.calling import conditions_of
from fiberaug.models.unet import UNet
from fiberaug.synthetic.labelling import checked_labels
from fiberaug.synthetic.samplers import Predict, guided

__all__ = ["MOST_NUMBERS", "Denoiser", "Told", "check_shape", "given_labels"]

MOST_NUMBERS = 2**24
"""Of all images made at a time: ``torch.quantile``, which clips, takes no more."""

_WHAT = ("labels", "context", "places")


@dataclass(frozen=True, slots=True)
class Told:
    """What a network is told of each image; None: nothing."""

    labels: torch.Tensor | None = None
    """int64 [B]; the number of classes stands for no class."""

    context: torch.Tensor | None = None
    """float32 [B, D]; zeros stand for none."""

    places: torch.Tensor | None = None
    """float32 [B, 3]."""


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """A network, the shape of its images, and the names of what it takes."""

    module: nn.Module
    """``forward(images, times, ...)`` gives v, see :mod:`.samplers`."""

    shape: tuple[int, int, int]
    """(channels, height, width) of the images."""

    names: Mapping[str, str]
    """Its arguments for ``labels``, ``context`` and ``places``, where it takes them."""

    classes: int | None
    """0: it takes no labels; None: it does not say how many there are."""

    context_dim: int | None
    """0: it takes no context; None: it does not say how many numbers."""

    @classmethod
    def of(
        cls,
        module: nn.Module,
        shape: Sequence[int] | None = None,
        named: int = 0,
    ) -> Self:
        """Return what is known of a module.

        Args:
            module: :class:`fiberaug.models.UNet`, or the user's own.
            shape: Of its images; needed for the user's own.
            named: Number of class names.

        Raises:
            UsageError: Shape or names are not those of the module, or ``forward`` needs
                another argument.
        """
        if isinstance(module, UNet):
            config = module.config
            if shape is not None and tuple(shape) != config.shape:
                raise UsageError(
                    f"the UNet makes images of shape {config.shape}, got {shape!r}"
                )
            if named and named != config.classes:
                raise UsageError(
                    f"the UNet is made for {config.classes} classes, got {named} names"
                )
            has = {
                "labels": config.classes, "context": config.context_dim,
                "places": config.places,
            }  # fmt: skip
            return cls(
                module=module, shape=config.shape, classes=config.classes,
                context_dim=config.context_dim,
                names={what: what for what, there in has.items() if there},
            )  # fmt: skip
        if shape is None:
            raise UsageError(
                f"shape is missing: which images {type(module).__name__} makes is not"
                " known; give (channels, height, width)"
            )
        names = dict(conditions_of(module, 2, _WHAT))
        classes = _count(module, named) if "labels" in names else 0
        if classes == 0:
            names.pop("labels", None)
        return cls(
            module=module, shape=check_shape(shape), names=names, classes=classes,
            context_dim=None if "context" in names else 0,
        )  # fmt: skip

    def predict(self, told: Told, guidance: float) -> Predict:
        """Return the network with what it is told, beyond what it says without.

        Raises:
            UsageError: There is nothing that ``guidance`` could go beyond.
        """
        given = self._calling(told)
        if guidance == 1:
            return given
        if self.classes is None or (not self.classes and told.context is None):
            raise UsageError(
                f"guidance is {guidance} and needs a class or a context to go beyond,"
                " and the network takes none, or does not say how many classes it has:"
                " leave guidance at 1"
            )
        return guided(given, self._calling(self._null(told)), guidance)

    def _null(self, told: Told) -> Told:
        labels, context = told.labels, told.context
        return Told(
            None if labels is None else torch.full_like(labels, self.classes or 0),
            None if context is None else torch.zeros_like(context),
            told.places,
        )

    def _calling(self, told: Told) -> Predict:
        given = {
            name: value
            for what, name in self.names.items()
            if (value := getattr(told, what)) is not None
        }

        arguments = inspect.signature(self.module.forward).parameters
        missing = [
            what
            for what, name in self.names.items()
            if name not in given and arguments[name].default is inspect.Parameter.empty
        ]
        if missing:
            raise UsageError(
                f"{type(self.module).__name__} needs {', '.join(missing)}: give them"
            )

        def predict(images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
            made: Any = self.module(images, times, **given)
            made = getattr(made, "sample", made)  # of diffusers
            if made.shape != images.shape:
                raise UsageError(
                    f"{type(self.module).__name__} must return what it is given,"
                    f" {list(images.shape)}, got {list(made.shape)}"
                )
            found: torch.Tensor = made.float()
            return found

        return predict


def _count(module: nn.Module, named: int) -> int | None:
    """Return how many classes a module that takes labels is made for; None: unknown."""
    config: Any = getattr(module, "config", None)
    if hasattr(config, "num_class_embeds"):  # of diffusers; the last is no class
        embedded = config.num_class_embeds
        return 0 if embedded is None else int(embedded) - 1
    return named or None


def check_shape(shape: object) -> tuple[int, int, int]:
    """Return (channels, height, width) of images.

    Raises:
        UsageError: They are no such numbers, or of more than 2**24 values.
    """
    sides = tuple(shape) if isinstance(shape, list | tuple) else ()
    sound = len(sides) == 3 and all(type(one) is int and one >= 1 for one in sides)
    if not sound or sides[0] not in {1, 3, 4} or math.prod(sides) > MOST_NUMBERS:
        raise UsageError(
            "shape must be channels (1, 3 or 4), height and width, of at most"
            f" {MOST_NUMBERS} values, got {shape!r:.80}"
        )
    return sides


def given_labels(
    labels: Sequence[int] | None,
    rows: int,
    classes: int | None,
    names: Sequence[str] = (),
) -> torch.Tensor | None:
    """Return labels that a user gives, int64 [N]; None where there are none.

    Args:
        labels: Class of each; None: of no class.
        rows: N.
        classes: How many there are; 0: labels are 0. None: not known.
        names: Of the classes, for the error.

    Raises:
        UsageError: They are no integers, out of range, or not one for each seed.
    """
    if labels is None:
        return torch.full((rows,), classes) if classes else None
    found = checked_labels(labels, rows, classes, names)
    return None if classes == 0 else found
