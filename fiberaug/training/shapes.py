"""What two networks make and take, found out before anything is trained."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.calling import latent_shape
from fiberaug.training.networks import Conditions, Network

__all__ = ["Shapes", "check_conditions", "shapes_of"]


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a generator and a critic are made for."""

    latent: tuple[int, ...]
    """Of one latent."""

    channels: int
    """Of an image, 1 to 4."""

    size: tuple[int, int]
    """(height, width) of an image, px."""

    classes: int | None
    """Classes that the generator is made for; 0: none, None: it does not say."""

    places: bool
    """Whether the generator takes places."""


def shapes_of(
    generator: nn.Module,
    critic: nn.Module,
    *,
    latent: tuple[int, ...] | None = None,
) -> Shapes:
    """Return what networks are made for, by running them once on two rows.

    Args:
        generator: Latents to images.
        critic: Images to logits.
        latent: Shape of one latent; None: see
            :func:`fiberaug.models.calling.latent_shape`.

    Raises:
        UsageError: The generator gives no images [B, C, H, W], the critic cannot take
            them or gives more than one number an image, or both are made for other
            classes.
    """
    makes, takes = Network(generator, "generator"), Network(critic, "critic")
    shape = latent or latent_shape(generator)
    told = [_classes(one) for one in (makes, takes)]
    if None not in told and told[0] != told[1]:
        raise UsageError(
            f"the generator is made for {told[0]} classes and the critic for {told[1]};"
            " make both for the same"
        )
    for one, other in ((makes, takes), (takes, makes)):
        if one.needs("labels") and one.conditioned and not other.conditioned:
            raise UsageError(
                f"the {one.what} needs labels and the {other.what} takes none, so that"
                " classes would mean nothing: give both an argument labels, or neither"
            )
    labels = torch.zeros(2, dtype=torch.int64)
    conditions = Conditions(labels, torch.zeros(2, 3))
    images = _run(generator, makes, torch.zeros(2, *shape), conditions)
    if images.ndim != 4 or len(images) != 2 or not 1 <= images.shape[1] <= 4:
        raise UsageError(
            "the generator must give images [B, C, H, W] with 1 to 4 channels, got"
            f" {list(images.shape)} for latents {[2, *shape]}"
        )
    _run(critic, takes, images, conditions, logits=True)
    _, channels, height, width = images.shape
    return Shapes(
        tuple(shape), channels, (height, width),
        told[0] if told[0] is not None else told[1], makes.placed or takes.placed,
    )  # fmt: skip


def check_conditions(
    generator: nn.Module,
    critic: nn.Module,
    shapes: Shapes,
    *,
    classes: int,
    places: bool,
) -> None:
    """Refuse networks that cannot be run on what the data has.

    Args:
        generator: Latents to images.
        critic: Images to logits.
        shapes: What both are made for.
        classes: Of the data; 0: it has none.
        places: Whether the data has places.

    Raises:
        UsageError: One needs what the data does not have, or knows fewer classes.
    """
    made_for = shapes.classes
    if made_for is not None and made_for != classes and (made_for or classes):
        ways = [f"make both networks with classes={classes}"]
        if classes:
            ways.append("train without: classes=0, and conditional=False")
        else:
            ways.append(
                "give labels, as in (images, labels), and not conditional=False"
            )
        raise UsageError(
            f"the networks are made for {made_for} classes and the data has"
            f" {classes}: {', or '.join(ways)}"
        )
    labels = torch.tensor([0, classes - 1]) if classes else None
    conditions = Conditions(labels, torch.zeros(2, 3) if places else None)
    for what, one in (("generator", generator), ("critic", critic)):
        network = Network(one, what)
        for name, there in (("labels", classes > 0), ("places", places)):
            if network.needs(name) and not there:
                raise UsageError(
                    f"the {what} {type(one).__name__} needs {name}, and the data has"
                    f" none: {_GIVE[name]}, or give the argument a default"
                )
        takes = (2, *shapes.latent)
        if what == "critic":
            takes = (2, shapes.channels, *shapes.size)
        _run(one, network, torch.zeros(takes), conditions, logits=what == "critic")


_GIVE = {
    "labels": "give them, as in (images, labels), and not conditional=False",
    "places": "give windows=True",
}


def _classes(network: Network) -> int | None:
    config = getattr(network.module, "config", None)
    said = getattr(config, "classes", None)
    if isinstance(said, int):
        return said
    return None if network.conditioned else 0


@torch.no_grad()
def _run(
    module: nn.Module,
    network: Network,
    first: torch.Tensor,
    conditions: Conditions,
    *,
    logits: bool = False,
) -> torch.Tensor:
    """Return what a network makes of two rows, and leave it as it was."""
    modes = {one: one.training for one in module.modules()}
    device = next(module.parameters()).device
    given = conditions.to(device)
    call: Any = network.logits if logits else network
    module.eval()
    try:
        found: torch.Tensor = call(first.to(device), given)
    except UsageError:
        raise
    except Exception as error:  # a user's code can raise any
        labels = "" if given.labels is None else f", labels {given.labels.tolist()}"
        raise UsageError(
            f"the {network.what} {type(module).__name__} cannot be run on a batch"
            f" {list(first.shape)}{labels}: {' '.join(str(error).split()):.400}"
        ) from error
    finally:
        for one, training in modes.items():
            one.training = training
    return found
