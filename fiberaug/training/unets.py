"""What a network that takes noise out of images is made for, found out by running it.

Ours and those of diffusers say their size; of others the user does.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.calling import conditions_of
from fiberaug.models.unet import UNet
from fiberaug.training.noising import CONDITIONS, null_class

__all__ = ["MadeFor", "check_unet", "unet_made_for"]


@dataclass(frozen=True, slots=True)
class MadeFor:
    """What a network is made for."""

    image: tuple[int, int, int]
    """(channels, height, width)."""

    classes: int | None
    """Classes that it is made for; 0: none, None: it does not say."""

    places: bool
    """Whether it takes places."""


def unet_made_for(
    unet: nn.Module, *, size: tuple[int, int] | None, channels: int | None
) -> MadeFor:
    """Return what a network is made for.

    Args:
        unet: The network.
        size: (height, width) of the images, px, where it does not say.
        channels: Of the images, where it does not say.

    Raises:
        UsageError: It does not say and nobody does, or says something else.
    """
    names = conditions_of(unet, 2, CONDITIONS)
    config = getattr(unet, "config", None)
    said: tuple[Any, Any, Any]
    if isinstance(unet, UNet):
        made_for = unet.config
        said = made_for.channels, made_for.size, made_for.classes
        places = made_for.places
    else:
        side = getattr(config, "sample_size", None)
        classes = getattr(config, "num_class_embeds", None)
        if config is not None and hasattr(config, "sample_size"):
            classes = 0 if classes is None else classes - 1
        if "labels" not in names:
            classes = 0
        sides = (side, side) if isinstance(side, int) else side
        said = getattr(config, "out_channels", None), sides, classes
        places = "places" in names
    own_channels, own_size, classes = said
    for what, own, given in (
        ("size", own_size, size), ("channels", own_channels, channels),
    ):  # fmt: skip
        if own is None and given is None:
            raise UsageError(
                f"{type(unet).__name__} does not say its {what}: give {what}="
                + ("(height, width)" if what == "size" else "3, or what it is")
            )
        if isinstance(unet, UNet) and given is not None and own != given:
            raise UsageError(f"the network is made for {what} {own}, got {given}")
    height, width = size or own_size
    return MadeFor((channels or own_channels, int(height), int(width)), classes, places)


def check_unet(
    unet: nn.Module, made_for: MadeFor, *, classes: int, places: bool
) -> None:
    """Refuse a network that cannot be run on what the data has.

    Args:
        unet: The network.
        made_for: What it is made for.
        classes: Of the data; 0: none.
        places: Whether the data has places.

    Raises:
        UsageError: It needs what the data does not have, knows other classes, or does
            not give images of the shape that it is given.
    """
    told = made_for.classes
    if told is not None and told != classes and (told or classes):
        ways = [f"make it with classes={classes}"]
        if classes:
            ways.append("train without: classes=0, and conditional=False")
        else:
            ways.append(
                "give labels, as in (images, labels), and not conditional=False"
            )
        raise UsageError(
            f"the network is made for {told} classes and the data has {classes}:"
            f" {', or '.join(ways)}"
        )
    names = conditions_of(unet, 2, CONDITIONS)
    given: dict[str, torch.Tensor] = {}
    if classes and "labels" in names:
        given[names["labels"]] = torch.tensor([0, null_class(unet, classes)])
    if places and "places" in names:
        given[names["places"]] = torch.zeros(2, 3)
    images = torch.zeros(2, *made_for.image)
    made = _run(unet, images, given)
    if getattr(made, "shape", None) != images.shape:
        got = list(made.shape) if hasattr(made, "shape") else type(made).__name__
        raise UsageError(
            "the network must give v of the shape of its noisy images,"
            f" {list(images.shape)}, got {got}"
        )


@torch.no_grad()
def _run(unet: nn.Module, images: torch.Tensor, given: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401  # whatever comes
    """Return what a network makes of two rows, and leave it as it was."""
    modes = {one: one.training for one in unet.modules()}
    device = next(unet.parameters()).device
    times = torch.tensor([0, 999])
    unet.eval()
    try:
        made = unet(
            images.to(device), times.to(device),
            **{name: value.to(device) for name, value in given.items()},
        )  # fmt: skip
    except UsageError:
        raise
    except Exception as error:  # a user's code can raise any
        raise UsageError(
            f"{type(unet).__name__} cannot be run on noisy images"
            f" {list(images.shape)}, times {times.tolist()} and"
            f" {', '.join(given) or 'nothing else'}:"
            f" {' '.join(str(error).split()):.400}"
        ) from error
    finally:
        for one, training in modes.items():
            one.training = training
    return getattr(made, "sample", made)
