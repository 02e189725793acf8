"""What steers a ControlNet: edges found in a photo, or a picture that is given."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["CONTROLS", "canny", "check_control", "check_kind", "control_notes"]

CONTROLS = ("canny", "depth", "segmentation")
_LOW, _HIGH = 100.0, 200.0  # of the training of lllyasviel/sd-controlnet-canny
_MOST_GREY = 0.02  # of an edge map: rounding of a JPEG, not a photo


def check_kind(kind: object) -> str:
    """Return what a ControlNet is steered by.

    Raises:
        UsageError: There is no such control.
    """
    if kind not in CONTROLS:
        raise UsageError(f"control must be one of {', '.join(CONTROLS)}, got {kind!r}")
    return str(kind)


def canny(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the edges of a photo, uint8 [H, W, 3], 0 or 255.

    By ``cv2.Canny`` on its grey levels with thresholds 100 and 200, as the ControlNets
    were trained.

    Args:
        image: uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges: Any = cv2.Canny(grey, _LOW, _HIGH)
    found: NDArray[np.uint8] = np.repeat(edges[:, :, None], 3, axis=2)
    return found


def control_notes(*, derived: bool) -> Mapping[str, Any]:
    """Return how a control came about, for the record."""
    if not derived:
        return {"control_from": "given"}
    return {
        "control_from": "image",
        "control_maker": f"cv2.Canny {cv2.__version__}",
        "control_thresholds": [_LOW, _HIGH],
    }


def check_control(control: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Return a control picture, uint8 [N, H, W, 3].

    Args:
        control: uint8 [N, H, W, 3], or [N, H, W] of edges or depth.
        kind: ``canny``: edges, 0 or 255. ``depth``: grey, near is bright.
            ``segmentation``: each class in the colour that the ControlNet was trained
            with.

    Raises:
        UsageError: It is of another kind than it should be.
    """
    if control.ndim == 3:
        if kind == "segmentation":
            raise UsageError(
                "control must be uint8 [N, H, W, 3] with each class in the colour that"
                f" the ControlNet was trained with, got class ids {list(control.shape)}"
            )
        control = np.repeat(control[..., None], 3, axis=3)
    if kind == "segmentation":
        return control
    coloured = (control != control[..., :1]).any()
    if coloured:
        raise UsageError(
            f"control of the kind {kind} must be grey, its three channels equal, and it"
            " has colours: is it a photo?"
        )
    if kind == "canny":
        grey = float(((control > 32) & (control < 223)).mean())
        if grey > _MOST_GREY:
            raise UsageError(
                f"control of the kind canny must be edges, 0 or 255, and {grey:.0%} of"
                " it is between: give the photo as image=, and its edges are found"
            )
    return control
