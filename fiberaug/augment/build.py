"""From a recipe's operations to Albumentations' transforms: known names only.

No recipe runs code or reads files: names are looked up in two tables, never imported,
and arguments are numbers, text and lists within the bounds of
:mod:`fiberaug.augment.bounds`.
"""

import types
import typing
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

import albumentations as A
from pydantic import TypeAdapter, ValidationError

from fiberaug.augment.bounds import check_growth, check_values
from fiberaug.augment.ours import OURS
from fiberaug.augment.processor import PLACES
from fiberaug.errors import UsageError
from fiberaug.recipe import check_operations, did_you_mean, shorten

__all__ = [
    "Argument",
    "arguments_of",
    "build_operations",
    "known_operations",
]

_REFUSED = {
    "Compose": "use Sequential inside of a recipe",
    "FDA": "it reads files",
    "HistogramMatching": "it reads files",
    "Lambda": "it takes code",
    "Mosaic": "it takes images from the call",
    "OverlayElements": "it takes images from the call",
    "PiecewiseAffine": "it takes 5 s for 512 x 512 px; use ElasticTransform",
    "PixelDistributionAdaptation": "it reads files",
    "RandomCropNearBBox": "it takes a box from the call",
    "ReplayCompose": "every pipeline is replayable here",
    "TemplateTransform": "it reads files",
    "TextImage": "it reads a font file",
    "ToTensor3D": "it takes volumes",
}
_REFUSED_ARGUMENTS = {
    ("Equalize", "mask"): "it takes code",
    ("Equalize", "mask_params"): "it goes with mask, which takes code",
    ("OneOrOther", "first"): "write transforms: [..., ...]",
    ("OneOrOther", "second"): "write transforms: [..., ...]",
}
_NARROWED: dict[tuple[str, str], Any] = {
    # one draw in thousands makes an image millions of pixels long
    ("Perspective", "fit_output"): typing.Literal[False],
    # null is the image's own size: half a minute for 2,048 x 2,048 px
    ("Superpixels", "max_size"): int,
}
_BASES = {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D"}
_COMPOSED = "transforms"
_HARMLESS = ("is a special case of", "is a specialized", "is an alias")
_NO_PROCESSORS: Mapping[str, Callable[..., Any]] = types.MappingProxyType({})
_NAMES = {bool: "true or false", float: "a number", str: "text", type(None): "null"}


class Argument(NamedTuple):
    """An argument of an operation, as a recipe can give it."""

    annotation: Any
    """Its type."""

    default: Any
    """Its value where the recipe gives none; ``Parameter.empty`` where it has to."""

    checked: bool
    """The operation checks it when it is built."""


@cache
def known_operations() -> dict[str, type]:
    """Return the classes that a recipe can name."""
    found: dict[str, type] = {kind.__name__: kind for kind in OURS}
    for name in dir(A):
        kind = getattr(A, name)
        if (
            isinstance(kind, type)
            and issubclass(kind, A.BasicTransform | A.BaseCompose)
            and not issubclass(kind, A.Transform3D)
            and kind.__module__.startswith("albumentations.")
            and name not in _REFUSED
            and name not in _BASES
            and not name.startswith("Base")
        ):
            found[name] = kind
    return dict(sorted(found.items()))


@cache
def arguments_of(operation: str) -> dict[str, Argument]:
    """Return the arguments of an operation by name, in order.

    Args:
        operation: A name of :func:`known_operations`.
    """
    kind: Any = known_operations()[operation]
    schema = getattr(kind, "InitSchema", None)
    fields = schema.model_fields if schema is not None else {}
    found = {}
    for name, parameter in list(signature(kind.__init__).parameters.items())[1:]:
        if (operation, name) in _REFUSED_ARGUMENTS:
            continue
        checked, default = name in fields, parameter.default
        if kind in OURS:
            annotation, checked = parameter.annotation, True
        elif (operation, name) in _NARROWED:
            annotation, checked = _NARROWED[operation, name], False
        elif checked:
            field = fields[name]
            annotation = typing.Annotated[field.annotation, *field.metadata, name]
        elif name == "p":  # SomeOf's default is the whole number 1
            annotation = float
        elif isinstance(default, tuple):
            annotation = types.GenericAlias(tuple, (type(default[0]), ...))
        else:
            annotation = type(default)
        found[name] = Argument(annotation, default, checked or name == _COMPOSED)
    return found


def build_operations(
    operations: Sequence[Mapping[str, Any]],
    registered: Mapping[str, Callable[..., Any]] = _NO_PROCESSORS,
) -> list[Any]:
    """Return the transforms and processors of a recipe's ``cpu`` section.

    Args:
        operations: ``[{"HorizontalFlip": {"p": 0.5}},
            {"OneOf": {"transforms": [...]}}, {"mypackage.Blur": {"k": 3}}]``.
        registered: The user's own operations by dotted name.

    Raises:
        UsageError: A name is not known, an argument is not known, out of its bounds or
            of another type; with the place, the value, the bound and the nearest name.
    """
    check_operations(operations)
    built = [
        _processor(op, registered, f"cpu[{i}]")
        if "." in next(iter(op))
        else _build(op, f"cpu[{i}]")
        for i, op in enumerate(operations)
    ]
    ours = A.BasicTransform | A.BaseCompose
    check_growth([t if isinstance(t, ours) else None for t in built])
    return built


def _processor(
    operation: Mapping[str, Any],
    registered: Mapping[str, Callable[..., Any]],
    where: str,
) -> Any:  # noqa: ANN401
    ((name, arguments),) = operation.items()
    if name not in registered:
        raise UsageError(
            f"{where}: no operation {shorten(name)} is registered"
            + did_you_mean(name, registered)
            + "; import the module that defines it first"
        )
    for argument, value in (arguments or {}).items():
        if argument in PLACES:
            raise UsageError(f"{where}: {name}: a recipe names no files: {argument}")
        check_values(name, argument, value, where)
    try:
        return registered[name](**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where}: {name} refuses its arguments: {_line(str(error))}"
        ) from error


