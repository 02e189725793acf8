"""What the arguments of a mix may be: checked when it is made, stated by the schema.

Recipes come from strangers, so that every number has bounds.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fiberaug.errors import UsageError
from fiberaug.recipe import shorten

__all__ = ["Argument", "Choice", "Number", "Pair", "argument", "check_arguments"]

_KEY = "fiberaug"


class Argument(Protocol):
    """What one argument may be."""

    @property
    def words(self) -> str:
        """What it must be, as a message says it."""
        ...

    def read(self, value: Any) -> Any:  # noqa: ANN401  # whatever a stranger wrote
        """Return the value as the mix keeps it.

        Raises:
            TypeError, ValueError: It is out of bounds, or of another type.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """Return a JSON Schema that all values fulfil."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    low: float
    """The least."""

    high: float
    """The most."""

    whole: bool = False
    """Whether it is a whole number."""

    optional: bool = False
    """Whether it can be None."""

    @property
    def words(self) -> str:
        """What it must be."""
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} in [{self.low:g}, {self.high:g}]" + " or None" * self.optional

    def read(self, value: Any) -> float | int | None:  # noqa: ANN401
        """Return the number."""
        if value is None and self.optional:
            return None
        fits = isinstance(value, int if self.whole else (int, float))
        if not fits or isinstance(value, bool) or not self.low <= value <= self.high:
            raise ValueError  # nan is in no range
        return int(value) if self.whole else float(value)

    def schema(self) -> dict[str, Any]:
        """Return its schema."""
        kind = "integer" if self.whole else "number"
        stated = {"type": kind, "minimum": self.low, "maximum": self.high}
        return {"anyOf": [stated, {"type": "null"}]} if self.optional else stated


@dataclass(frozen=True, slots=True)
class Pair:
    """Two numbers, such as the ends of a range."""

    each: Number
    """What both must be."""

    rising: bool = True
    """Whether the second must not be below the first."""

    optional: bool = False
    """Whether it can be None."""

    @property
    def words(self) -> str:
        """What it must be."""
        kind = "whole numbers" if self.each.whole else "numbers"
        order = ", the first not above the second" if self.rising else ""
        return (
            f"two {kind} in [{self.each.low:g}, {self.each.high:g}]{order}"
            + " or None" * self.optional
        )

    def read(self, value: Any) -> tuple[Any, Any] | None:  # noqa: ANN401
        """Return the numbers."""
        if value is None and self.optional:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError
        first, second = map(self.each.read, value)
        if self.rising and first > second:  # type: ignore[operator]  # numbers
            raise ValueError
        return first, second

    def schema(self) -> dict[str, Any]:
        """Return its schema."""
        stated = {
            "type": "array", "minItems": 2, "maxItems": 2, "items": self.each.schema(),
        }  # fmt: skip
        return {"anyOf": [stated, {"type": "null"}]} if self.optional else stated


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    options: tuple[str, ...]
    """The words."""

    @property
    def words(self) -> str:
        """What it must be."""
        return f"one of {self.options}"

    def read(self, value: Any) -> str:  # noqa: ANN401
        """Return the word."""
        if not isinstance(value, str) or value not in self.options:
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        """Return its schema."""
        return {"enum": list(self.options)}


def argument(default: Any, kind: Argument) -> Any:  # noqa: ANN401  # as dataclasses.field
    """Return a field of a dataclass with what its values may be."""
    return dataclasses.field(default=default, metadata={_KEY: kind})


def arguments_of(mix: Any) -> dict[str, tuple[Argument, Any]]:  # noqa: ANN401  # class or object
    """Return each argument of a dataclass, with its default."""
    return {
        field.name: (field.metadata[_KEY], field.default)
        for field in dataclasses.fields(mix)
    }


def check_arguments(mix: Any) -> None:  # noqa: ANN401  # a frozen dataclass
    """Check the arguments of a mix, and keep them in their plain form.

    Raises:
        UsageError: One is out of bounds, or of another type.
    """
    for name, (kind, _) in arguments_of(mix).items():
        value = getattr(mix, name)
        try:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError  # noqa: TRY301  # as for any other that is refused
            object.__setattr__(mix, name, kind.read(value))
        except (TypeError, ValueError):
            raise UsageError(
                f"{type(mix).__name__}: {name} must be {kind.words},"
                f" got {shorten(value)}"
            ) from None
