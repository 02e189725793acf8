"""From what the user gave as ``transform`` to a pipeline."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fiberaug import presets
from fiberaug.augment.build import build_operations
from fiberaug.augment.opaque import source_hash
from fiberaug.augment.pipeline import Pipeline, as_pipeline, pipeline_hash
from fiberaug.augment.processor import registered_processors
from fiberaug.recipe import Recipe

__all__ = ["Resolved", "recipe_hash", "resolve_transform"]


class Resolved(NamedTuple):
    """A transform, understood."""

    pipeline: Pipeline | None
    decode: Mapping[str, Any] | None
    """The recipe's section, where it has one."""

    sections: Mapping[str, Any] = MappingProxyType({})
    """The recipe's sections ``gpu``, ``batch`` and ``mix``, where it has them."""


def resolve_transform(transform: Any, *, opaque: str = "allow") -> Resolved:  # noqa: ANN401
    """Return the pipeline of a transform, a recipe, or the path of a recipe file.

    Args:
        transform: See :class:`fiberaug.StreamingDataset`.
        opaque: ``refuse`` raises where there is a callable of which nothing is known.

    Raises:
        UsageError: It is none of these, or the recipe is refused.
        StoreError: The recipe file cannot be read.
    """
    if transform is None:
        return Resolved(None, None)
    if isinstance(transform, str) and transform in presets.names():
        transform = presets.preset(transform)
    if isinstance(transform, str | Path):
        transform = Recipe.from_file(transform)
    if isinstance(transform, Recipe):
        built = build_operations(transform.operations, registered_processors())
        pipeline = as_pipeline(built, opaque=opaque) if built else None
        sections: dict[str, Any] = {
            "gpu": transform.gpu,
            "batch": transform.batch,
            "mix": transform.mix,
        }
        later = {name: section for name, section in sections.items() if section}
        return Resolved(pipeline, transform.decode, later)
    return Resolved(as_pipeline(transform, opaque=opaque), None)


def recipe_hash(
    pipeline: Pipeline | None,
    decode: Mapping[str, Any],
    decoders: Mapping[str, Callable[[bytes], Any]],
    ignore_index: int | None,
) -> str:
    """Return 16 hexadecimal digits that name all that CPU pixels depend on."""
    extra: dict[str, Any] = dict(decode)
    if decoders:
        extra["decoders"] = {k: source_hash(v) for k, v in sorted(decoders.items())}
    if ignore_index is not None:
        extra["ignore_index"] = ignore_index
    return pipeline_hash(pipeline, extra)
