"""A replayed batch as one looks at it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fiberaug.remaking import Run
from fiberaug.resolving import normalization

__all__ = ["as_levels"]


def as_levels(batch: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the first row of a batch as one looks at it: arrays, levels of 8 bits.

    Args:
        batch: Of :func:`replay_batch`.
        run: What it was made with.
    """
    row = {name: value[0] for name, value in batch.items() if name[:2] != "__"}
    found = {
        name: value.cpu().numpy() if isinstance(value, torch.Tensor) else value
        for name, value in row.items()
    }
    image = row["image"].float().cpu()
    if row["image"].dtype != torch.uint8:
        normalize = normalization(run.dataset)
        if normalize is not None:
            mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in normalize)
            image = image * std + mean
        image *= 255
    levels = image.round().clamp(0, 255).to(torch.uint8)
    found["image"] = levels.permute(1, 2, 0).contiguous().numpy()
    if isinstance(found.get("polygons"), list):
        found["polygons"] = [np.asarray(one) for one in found["polygons"]]
    return found
