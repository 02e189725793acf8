"""From a recipe's operations to an Albumentations pipeline: known names only."""

import difflib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import albumentations as A

from fiberaug.errors import UsageError

__all__ = ["build_pipeline", "known_operations"]

_LARGEST_PX = 8192
_REFUSED = {
    "Lambda": "it takes code",
    "FDA": "it reads files",
    "HistogramMatching": "it reads files",
    "PixelDistributionAdaptation": "it reads files",
    "TemplateTransform": "it reads files",
    "OverlayElements": "it takes images from the call",
    "Mosaic": "it takes images from the call",
    "TextImage": "it reads a font file",
    "ReplayCompose": "every pipeline is replayable here",
    "Compose": "use Sequential inside of a recipe",
}
_SIZES = ("size", "height", "width", "max_size", "min_height", "min_width")


def known_operations() -> dict[str, type]:
    """Return the classes that a recipe can name."""
    found = {}
    for name in dir(A):
        kind = getattr(A, name)
        if (
            isinstance(kind, type)
            and issubclass(kind, A.BasicTransform | A.BaseCompose)
            and kind.__module__.startswith("albumentations.")
            and name not in _REFUSED
            and not name.startswith("Base")
            and name
            not in {
                "BasicTransform",
                "DualTransform",
                "ImageOnlyTransform",
                "NoOp3D",
                "Transform3D",
            }
        ):
            found[name] = kind
    return found


def build_pipeline(operations: Sequence[Mapping[str, Any]]) -> A.Compose:
    """Return the pipeline of a recipe's ``cpu`` section.

    Args:
        operations: ``[{"HorizontalFlip": {"p": 0.5}},
            {"OneOf": {"transforms": [...]}}]``.

    Raises:
        UsageError: A name is not known, or an argument is refused.
    """
    return A.Compose(_build_all(operations, known_operations(), "cpu"))


def _build_all(
    operations: Sequence[Mapping[str, Any]], known: Mapping[str, type], where: str
) -> list[Any]:
    return [_build(op, known, f"{where}[{i}]") for i, op in enumerate(operations)]


def _build(operation: Mapping[str, Any], known: Mapping[str, type], where: str) -> Any:  # noqa: ANN401
    ((name, arguments),) = operation.items()
    if name in _REFUSED:
        raise UsageError(f"{where}: {name} cannot stand in a recipe: {_REFUSED[name]}")
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise UsageError(
            f"{where}: there is no operation {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    arguments = dict(arguments or {})
    if "transforms" in arguments:
        arguments["transforms"] = _build_all(
            arguments["transforms"], known, f"{where}.{name}"
        )
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            built = known[name](**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where}: {name} refuses its arguments: {_first(error)}"
        ) from error
    unknown = [
        str(w.message) for w in caught if "not valid for transform" in str(w.message)
    ]
    if unknown:
        raise UsageError(f"{where}: {name}: {unknown[0]}")
    for argument in _SIZES:
        value = getattr(built, argument, None)
        sides = value if isinstance(value, tuple | list) else (value,)
        if any(isinstance(side, int) and side > _LARGEST_PX for side in sides):
            raise UsageError(
                f"{where}: {name}: {argument} must be at most {_LARGEST_PX} px,"
                f" got {value}"
            )
    return built


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[1:3]) if len(lines) > 2 else "; ".join(lines)
