"""What is left to do when baked samples are read, as a recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import yaml

from fiberaug.augment.build import arguments_of, build_operations, known_operations
from fiberaug.augment.normalize import Finish
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.augment.processor import registered_processors
from fiberaug.augment.spec import canonical_hash, compose_spec
from fiberaug.baking.beginning import beginning
from fiberaug.decode.options import DecodeOptions
from fiberaug.errors import UsageError
from fiberaug.recipe import Recipe

__all__ = ["Divided", "decode_section", "divide", "rest_of", "to_yaml"]

_LIMITS = ("max_pixels", "max_side")


class Divided(NamedTuple):
    """A pipeline in two."""

    done: Recipe
    """What is baked."""

    rest: Recipe
    """What is left."""

    why: str
    """What stopped the beginning."""


def divide(transform: Any) -> Divided:  # noqa: ANN401  # as StreamingDataset takes it
    """Return the longest beginning that draws nothing, and the rest.

    Raises:
        UsageError: Not even the first operation can be done once for all; or the
            pipeline cannot be written as a recipe.
    """
    if isinstance(transform, str | Path):
        transform = Recipe.from_file(transform)
    if isinstance(transform, Recipe):
        recipe = transform
    else:
        recipe = Recipe(cpu=tuple(_operations(_items(transform))))
    items = build_operations(recipe.cpu, registered_processors())
    count, why = beginning(items)
    if not count:
        raise UsageError(
            "nothing of the pipeline can be baked once for all: its first operation"
            f" {why}"
            if items
            else "the pipeline has no operation to bake"
        )
    done = Recipe(cpu=recipe.cpu[:count], decode=recipe.decode)
    rest = Recipe(
        cpu=recipe.cpu[count:],
        gpu=recipe.gpu,
        batch=recipe.batch,
        normalize=recipe.normalize,
    )
    return Divided(done, rest, why)


def rest_of(finish: Finish) -> Recipe:
    """Return the recipe of what a loader's consumer does to delivered samples."""
    table = finish.table
    if table is None:
        return Recipe()
    params = table.params
    return Recipe(normalize={n: params[n] for n in ("mean", "std", "max_pixel_value")})


def decode_section(options: DecodeOptions, *, plain: bool) -> dict[str, Any] | None:
    """Return how baked images have to be decoded, or None where any way is right.

    Args:
        options: Of the set that was baked.
        plain: All images are uint8 RGB.
    """
    found: dict[str, Any] = {} if plain else {"color": "keep", "depth": "keep"}
    usual = DecodeOptions()
    for name in _LIMITS:
        if getattr(options, name) != getattr(usual, name):
            found[name] = getattr(options, name)
    return found or None


def to_yaml(recipe: Recipe) -> bytes:
    """Return the content of a recipe file."""
    return yaml.safe_dump(recipe.to_dict(), sort_keys=False).encode()


def _items(transform: Any) -> list[Any]:  # noqa: ANN401
    if transform is None:
        return []
    if not isinstance(transform, A.Compose):
        return list(transform) if isinstance(transform, list | tuple) else [transform]
    if transform.processors or transform.additional_targets or transform.p < 1:
        raise UsageError(
            "a pipeline with bbox_params, keypoint_params, additional_targets or p < 1"
            " cannot be divided: what is left would have to say them, and a recipe"
            " cannot; give a recipe or a list of transforms"
        )
    return list(transform.transforms)


def _operations(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return transforms as operations of a recipe that build the same again."""
    found = []
    for item in items:
        try:
            spec = compose_spec(A.Compose([item]))
            operation = _operation((spec or {})["transform"]["transforms"][0])
            again = build_operations([operation])
        except (AttributeError, KeyError, TypeError, UsageError) as error:
            raise _unwritten(item, str(error)) from error
        one, other = (
            canonical_hash(as_pipeline([it]).identity()) for it in (item, again[0])
        )
        if one != other:
            raise _unwritten(item, "it is another one when it is built again")
        found.append(operation)
    return found


def _operation(spec: Mapping[str, Any]) -> dict[str, Any]:
    name = spec["__class_fullname__"].rpartition(".")[2]
    if name not in known_operations():
        raise UsageError(f"{name} cannot stand in a recipe")
    arguments = {}
    for argument, about in arguments_of(name).items():
        if argument == "transforms":
            arguments[argument] = [_operation(child) for child in spec["transforms"]]
        elif argument in spec and not _same(spec[argument], about.default):
            arguments[argument] = spec[argument]
    return {name: arguments}


def _same(value: Any, default: Any) -> bool:  # noqa: ANN401  # JSON and an argument
    listed = list(default) if isinstance(default, tuple) else default
    return bool(value == listed) and type(value) is type(listed)


def _unwritten(item: object, why: str) -> UsageError:
    return UsageError(
        f"the pipeline cannot be divided: {type(item).__name__} cannot be written into"
        f" recipe.yaml, where what is left has to stand ({why}); give a recipe"
    )
