"""Parameters on their way, and operations that run one by one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from fiberaug.gpu.drawing import Parts
from fiberaug.gpu.operation import Operation

if TYPE_CHECKING:
    from fiberaug.gpu.fused import Prepared

__all__ = ["Drawn", "Skeleton", "of_owners", "run_parts"]

Skeleton = list[Any]
"""What :meth:`Drawn.of` needs besides the arrays: plain values."""


class Drawn:
    """The parameters of a batch, step by step.

    Args:
        steps: For a step that fuses what it prepared, for an operation its parts.
    """

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all parameters as arrays, by names that nothing else has."""
        return {
            _name(i, j, name): value.numpy()
            for i, step in enumerate(self.steps)
            for j, params in enumerate(
                [step] if isinstance(step, dict) else [params for _, params in step]
            )
            for name, value in params.items()
        }

    def skeleton(self) -> Skeleton:
        """Return what :meth:`of` needs besides the arrays."""
        return [
            tuple(step)
            if isinstance(step, dict)
            else [(rows, tuple(params)) for rows, params in step]
            for step in self.steps
        ]

    @classmethod
    def of(cls, skeleton: Skeleton, arrays: dict[str, NDArray[Any]]) -> "Drawn":
        """Return the parameters again; the arrays are taken out of ``arrays``.

        Memory is the tensors' own: what was sent is used again.
        """

        def take(step: int, part: int, names: Sequence[str]) -> "Prepared":
            return {
                name: torch.from_numpy(arrays.pop(_name(step, part, name)).copy())
                for name in names
            }

        return cls(
            [
                take(i, 0, step)
                if isinstance(step, tuple)
                else [(rows, take(i, j, names)) for j, (rows, names) in enumerate(step)]
                for i, step in enumerate(skeleton)
            ]
        )


def _name(step: int, part: int, parameter: str) -> str:
    return f"\0{step}/{part}/{parameter}"


def run_parts(
    operation: Operation,
    image: torch.Tensor,
    parts: Parts,
    *,
    of_masks: bool = False,
) -> torch.Tensor:
    """Return images, or masks, after an operation.

    Args:
        operation: The operation.
        image: [B, C, H, W].
        parts: Its parameters.
        of_masks: Whether the images are masks.
    """
    run = operation.run_mask if of_masks else operation.run
    out: torch.Tensor | None = None
    for rows, every in parts:
        params, places = every, rows
        applied = operation.applied(every)
        if not operation.resizes and not bool(applied.all()):
            # rows that are left out cost nothing
            kept = applied.nonzero()[:, 0].tolist()
            places = kept if rows is None else [rows[i] for i in kept]
            params = operation.take(every, kept)
        if places is None:
            return run(image, params)
        if not places:
            continue
        index = torch.tensor(places).to(image.device, non_blocking=True)
        made = run(image.index_select(0, index), params)
        if out is None:
            same = made.shape[1:] == image.shape[1:] and made.dtype == image.dtype
            out = image.clone() if same else made.new_empty(len(image), *made.shape[1:])
        out.index_copy_(0, index, made)
    return image if out is None else out


def of_owners(
    operation: Operation,
    parts: Parts,
    owners: Sequence[int],
) -> Parts:
    """Return the parts of masks of which each row of the batch has any number."""
    found: Parts = []
    for rows, params in parts:
        row_of = None if rows is None else {row: i for i, row in enumerate(rows)}
        places = [
            i for i, owner in enumerate(owners) if row_of is None or owner in row_of
        ]
        taken = [owners[i] if row_of is None else row_of[owners[i]] for i in places]
        if places:
            which = None if rows is None else places
            found.append((which, operation.take(params, taken)))
    return found
