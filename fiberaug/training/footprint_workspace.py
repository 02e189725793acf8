"""Memory of operations beside what they take and give: copies in other layouts.

On a CPU convolutions are made by oneDNN in layouts of its own, with channels in blocks
of 16: what comes is copied, what goes is copied back. Found by the growth of processes
around single operations, torch 2.13, oneDNN 3.12, AVX-512. On a GPU nothing is counted
here: what cuDNN asks for is within what the allocator keeps in reserve.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

__all__ = ["NOTHING", "Workspace", "workspace"]

_BLOCK = 16  # channels
_Tensors = Sequence[torch.Tensor]


class Workspace(NamedTuple):
    """Sizes of pieces, bytes."""

    first: tuple[int, ...] = ()
    """Those that are gone before results are made."""

    beside: tuple[int, ...] = ()
    """Those that are there until results are made."""

    def above(self, results: int) -> int:
        """Return the bytes at most, with results of so many bytes."""
        return max(sum(self.first) + sum(self.beside), sum(self.beside) + results)


NOTHING = Workspace()


def workspace(name: str, args: Sequence[Any], results: _Tensors) -> Workspace:
    """Return what an operation takes while it runs.

    Args:
        name: Of the operation, such as ``aten::convolution``.
        args: Its arguments.
        results: What it gives.
    """
    if name == "aten::convolution":
        return _forward(args[0], args[1], results[0])
    if name == "aten::convolution_backward":
        return _backward(args[0], args[1], args[2], args[4], args[-1])
    if name.startswith("aten::upsample_") and "backward" not in name:
        # Both are copied with channels last.
        taken = args[0]
        if taken.dim() == 4 and taken.shape[1] > 3:
            return Workspace((), (_bytes(taken), _bytes(results[0])))
    return NOTHING


def _forward(
    images: torch.Tensor, weight: torch.Tensor, out: torch.Tensor
) -> Workspace:
    if images.device.type != "cpu":
        return NOTHING
    copies = [_bytes(one) for one in (images, weight) if not one.is_contiguous()]
    few = images.shape[1] < _BLOCK
    # Where channels are few, as in the second derivative of a convolution with small
    # batches, images are read as they lie, unless all px go into a single one.
    plain = few and math.prod(out.shape[2:]) > 1
    read = 0 if plain else _bytes(images) if few else _blocked(images)
    return Workspace(
        tuple(one for one in (read, _bytes(weight)) if one), (*copies, _blocked(out))
    )


def _backward(
    slope: torch.Tensor,
    images: torch.Tensor,
    weight: torch.Tensor,
    stride: Sequence[int],
    asked: Sequence[bool],
) -> Workspace:
    if images.device.type != "cpu":
        return NOTHING
    copies = [_bytes(one) for one in (slope, images, weight) if not one.is_contiguous()]
    to_images, to_weight = asked[0], asked[1]
    # First the gradient of the images is made; with strides it is copied once more.
    # Then, with that one there, the gradient of the weights.
    images_first = [_blocked(images)] * (1 + (max(stride) > 1)) if to_images else []
    weight_then = [_blocked(slope), _blocked(images), 2 * _bytes(weight)]
    if to_weight and sum(weight_then) >= sum(images_first):
        return Workspace((), (*copies, *weight_then))
    return Workspace((_blocked(slope), _bytes(weight)), (*copies, *images_first))


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _blocked(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor with its channels filled up to blocks."""
    channels = max(1, tensor.shape[1])
    return _bytes(tensor) // channels * (-(-channels // _BLOCK) * _BLOCK)
