"""What a trained generator's folder says of its training."""

from collections.abc import Mapping
from typing import Any

from fiberaug.training.contracts import Source
from fiberaug.training.windows import largest_scale

__all__ = ["notes_of"]


def notes_of(
    source: Source,
    notes: Mapping[str, Any],
    options: Mapping[str, Any],
    licence: str | None,
) -> dict[str, Any]:
    """Return what should be known of a generator, fit for JSON.

    Args:
        source: What it was trained on.
        notes: Images shown, and figures.
        options: How it was trained.
        licence: Of what is generated.
    """
    described = source.describe()
    return {
        **notes,
        **_frames(described, source.size),
        "trained_on": described,
        "options": dict(options),
        "licence": licence,
    }


def _frames(described: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return which windows a source cuts, where it does."""
    photo, scales = described.get("photo_px"), described.get("scales")
    if scales is None:
        return {}
    low, high = scales
    if high is None:
        high = low if photo is None else max(low, largest_scale(photo, size))
    return {"scales": [low, high], "photo_px": photo}
