"""What is done to a folder: a whole recipe, or each of its operations alone."""

import copy
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A

from fiberaug import processors  # noqa: F401  # recipes name them
from fiberaug.augment.build import arguments_of, known_operations
from fiberaug.augment.opaque import callable_name
from fiberaug.augment.processor import Processor
from fiberaug.errors import UsageError
from fiberaug.foldering.own_file import check_known
from fiberaug.recipe import Recipe

__all__ = ["Operation", "each_of", "whole"]

_MAKES_NO_PICTURE = frozenset({"Normalize", "ToFloat", "ToTensorV2"})
_UNSAFE = re.compile(r"[^\w.-]+")


class Operation(NamedTuple):
    """What is done to every photo."""

    name: str
    """Folder below the output; empty: the output itself."""

    transform: Any
    """As :class:`fiberaug.StreamingDataset` takes it."""

    recipe: Recipe | None
    """The same as a recipe, where it is one."""

    params: Mapping[str, Any]
    """Arguments, as ``processing_info.json`` tells them."""


def whole(recipe: Any) -> Operation:  # noqa: ANN401  # see StreamingDataset
    """Return all operations of a recipe as one.

    Args:
        recipe: A recipe, its file, a list of operations as a recipe has them, or any
            ``transform`` of a data set.

    Raises:
        UsageError: It is empty, or names an operation that is not known.
        StoreError: The file cannot be read.
    """
    recipe = _read(recipe)
    if not _parts(recipe):
        raise UsageError("the recipe has no operation: its section cpu is empty")
    return Operation("", recipe, recipe if isinstance(recipe, Recipe) else None, {})


def each_of(recipe: Any) -> list[Operation]:  # noqa: ANN401  # see StreamingDataset
    """Return the top-level operations, each to be applied alone and always (``p`` 1).

    Operations that make no picture, such as ``Normalize``, are left out. Of two of one
    name the second gets a number: ``Rotate``, ``Rotate-2``.

    Args:
        recipe: A recipe, its file, a list of operations as a recipe has them, or any
            ``transform`` of a data set.

    Raises:
        UsageError: There is none, or one is not known.
        StoreError: The file cannot be read.
    """
    recipe = _read(recipe)
    if isinstance(recipe, Recipe):
        found = [_of_recipe(recipe, operation) for operation in recipe.cpu]
    else:
        found = [_of_object(one) for one in _parts(recipe)]
    found = [one for one in found if one.name not in _MAKES_NO_PICTURE]
    if not found:
        raise UsageError("the recipe has no operation that makes a picture")
    return _numbered(found)


def _numbered(found: Iterable[Operation]) -> list[Operation]:
    seen = Counter[str]()
    named = []
    for one in found:
        seen[one.name] += 1
        number = seen[one.name]
        name = one.name if number == 1 else f"{one.name}-{number}"
        named.append(one._replace(name=name))
    return named


def _read(recipe: Any) -> Any:  # noqa: ANN401  # a recipe, or what was given
    if isinstance(recipe, str | Path):
        recipe = Recipe.from_file(recipe)
    if isinstance(recipe, list | tuple) and all(
        isinstance(one, Mapping) for one in recipe
    ):
        recipe = Recipe(cpu=tuple(recipe))
    if isinstance(recipe, Recipe):
        check_known(recipe)
    return recipe


def _parts(recipe: Any) -> list[Any]:  # noqa: ANN401
    if isinstance(recipe, Recipe):
        return list(recipe.operations)
    if isinstance(recipe, A.Compose):
        return list(recipe.transforms)
    return list(recipe) if isinstance(recipe, list | tuple) else [recipe]


def _of_recipe(recipe: Recipe, operation: Mapping[str, Any]) -> Operation:
    ((name, given),) = operation.items()
    arguments = dict(given or {})
    if name in known_operations() and "p" in arguments_of(name):
        arguments["p"] = 1.0
    alone = Recipe(
        cpu=({name: arguments},), decode=recipe.decode, version=recipe.version
    )
    return Operation(name.rpartition(".")[2], alone, alone, arguments)


def _of_object(transform: Any) -> Operation:  # noqa: ANN401
    if isinstance(transform, Processor):
        params = {name: repr(value) for name, value in transform.params.items()}
        return Operation(type(transform).__name__, transform, None, params)
    if isinstance(transform, A.BasicTransform | A.BaseCompose):
        alone = copy.deepcopy(transform)
        alone.p = 1.0
        return Operation(type(transform).__name__, alone, None, {"p": 1.0})
    name = _UNSAFE.sub("_", callable_name(transform).rpartition(".")[2])
    return Operation(name.strip(".") or "callable", transform, None, {})
