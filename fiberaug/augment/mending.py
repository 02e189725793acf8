"""Where a transform of the library keeps a box that it pushed out of the image."""

from typing import Any

import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from numpy.typing import NDArray

__all__ = ["mend"]


def mend(leaf: Any) -> None:  # noqa: ANN401  # Albumentations has no types
    """Let distortions drop the boxes of which they leave no pixel.

    They move a mask of each box; where the moved mask is empty the library gives the
    box back at its old place, over pixels of something else.

    Args:
        leaf: A transform; others than distortions stay as they are.
    """
    if not isinstance(leaf, BaseDistortion):
        return
    original = leaf._key2func["bboxes"]  # noqa: SLF001  # what Albumentations calls

    def moved(
        bboxes: NDArray[Any],
        map_x: NDArray[Any],
        map_y: NDArray[Any],
        **params: Any,  # noqa: ANN401  # the library's
    ) -> NDArray[Any]:
        after: NDArray[Any] = original(bboxes, map_x=map_x, map_y=map_y, **params)
        if len(after) != len(bboxes):
            return after
        same = np.isclose(after[:, :4], bboxes[:, :4], atol=1e-5).all(axis=1)
        height, width = params["shape"][:2]
        kept = [
            not stays or _is_seen(box[:4] * ([width, height] * 2), map_x, map_y)
            for box, stays in zip(bboxes, same, strict=True)
        ]
        rows: NDArray[Any] = after[np.array(kept, bool)]
        return rows

    leaf._key2func["bboxes"] = moved  # noqa: SLF001


def _is_seen(box_px: NDArray[Any], map_x: NDArray[Any], map_y: NDArray[Any]) -> bool:
    """Return whether any pixel comes from inside of a box; its border counts."""
    x_min, y_min, x_max, y_max = box_px
    across = (map_x >= x_min - 1) & (map_x <= x_max)
    down = (map_y >= y_min - 1) & (map_y <= y_max)
    return bool((across & down).any())
