"""Kornia's geometric operations as maps from a pixel after to the place before.

Pixel centres are whole numbers, x is the column. Kornia's matrices lead the other way,
and are inverted in double precision.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from kornia import augmentation as K
from kornia.constants import Resample, SamplePadding

from fiberaug.gpu.fused_rows import RowParams

__all__ = ["Core", "Crops", "Move", "Size", "move_of", "whole_map"]

Floats = npt.NDArray[np.float64]
Size = tuple[int, int]
"""(height, width), px."""


class Move(Enum):
    """What an operation does to the frame of the image."""

    FLIP = "flip"
    """It maps whole pixels onto whole pixels, and the frame onto itself."""

    CROP = "crop"
    """It maps whole pixels onto whole pixels, and changes the frame."""

    TURN = "turn"
    """Quarter turns: whole pixels, unless the sides differ by an odd number."""

    SIZE = "size"
    """A window of the image is sampled anew, and nothing beyond its edge is read."""

    WARP = "warp"
    """The image is sampled anew, with nothing (0) around it."""


class Core(NamedTuple):
    """Maps of the one operation of a pass that can land between pixels."""

    inverse: Floats
    """[rows, 3, 3]."""

    moved: npt.NDArray[np.bool_]
    """[rows]: whether pixels can be read between pixels."""


class Crops(NamedTuple):
    """The windows of an operation of :attr:`Move.SIZE`, for (x, y): [rows, 2] each."""

    start: Floats
    """First pixel of the window."""

    length: Floats
    """Pixels of the window."""

    corners: bool
    """Corner pixels stay corner pixels (``align_corners``)."""

    def inverse(self, size: Size) -> Floats:
        """Return [rows, 3, 3] for images, ``size`` being that of what comes out."""
        after = np.array(size[::-1], np.float64)
        if self.corners:
            step = np.where(after > 1, (self.length - 1) / np.maximum(after - 1, 1), 0)
            first = self.start
        else:
            step = self.length / after
            first = self.start + (step - 1) / 2
        return _scaled(step, first)


def move_of(module: Any) -> Move | None:  # noqa: ANN401  # Kornia's
    """Return what a Kornia module does, None for one that is not known.

    Known are bilinear ones that put 0 around the image; other fills, borders and
    interpolations are Kornia's to do.
    """
    known = _MOVES.get(type(module))
    if known is None:
        return None
    flags, plain = module.flags, True
    match type(module).__name__:
        case "RandomCrop" | "CenterCrop":
            plain = flags["cropping_mode"] == "slice" and not (
                flags["padding_mode"] not in ("constant", "zeros")
                or np.any(np.asarray(flags.get("fill", 0)))
            )
        case "RandomResizedCrop":
            plain = flags["cropping_mode"] == "slice"
        case "PadTo":
            plain = flags["pad_mode"] == "constant" and flags["pad_value"] == 0
        case "Resize" | "LongestMaxSize" | "SmallestMaxSize":
            plain = not flags["antialias"]
        case "RandomAffine":
            plain = flags["fill_value"] is None
    zeros = flags.get("padding_mode", "zeros")
    if isinstance(zeros, SamplePadding):
        plain &= zeros is SamplePadding.ZEROS
    if known in (Move.TURN, Move.SIZE, Move.WARP):
        plain &= flags["resample"] is Resample.BILINEAR
    return known if plain else None


def whole_map(module: Any, drawn: RowParams, size: Size, after: Size) -> Floats:  # noqa: ANN401
    """Return the map of a flip, crop or pad: [rows, 3, 3] of whole numbers.

    Args:
        module: Kornia's.
        drawn: What was drawn.
        size: (height, width) before, px.
        after: The same after.
    """
    found = np.tile(np.eye(3), (drawn.rows, 1, 1))
    height, width = size
    match type(module).__name__:
        case "RandomHorizontalFlip":
            found[drawn.on, 0] = [-1, 0, width - 1]
        case "RandomVerticalFlip":
            found[drawn.on, 1] = [0, -1, height - 1]
        case "CenterCrop":
            found[:, 0, 2] = (width - after[1]) // 2
            found[:, 1, 2] = (height - after[0]) // 2
        case "RandomCrop":
            first = drawn["src"][:, 0].astype(np.int64)
            found[:, :2, 2] = first - drawn["padding_size"][:, [0, 2]]
    return found


def turns(drawn: RowParams, size: Size) -> Core:
    """Return the map of quarter turns about the centre, to the left as displayed."""
    times = np.where(drawn.on, np.round(drawn["times"]), 0).astype(np.int64) % 4
    cos, sin = np.array([1, 0, -1, 0])[times], np.array([0, 1, 0, -1])[times]
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    found = np.tile(np.eye(3), (drawn.rows, 1, 1))
    found[:, 0, 0], found[:, 0, 1] = cos, -sin
    found[:, 1, 0], found[:, 1, 1] = sin, cos
    found[:, :2, 2] = middle - found[:, :2, :2] @ middle
    halves = (found[:, :2, 2] % 1 != 0).any(1)
    # a nudge, larger than rounding and far below what is tolerated: all ties of a mask
    # fall to one side, and no line of it is read twice
    found[halves, :2, 2] += 5e-7 * max(size)
    return Core(found, halves)


def warps(module: Any, drawn: RowParams, shape: tuple[int, int, int, int]) -> Core:  # noqa: ANN401
    """Return the map of an affine or projective operation."""
    like = torch.empty((), dtype=torch.float32).expand(shape)
    matrix = module.compute_transformation(like, drawn.tensors(), module.flags)
    found = np.tile(np.eye(3), (drawn.rows, 1, 1))
    found[drawn.on] = np.linalg.inv(matrix.double().numpy()[drawn.on])
    return Core(found, drawn.on)


def crops(module: Any, drawn: RowParams, size: Size) -> Crops:  # noqa: ANN401
    """Return the windows that are brought to another size."""
    corners = bool(module.flags["align_corners"])
    if isinstance(module, K.RandomResizedCrop):
        box = drawn["src"].astype(np.int64).astype(np.float64)
        return Crops(box[:, 0], box[:, 2] - box[:, 0] + 1, corners)
    start = np.zeros((drawn.rows, 2))
    return Crops(start, start + np.array(size[::-1], np.float64), corners)


def _scaled(step: Floats, first: Floats) -> Floats:
    found = np.tile(np.eye(3), (len(step), 1, 1))
    found[:, 0, 0], found[:, 1, 1] = step.T
    found[:, :2, 2] = first
    return found


_MOVES: Mapping[type, Move] = {
    K.RandomHorizontalFlip: Move.FLIP,
    K.RandomVerticalFlip: Move.FLIP,
    K.RandomCrop: Move.CROP,
    K.CenterCrop: Move.CROP,
    K.PadTo: Move.CROP,
    K.RandomRotation90: Move.TURN,
    K.RandomResizedCrop: Move.SIZE,
    K.Resize: Move.SIZE,
    K.LongestMaxSize: Move.SIZE,
    K.SmallestMaxSize: Move.SIZE,
    K.RandomAffine: Move.WARP,
    K.RandomRotation: Move.WARP,
    K.RandomShear: Move.WARP,
    K.RandomTranslate: Move.WARP,
    K.RandomPerspective: Move.WARP,
}
