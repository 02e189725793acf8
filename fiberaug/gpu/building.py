"""From what users give, objects or a recipe's ``gpu`` section, to batch operations."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.arguments import check_argument
from fiberaug.gpu.containers import KorniaContainer
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS, REFUSED
from fiberaug.gpu.operation import Operation
from fiberaug.gpu.policies import OPERATIONS, from_cpu
from fiberaug.gpu.spec import arguments_of, build, check_names, own_name
from fiberaug.recipe import check_operations, did_you_mean, shorten

__all__ = ["build_gpu", "operations_of", "own_operations"]

_CONTAINERS = "kornia.augmentation.container."
_CONTAINER = "ImageSequential"
_CHILDREN = "transforms"


def operations_of(transform: Any) -> list[tuple[str, Operation]]:  # noqa: ANN401
    """Return the operations of a ``gpu_transform``, each with its path.

    Args:
        transform: A Kornia augmentation; ``AugmentationSequential``,
            ``ImageSequential``, ``nn.Sequential`` or a list of such; an
            :class:`Operation`; a policy of :mod:`fiberaug.transforms`.

    Returns:
        ``[("0", ...), ("1.0", ...)]`` in the order in which they run. A container that
        draws which of its children run is one operation.

    Raises:
        UsageError: Something cannot run on batches; with its path and the reason.
    """
    found = list(_walk(transform, ()))
    seen: dict[int, str] = {}
    for path, operation in found:
        for held in _held(operation):
            if id(held) in seen:
                raise UsageError(
                    f"{operation.name} stands at {seen[id(held)]} and again at {path}:"
                    " one object keeps the state of one; make a second one"
                )
            seen[id(held)] = path
    return found


def _held(operation: Operation) -> list[object]:
    if isinstance(operation, KorniaContainer):
        return [child.module for child in operation.children]
    return [getattr(operation, "module", operation)]


def _walk(what: Any, path: tuple[int, ...]) -> Iterator[tuple[str, Operation]]:  # noqa: ANN401
    children = _children_of(what)
    if children is not None:
        for i, child in enumerate(children):
            yield from _walk(child, (*path, i))
        return
    where = ".".join(map(str, path or (0,)))
    try:
        yield where, _operation(what)
    except UsageError as error:
        error.message = f"gpu_transform {where}: {error.message}"
        raise


def _children_of(what: Any) -> Sequence[Any] | None:  # noqa: ANN401
    """Return what runs one behind the other, or None: it is one operation."""
    if isinstance(what, list | tuple):
        return what
    kind = type(what)
    if kind in (nn.Sequential, nn.ModuleList):
        return list(what)
    if _is_container(what) and what.random_apply is False:
        _check_container(what)
        return list(what)
    return None


def _is_container(what: object) -> bool:
    kind = type(what)
    return kind.__module__.startswith(_CONTAINERS) and kind.__name__ in {
        "AugmentationSequential",
        _CONTAINER,
    }


def _check_container(what: Any) -> None:  # noqa: ANN401
    """Refuse what the loader does by itself, or does not do."""
    keys = [key.name.lower() for key in getattr(what, "data_keys", None) or ()]
    if any(key not in {"image", "input"} for key in keys):
        raise UsageError(
            f"AugmentationSequential has data_keys={keys}: leave them out; the loader"
            " knows the fields and moves masks, boxes and points of a batch along"
        )
    for key, given in (getattr(what, "extra_args", None) or {}).items():
        usual = {"resample", "align_corners"} if key.name == "MASK" else set()
        values = {getattr(value, "name", value) for value in given.values()}
        if set(given) - usual or values - {"NEAREST", None}:
            raise UsageError(
                f"AugmentationSequential has extra_args for {key.name.lower()}: masks"
                " are read to the nearest pixel here; give other arguments to the"
                " augmentations"
            )


def _operation(what: Any) -> Operation:  # noqa: ANN401
    if isinstance(what, Operation):
        return what
    if _is_container(what):
        _check_container(what)
        return KorniaContainer(what)
    if isinstance(what, nn.Module):
        return KorniaOperation(what)
    return from_cpu(what)


def build_gpu(section: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """Return the operations of a recipe's ``gpu`` section.

    Args:
        section: ``[{"RandomAffine": {"degrees": 10, "p": 0.5}}, {"ImageSequential":
            {"random_apply": 2, "transforms": [...]}}, {"RandAugment": {}}]``.

    Raises:
        UsageError: A name is not known, an argument is not known, out of its bounds or
            of another type; with the place, the value, the bound and the nearest name.
    """
    check_operations(section, "gpu")
    found = []
    for i, operation in enumerate(section):
        where = f"gpu[{i}]"
        try:
            found.append(_build(operation, where))
        except UsageError as error:
            if not error.message.startswith(where):
                error.message = f"{where}: {error.message}"
            raise
    return found


def _build(operation: Mapping[str, Any], where: str) -> Operation:
    ((name, given),) = operation.items()
    arguments = dict(given or {})
    if name == _CONTAINER:
        return KorniaContainer(_container(arguments, where))
    if name in LAYOUTS:
        return KorniaOperation(_kornia(name, arguments, where))
    if name in own_operations():
        return _policy(name, arguments, where)
    if name in REFUSED:
        raise UsageError(f"{where}: {name} cannot stand in a recipe: {REFUSED[name]}")
    raise UsageError(
        f"{where}: there is no batch operation {shorten(name)}"
        + did_you_mean(name, [*LAYOUTS, *own_operations(), _CONTAINER])
    )


def _kornia(name: str, arguments: Mapping[str, Any], where: str) -> nn.Module:
    known = arguments_of(name)
    check_names(f"{where}: {name}", arguments, known)
    for argument, value in arguments.items():
        check_argument(name, argument, value, where)
    return build({name: arguments})


def own_operations() -> dict[str, type[Operation]]:
    """Return the operations that are not Kornia's, by the names that recipes give.

    A name that Kornia has too is Kornia's, and ours is ``fiberaug.RandomErasing``.
    """
    return {own_name(name): kind for name, kind in OPERATIONS.items()}


def _policy(name: str, arguments: Mapping[str, Any], where: str) -> Operation:
    kind: Any = own_operations()[name]
    parameters = signature(kind).parameters
    defaults = {n: p.default for n, p in parameters.items()}
    check_names(f"{where}: {name}", arguments, defaults)
    given = {
        argument: tuple(value) if isinstance(value, list) else value
        for argument, value in arguments.items()
    }
    try:
        made: Operation = kind(**given)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
        raise UsageError(f"{where}: {name} refuses its arguments: {e}") from e
    return made


def _container(arguments: Mapping[str, Any], where: str) -> nn.Module:
    known: dict[str, Any] = dict.fromkeys((_CHILDREN, "random_apply"), Parameter.empty)
    known["random_apply_weights"] = None
    check_names(f"{where}: {_CONTAINER}", arguments, known)
    children = [
        _child(operation, f"{where}.{_CONTAINER}[{i}]")
        for i, operation in enumerate(arguments[_CHILDREN])
    ]
    count = arguments["random_apply"]
    least, most = count if isinstance(count, list | tuple) else (count, count)
    for number in (least, most):
        if type(number) is not int or not 0 <= number <= len(children):
            raise UsageError(
                f"{where}: {_CONTAINER}: random_apply takes a number of its"
                f" {len(children)} transforms, or [least, most], got {shorten(count)}"
            )
    weights = arguments.get("random_apply_weights")
    if weights is not None and not _are_weights(weights, len(children)):
        raise UsageError(
            f"{where}: {_CONTAINER}: random_apply_weights are {len(children)} numbers"
            f" from 0 to 1000, not all 0, got {shorten(weights)}"
        )
    kind: Any = importlib.import_module("kornia.augmentation").ImageSequential
    made: nn.Module = kind(
        *children,
        random_apply=(least, most),
        random_apply_weights=weights,
    )
    return made


def _are_weights(value: object, count: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == count
        and all(type(v) in (int, float) and 0 <= v <= 1000 for v in value)
        and sum(value) > 0
    )


def _child(operation: Mapping[str, Any], where: str) -> nn.Module:
    ((name, given),) = operation.items()
    if name not in LAYOUTS:
        raise UsageError(
            f"{where}: {_CONTAINER} holds augmentations of Kornia, got {shorten(name)}"
            + did_you_mean(name, LAYOUTS)
        )
    return _kornia(name, dict(given or {}), where)
