"""What all mixes share: partners are rows of the same unit, drawn apart from pixels.

A unit is b0 consecutive positions of an epoch. Its draws come from its key and the
number of its rows alone, so who is mixed with whom depends on no batch and no process.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from fiberaug.errors import UsageError
from fiberaug.mixes.arguments import Number, argument, arguments_of, check_arguments

__all__ = ["SHARE", "UNMIXED", "Composition", "Mix", "Params", "RowDraw", "ring"]

Params = dict[str, Any]
"""Drawn values by name: plain numbers and lists of such, as JSON has them."""

SHARE = Number(0, 1)
"""A part of a whole, or a probability."""


class RowDraw(NamedTuple):
    """What is drawn for one row of a unit."""

    applied: bool
    """Whether the row is mixed."""

    partners: tuple[int, ...]
    """Rows of the same unit, in order; none where the row is not mixed."""

    params: Params
    """What else is drawn; nothing where the row is not mixed."""


UNMIXED = RowDraw(applied=False, partners=(), params={})
"""The draw of a row that stays as it is."""


@dataclass(frozen=True, kw_only=True)
class Mix(ABC):
    """One way to mix a sample with others of its unit.

    Raises:
        UsageError: An argument is out of bounds.
    """

    phase: ClassVar[Literal["compose", "blend"]]
    """``compose``: fields of samples, in workers. ``blend``: tensors of batches."""

    count: ClassVar[int] = 1
    """Partners of a row."""

    p: float = argument(1.0, SHARE)
    """Probability that a row is mixed."""

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_arguments(self)

    @property
    def name(self) -> str:
        """Class name, as recipes and records give it."""
        return type(self).__name__

    def spec(self) -> dict[str, dict[str, Any]]:
        """Return the mix as a recipe writes it: its name, and all of its arguments."""
        values = {name: getattr(self, name) for name in arguments_of(self)}
        return {
            self.name: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in values.items()
            }
        }

    def draw(self, rng: np.random.Generator, rows: int) -> list[RowDraw]:
        """Return what is drawn for each row of a unit.

        How far the generator moves depends on ``rows``, never on which rows are mixed.

        Args:
            rng: The unit's generator.
            rows: Rows of the unit. A row that is alone is not mixed.
        """
        chance = rng.random(rows)
        partners = ring(rng, rows, self.count)
        params = self._params(rng, rows)
        return [
            RowDraw(applied=True, partners=partners[row], params=params[row])
            if chance[row] < self.p and rows > 1
            else UNMIXED
            for row in range(rows)
        ]

    @abstractmethod
    def _params(self, rng: np.random.Generator, rows: int) -> list[Params]:
        """Return the parameters of all rows, mixed or not."""

    @abstractmethod
    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that samples can be mixed.

        Args:
            fields: Names of the fields of a sample.
            kinds: Kinds of the fields whose names do not say them, such as ``image``.

        Raises:
            UsageError: The mix has no rule for a field; the message says which has.
        """


class Composition(Mix):
    """A mix of the fields of samples, in the worker that makes them."""

    phase = "compose"

    @abstractmethod
    def compose(
        self,
        own: Mapping[str, Any],
        partners: Sequence[Mapping[str, Any]],
        draw: RowDraw,
    ) -> dict[str, Any]:
        """Return the fields of a mixed sample; those given are never written to.

        Fields that the mix has no rule for, such as ``caption``, stay as they are.

        Args:
            own: Fields of the sample: ``image`` [H, W, C], ``bboxes`` and others. What
                is None, or not there, counts as none.
            partners: Fields of its partners, in the order of the draw, as they are
                before any mix.
            draw: What was drawn.

        Raises:
            UsageError: Images differ in dtype or number of channels.
        """

    def check(self, fields: Iterable[str], kinds: Mapping[str, str]) -> None:
        """Check that all pixels of a sample can be mixed."""
        for field in fields:
            if kinds.get(field, field) in {"image", "mask"} - {field}:
                raise UsageError(
                    f"{self.name} mixes the fields image and mask, not the"
                    f" {kinds[field]} {field!r}: leave it out of the data set's fields"
                )


def ring(rng: np.random.Generator, rows: int, count: int) -> list[tuple[int, ...]]:
    """Return the partners of each row: those that follow it in a ring in random order.

    No row is its own partner, and each is the k-th partner of exactly one other. They
    differ from each other where there are rows enough.

    Args:
        rng: Generator.
        rows: Rows of the unit.
        count: Partners of a row.
    """
    order = rng.permutation(rows).tolist()
    steps = [1 + k % max(1, rows - 1) for k in range(count)]
    follows = {
        row: tuple(order[(place + step) % rows] for step in steps)
        for place, row in enumerate(order)
    }
    return [follows[row] for row in range(rows)]
