"""What images are conditioned on, as numbers that a network takes."""

import math

import torch
from torch import nn

from fiberaug.errors import UsageError

__all__ = ["PLACE_FEATURES", "check_conditions", "class_table", "place_features"]

_TURNS = (1, 2)  # frequencies of a place
PLACE_FEATURES = 3 + 6 * len(_TURNS)
"""Numbers that stand for a place."""

_EMBEDDING_STD = 0.2  # far larger, and classes are learned before images are


def class_table(classes: int, width: int) -> nn.Embedding:
    """Return a vector for each class, [classes, width]."""
    table = nn.Embedding(classes, width)
    nn.init.normal_(table.weight, std=_EMBEDDING_STD)
    return table


def place_features(places: torch.Tensor) -> torch.Tensor:
    """Return numbers of about one that stand for places, float [B, PLACE_FEATURES].

    Args:
        places: float [B, 3]: how far down and to the right the middle of a window is,
            from -1 to 1, and log2 of photo px per window px.
    """
    scaled = places * places.new_tensor([1.0, 1.0, 0.25])
    turned = [scaled * (math.pi / 2 * turn) for turn in _TURNS]
    waves = [wave for turn in turned for wave in (turn.sin(), turn.cos())]
    return torch.cat([scaled, *waves], 1)


def check_conditions(
    classes: int,
    labels: torch.Tensor | None,
    places: torch.Tensor | None,
    *,
    wants_places: bool,
) -> None:
    """Refuse conditions that are missing.

    Raises:
        UsageError: A network with classes got no labels, or one with places none.
    """
    if classes and labels is None:
        raise UsageError(
            f"labels are missing: the network has {classes} classes; give int64 [B]"
        )
    if wants_places and places is None:
        raise UsageError(
            "places are missing: the network makes windows; give float32 [B, 3]"
        )
