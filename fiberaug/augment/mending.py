"""Boxes where two kinds of transforms of the library put them wrong."""

from typing import Any

import albumentations as A
import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from albumentations.augmentations.geometric.functional import morphology
from albumentations.core import bbox_utils
from numpy.typing import NDArray

__all__ = ["mend"]


def mend(leaf: Any) -> None:  # noqa: ANN401  # Albumentations has no types
    """Let a transform treat boxes as it treats pixels.

    Distortions move a mask of each box; where the moved mask is empty the library gives
    the box back at its old place, over pixels of something else: it is dropped here.
    ``Morphological`` takes the masks of all boxes for one picture: boxes grow into each
    other, and many sizes are refused by OpenCV. Here each is grown by itself.

    Args:
        leaf: A transform; others stay as they are.
    """
    if isinstance(leaf, BaseDistortion):
        _drop_unseen(leaf)
    elif isinstance(leaf, A.Morphological):
        _grow_each(leaf)


def _grow_each(leaf: Any) -> None:  # noqa: ANN401
    def grown(
        bboxes: NDArray[Any],
        kernel: NDArray[Any],
        **params: Any,  # noqa: ANN401  # the library's
    ) -> NDArray[Any]:
        shape = params["shape"][:2]
        after = bbox_utils.denormalize_bboxes(bboxes, shape)
        after[:, :4] = after[:, :4].round(2)  # 24.999998 would be cut to 24
        kept = []
        for row, mask in enumerate(bbox_utils.masks_from_bboxes(after, shape)):
            mask = morphology(mask, kernel, leaf.operation)  # noqa: PLW2901
            if mask.any():
                after[row, :4] = bbox_utils.bboxes_from_masks(mask)[0]
                kept.append(row)
        rows: NDArray[Any] = bbox_utils.normalize_bboxes(after[kept], shape)
        return rows

    leaf._key2func["bboxes"] = grown  # noqa: SLF001


def _drop_unseen(leaf: Any) -> None:  # noqa: ANN401
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
