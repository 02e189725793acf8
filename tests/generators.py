"""Small generators that tests make pools from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Edits", "Shapes", "Unlabelled", "make_shapes"]


Original = tuple[str, str, str, np.ndarray, int]
"""Shard, key, part, image [H, W, 3] and label of a training sample."""


class Shapes:
    """Draws a disc, a square or a bar on a noisy ground.

    Args:
        size: (height, width), px.
        twins: Seeds that are equal by this modulus give equal images; 0: none do.
    """

    classes = ("disc", "square", "bar")
    source_type = "algorithmicMedia"

    def __init__(self, size: tuple[int, int] = (24, 32), twins: int = 0) -> None:
        self.size, self.twins = size, twins

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "procedural", "licence": "CC0-1.0",
            "params": {"size": list(self.size), "twins": self.twins},
        }  # fmt: skip

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **conditions: Any
    ) -> np.ndarray:
        made = [
            self._one(s, c, **conditions) for s, c in zip(seeds, labels, strict=True)
        ]
        return np.stack(made)

    def _one(self, seed: int, label: int, *, dark: int = 0) -> np.ndarray:
        height, width = self.size
        rng = np.random.default_rng(seed % self.twins if self.twins else seed)
        image = rng.integers(0, 80, (height, width, 3), np.uint8)
        y, x = np.mgrid[:height, :width]
        row, column = rng.uniform(0.3, 0.7, 2) * self.size
        radius = rng.uniform(0.15, 0.35) * min(self.size)
        inside = (
            (y - row) ** 2 + (x - column) ** 2 < radius**2,
            np.maximum(abs(y - row), abs(x - column)) < radius,
            abs(y - row) < radius / 2,
        )[label]
        image[inside] = rng.integers(150, 256, 3)
        return np.maximum(image, dark) - dark


class Unlabelled:
    """Coloured noise of no class."""

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> np.ndarray:
        return np.stack(
            [
                np.random.default_rng(s).integers(0, 256, (8, 8, 1), np.uint8)
                for s in seeds
            ]
        )


class Edits:
    """Inverts training samples: each image has one parent.

    Args:
        parents: The training samples.
    """

    classes = ("disc", "square", "bar")
    source_type = "compositeWithTrainedAlgorithmicMedia"

    def __init__(
        self, parents: Sequence[tuple[str, str, str, np.ndarray, int]]
    ) -> None:
        self.parents = parents

    def _of(self, seed: int, label: int) -> Original:
        own = [one for one in self.parents if one[4] == label]
        return own[seed % len(own)]

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> np.ndarray:
        pairs = zip(seeds, labels, strict=True)
        return np.stack([255 - self._of(s, c)[3] + np.uint8(s % 7) for s, c in pairs])

    def sample_notes(
        self, seeds: Sequence[int], labels: Sequence[int], **_: Any
    ) -> list[dict[str, Any]]:
        found = [self._of(s, c) for s, c in zip(seeds, labels, strict=True)]
        return [
            {
                "parents": [{"shard": one[0], "key": one[1], "split": one[2]}],
                "params": {"strength": 0.5, "mode": "inverted"},
                "label_origin": "inherited",
            }
            for one in found
        ]


def make_shapes() -> Shapes:
    """A factory, as the command line takes it."""
    return Shapes()