def _build(operation: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
    ((name, given),) = operation.items()
    _check_name(name, where)
    arguments = dict(given or {})
    for argument, value in arguments.items():
        _check_argument(name, argument, value, where)
    if _COMPOSED in arguments:
        arguments[_COMPOSED] = [
            _build(op, f"{where}.{name}[{i}]")
            for i, op in enumerate(arguments[_COMPOSED])
        ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            built = known_operations()[name](**arguments)
        except (ArithmeticError, AttributeError, LookupError) as error:
            reason = f"{type(error).__name__}: {_line(str(error))}"
            raise UsageError(
                f"{where}: {name} refuses its arguments: {reason}"
            ) from error
        except (TypeError, ValueError) as error:
            reason = _reason(error, arguments)
            raise UsageError(f"{where}: {name}: {reason}") from error
    for warning in caught:  # Albumentations goes on with the defaults
        if not any(words in str(warning.message) for words in _HARMLESS):
            raise UsageError(f"{where}: {name}: {_line(str(warning.message))}")
    return built


def _check_name(name: str, where: str) -> None:
    if name in _REFUSED:
        raise UsageError(f"{where}: {name} cannot stand in a recipe: {_REFUSED[name]}")
    if name in known_operations():
        return
    if "." in name:
        raise UsageError(
            f"{where}: an operation of your own such as {shorten(name)} stands at the"
            " top of the cpu section, not inside of a composition"
        )
    raise UsageError(
        f"{where}: there is no operation {shorten(name)}"
        + did_you_mean(name, known_operations())
    )


def _check_argument(name: str, argument: str, value: object, where: str) -> None:
    known = arguments_of(name)
    if argument not in known:
        why = _REFUSED_ARGUMENTS.get((name, argument))
        raise UsageError(
            f"{where}: {name}: {argument} cannot stand in a recipe: {why}"
            if why
            else f"{where}: {name} has no argument {shorten(argument)}"
            + did_you_mean(argument, known)
            + f"; it takes {', '.join(known)}"
        )
    if argument == _COMPOSED:
        if not value:
            raise UsageError(f"{where}: {name}: {_COMPOSED} holds at least 1 operation")
        return
    expected = known[argument].annotation
    kinds = frozenset(_kinds(expected))
    _check_kinds(value, kinds, f"{where}: {name}: {argument}")
    check_values(name, argument, value, where)
    if not known[argument].checked:
        try:
            TypeAdapter(expected).validate_python(value)
        except ValidationError as error:
            reason = _reason(error, {argument: value}, argument)
            raise UsageError(f"{where}: {name}: {reason}") from error


def _kinds(annotation: Any) -> Iterator[type | str]:  # noqa: ANN401
    """Yield the types of the single values in an annotated value, or the words."""
    inner = typing.get_args(annotation)
    if annotation in (bool, str, type(None)):
        yield annotation
    elif annotation in (int, float, Any):  # Any: the ranges of AdditiveNoise
        yield float
    elif typing.get_origin(annotation) is typing.Literal:
        yield from (v if isinstance(v, str) else _kind(v) for v in inner)
    elif typing.get_origin(annotation) is dict:
        yield from _kinds(inner[1])
    else:
        for part in inner:
            yield from _kinds(part)


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)


def _check_kinds(value: object, kinds: Collection[type | str], name: str) -> None:
    """Refuse what pydantic would convert: "5" to 5, true to 1, and past the bounds."""
    if isinstance(value, list | tuple):
        for item in value:
            _check_kinds(item, kinds, name)
    elif isinstance(value, dict):
        for item in value.values():
            _check_kinds(item, kinds, name)
    elif _kind(value) not in kinds and not (isinstance(value, str) and value in kinds):
        expected = " or ".join(
            sorted(k if isinstance(k, str) else _NAMES[k] for k in kinds)
        )
        hint = "; YAML takes 1e-3 for text: write 1.0e-3" if _number(value) else ""
        raise UsageError(f"{name} takes {expected}, got {shorten(value)}{hint}")


def _number(value: object) -> bool:
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False


def _reason(
    error: Exception, arguments: Mapping[str, Any], argument: str | None = None
) -> str:
    """Return one line: the argument, what is wrong with it, and its value."""
    found = error if isinstance(error, ValidationError) else error.__cause__
    if not isinstance(found, ValidationError):
        return _line(str(error))
    errors = found.errors(include_url=False, include_context=False)
    name = argument or (str(errors[0]["loc"][0]) if errors[0]["loc"] else "")
    messages = [
        e["msg"].removeprefix("Value error, ")
        for e in errors
        if argument or not name or str(e["loc"][0]) == name
    ]
    text = _line(" or ".join(dict.fromkeys(messages)))
    if not name:
        return text
    if name not in arguments:
        return f"{name}: {text}"
    return f"{name}: {text[0].lower()}{text[1:]}, got {shorten(arguments[name])}"


def _line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:297]}..."
