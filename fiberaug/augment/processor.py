"""The base of the user's own operations: an identity, a keyed generator, a record."""

import inspect
import json
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from fiberaug.errors import UsageError

__all__ = ["PLACES", "Processor", "processor_spec", "registered_processors"]

PLACES = ("input_path", "output_path")
"""Arguments that say where files are; they are no part of what a processor does."""


def _no_sample() -> np.random.Generator:
    raise UsageError(
        "self.rng belongs to the sample that is processed: use it in _process or"
        " _process_sample, not in __init__"
    )


class Processor:
    """An operation of the user's own; see :class:`fiberaug.ImageProcessor`.

    The arguments of ``__init__`` are the processor's identity: they stand in the
    recipe's hash and in the run's manifest, and a replay builds the processor from
    them. They are noted however ``__init__`` is written.
    """

    _arguments: dict[str, Any]
    _rng: np.random.Generator | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401
        """Note the arguments, defaults included."""
        self = super().__new__(cls)
        self._arguments = _bind(cls, args, kwargs)
        return self

    @property
    def params(self) -> dict[str, Any]:
        """The arguments that make it what it is, by name, without the places."""
        return {k: v for k, v in self._arguments.items() if k not in PLACES}

    @property
    def rng(self) -> np.random.Generator:
        """The generator of the sample that is processed.

        Raises:
            UsageError: No sample is being processed.
        """
        return self._rng if self._rng is not None else _no_sample()

    @rng.setter
    def rng(self, generator: np.random.Generator | None) -> None:
        self._rng = generator

    @classmethod
    def name(cls) -> str:
        """Return the name under which recipes and manifests know the class."""
        return f"{cls.__module__}.{cls.__qualname__}"

    def _process_info(self) -> dict[str, Any]:
        """Return what was drawn in this call: it stands in the sample's record."""
        return {}

    def _process_sample(self, sample: Any) -> Any:  # noqa: ANN401  # Sample in, Sample out
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the class and its arguments."""
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.params.items())
        return f"{type(self).__name__}({arguments})"


def _bind(
    cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of ``cls(...)`` by name; empty where they do not fit."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:  # pickle makes objects without arguments; others fail at once
        return {}
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            found.update({f"{name}[{i}]": item for i, item in enumerate(value)})
        else:
            found[name] = value
    return found


def processor_spec(processor: Processor) -> dict[str, Any] | None:
    """Return ``{"class", "params"}``, or None where the arguments are no JSON."""
    try:
        params = json.loads(json.dumps(processor.params, allow_nan=False))
    except (TypeError, ValueError):
        return None
    return {"class": processor.name(), "params": params}


def registered_processors() -> dict[str, type[Processor]]:
    """Return every subclass that this process has imported, by dotted name."""
    found: dict[str, type[Processor]] = {}
    waiting = list(Processor.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not kind.__module__.startswith("fiberaug.processing"):
            found.setdefault(kind.name(), kind)  # the one defined last
    return found
