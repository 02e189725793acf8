"""A trained generator in a folder, with what it was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training.contracts import Source
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.windows import largest_scale

__all__ = ["save_generator"]


def save_generator(
    module: nn.Module,
    folder: Path,
    notes: Mapping[str, Any],
    *,
    source: Source,
    licence: str | None,
    options: GANOptions,
    latent: tuple[int, ...],
) -> None:
    """Write a generator with what it was trained on.

    Args:
        module: The network, in evaluation mode.
        folder: An empty folder.
        notes: Images shown, and figures.
        source: What it was trained on.
        licence: Of what is generated.
        options: How it was trained.
        latent: Shape of one latent.

    Raises:
        StoreError: It cannot be written.
    """
    described = source.describe()
    told = {
        **notes,
        **_frames(described, source.size),
        "trained_on": described,
        "options": options.to_dict(),
        "licence": licence,
    }
    made = GANGenerator(module, classes=source.classes, notes=told, latent=latent)
    made.save(folder)


def _frames(described: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return which windows a source cuts, where it does."""
    photo, scales = described.get("photo_px"), described.get("scales")
    if scales is None:
        return {}
    low, high = scales
    if high is None:
        high = low if photo is None else max(low, largest_scale(photo, size))
    return {"scales": [low, high], "photo_px": photo}
