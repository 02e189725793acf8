"""The user's loader: found by its name, called anew for every pass."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fiberaug.errors import UsageError

__all__ = ["Pass", "Theirs"]


class Pass(NamedTuple):
    """What the function gave for one pass."""

    batches: Iterable[Any]
    dataset: Any
    """What the loader reads from, where it says so."""

    @property
    def workers(self) -> int | None:
        """Worker processes, where the loader says so."""
        found = getattr(self.batches, "num_workers", None)
        return found if isinstance(found, int) else None


class Theirs:
    """A function that makes the user's loader.

    Args:
        name: ``module:function``; the current folder is searched first.

    Raises:
        UsageError: There is no such module or function.
    """

    def __init__(self, name: str) -> None:
        module, colon, attribute = name.partition(":")
        if not colon or not module or not attribute:
            raise UsageError(f"--against must be module:function, got {name!r}")
        if os.getcwd() not in sys.path:  # noqa: PTH109  # sys.path holds text
            sys.path.insert(0, os.getcwd())  # noqa: PTH109  # as above
        try:
            found: Any = importlib.import_module(module)
            for step in attribute.split("."):
                found = getattr(found, step)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"cannot import {name}: {error}") from error
        if not callable(found):
            raise UsageError(f"{name} is no function, it is {type(found).__name__}")
        self.name = name
        self._function: Callable[..., Any] = found
        self.plain = "augment" in inspect.signature(found).parameters
        """Whether augmentation can be turned off."""

    def __call__(self, *, augment: bool) -> Pass:
        """Return a loader for one pass over the set.

        Args:
            augment: False: without augmentation, where the function can do that.

        Raises:
            UsageError: The function gave nothing that can be passed over.
        """
        options = {"augment": False} if self.plain and not augment else {}
        found = self._function(**options)
        dataset = getattr(found, "dataset", None)
        if isinstance(found, tuple) and len(found) == 2:
            dataset, found = found
        if not isinstance(found, Iterable):
            raise UsageError(
                f"{self.name} must return an iterable of batches, or (dataset, loader),"
                f" got {type(found).__name__}"
            )
        return Pass(found, dataset)
