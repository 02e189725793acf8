"""What policies on batches share: their draws, and operations behind each other."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fiberaug.errors import UsageError
from fiberaug.gpu.operation import Operation, Params, Shape
from fiberaug.gpu.policy_moves import move
from fiberaug.gpu.policy_pixels import change
from fiberaug.magnitudes import NOTHING, OPERATIONS, Numbers
from fiberaug.policy_checks import Fill, check_chance, check_pixels
from fiberaug.warping import composed, inverse

__all__ = ["NUMBERS", "Policy", "Steps", "check_channels", "check_levels_fit", "named"]

_STILL = (1, 0, 0, 0, 1, 0)
_HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # from middles to corners


class TorchNumbers:
    """torch's global generator, as policies draw from it."""

    def uniform(self, shape: tuple[int, ...]) -> Numbers:
        """Return float64 in [0, 1)."""
        found: Numbers = torch.rand(shape, dtype=torch.float64).numpy()
        return found

    def gamma(self, alpha: float, shape: tuple[int, ...]) -> Numbers:
        """Return float64, gamma distributed."""
        alphas = torch.full(shape, alpha, dtype=torch.float64)
        found: Numbers = torch.distributions.Gamma(alphas, 1.0).sample().numpy()
        return found


NUMBERS = TorchNumbers()


class Policy(Operation):
    """A policy with arguments and a probability.

    Args:
        policy: One of :mod:`fiberaug.policies`.
        arguments: Arguments that are not the policy's, by name; ``p`` is one of them.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    def __init__(self, policy: Any, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(type(self).__name__)
        check_chance(arguments["p"])
        self.policy = policy
        self._arguments = arguments

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the operation as it stands in a recipe: ``{name: arguments}``."""
        given = {**asdict(self.policy), **self._arguments}
        return {
            self.name: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in given.items()
            }
        }

    def gate(self, rows: int) -> Tensor:
        """Return float32 [B]: 1 for rows that anything is done to, else 0."""
        chance: float = self._arguments["p"]
        return (torch.rand(rows) < chance).float()


class Steps(Policy):
    """A policy of operations behind each other; masks, boxes and points go along.

    Args:
        policy: One of :mod:`fiberaug.policies`.
        interpolation: ``nearest`` or ``bilinear``, where pixels move.
        fill: Level, or levels of channels, of what comes from outside of an image.
        fill_mask: Class id of what comes from outside of a mask.
        p: Probability that anything is done.

    Raises:
        UsageError: An argument is out of its bounds.
    """

    moves = True

    def __init__(
        self,
        policy: Any,  # noqa: ANN401
        *,
        interpolation: str,
        fill: Fill,
        fill_mask: float,
        p: float,
    ) -> None:
        check_pixels(interpolation, fill, fill_mask)
        super().__init__(
            policy, interpolation=interpolation, fill=fill, fill_mask=fill_mask, p=p
        )
        self.interpolation = interpolation
        self.fill, self.fill_mask = fill, fill_mask

    def draw(self, shape: Shape) -> Params:
        """Return ``operations`` int64 and ``magnitudes`` float64, both [B, steps].

        Raises:
            UsageError: Images have neither 1 nor 3 channels, or ``fill`` has others.
        """
        check_channels(self.name, self.fill, shape)
        gate = self.gate(shape[0])
        drawn = self.policy.draw(NUMBERS, shape[0], shape[2:])
        operations = torch.from_numpy(drawn.operations)
        return {
            "batch_prob": gate,
            "operations": torch.where(gate[:, None] > 0.5, operations, NOTHING),
            "magnitudes": torch.from_numpy(drawn.magnitudes),
        }

    def run(self, image: Tensor, params: Params) -> Tensor:
        """Return images after the operations of each row."""
        return change(
            image,
            params["operations"],
            params["magnitudes"],
            interpolation=self.interpolation,
            fill=self.fill,
        )

    def run_mask(self, mask: Tensor, params: Params) -> Tensor:
        """Return masks moved as the images were, to the nearest pixel."""
        size = mask.shape[-2], mask.shape[-1]
        for step in zip(*_rows(params), strict=True):
            backs = [inverse(name, number, size) or _STILL for name, number in step]
            if any(back != _STILL for back in backs):
                fill = float(self.fill_mask)
                mask = move(mask, backs, interpolation="nearest", fill=fill)
        return mask

    def matrix(self, params: Params, shape: Shape) -> Tensor | None:
        """Return float32 [B, 3, 3]: pixels before to pixels after."""
        made = np.tile(np.eye(3), (shape[0], 1, 1))
        for row, steps in enumerate(_rows(params)):
            moved = composed(steps, shape[2:])
            if moved is not None:
                made[row] = np.linalg.inv(_HALF) @ moved @ _HALF
        return torch.from_numpy(made).float()

    def row(self, params: Params, row: int) -> dict[str, Any]:
        """Return ``operations`` by name and ``magnitudes``, lists of a row."""
        return named(params["operations"][row], params["magnitudes"][row])


def _rows(params: Params) -> list[list[tuple[str, float]]]:
    """Return (operation, magnitude) of each step of each row."""
    rows = zip(
        params["operations"].tolist(), params["magnitudes"].tolist(), strict=True
    )
    return [
        [
            ("" if number == NOTHING else OPERATIONS[number], magnitude)
            for number, magnitude in zip(numbers, magnitudes, strict=True)
        ]
        for numbers, magnitudes in rows
    ]


def named(operations: Tensor, magnitudes: Tensor) -> dict[str, Any]:
    """Return the names and magnitudes of the steps in which anything is done."""
    numbers = operations.tolist()
    done = [step for step, number in enumerate(numbers) if number != NOTHING]
    return {
        "operations": [OPERATIONS[numbers[step]] for step in done],
        "magnitudes": [float(magnitudes[step]) for step in done],
    }


def check_channels(name: str, fill: Fill, shape: Shape) -> None:
    """Refuse images that have neither 1 nor 3 channels, or other ones than a fill."""
    if shape[1] not in {1, 3}:
        raise UsageError(
            f"{name} takes images of 1 or 3 channels, got {shape[1]}: decode with"
            ' {"color": "rgb"}'
        )
    check_levels_fit(name, "fill", fill, shape)


def check_levels_fit(name: str, argument: str, levels: Fill, shape: Shape) -> None:
    """Refuse another number of levels than 1, or one for each channel."""
    if isinstance(levels, Sequence) and len(levels) not in {1, shape[1]}:
        raise UsageError(
            f"{name}: {argument} has {len(levels)} levels, images {shape[1]} channels:"
            " give one level, or one for each"
        )
