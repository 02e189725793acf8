"""The JSON Schema of a recipe's ``gpu`` section, one definition an operation."""

import json
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from fiberaug.gpu.arguments import kind_of
from fiberaug.gpu.building import own_operations
from fiberaug.gpu.layouts import LAYOUTS
from fiberaug.gpu.spec import arguments_of
from fiberaug.recipe import MOST_OPERATIONS

__all__ = ["gpu_schema"]

_PREFIX = "gpu."
"""Of definitions: CPU operations can have the same names."""


def gpu_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of the section, and the definitions that it refers to.

    Every section that can be built is valid. The schema cannot say everything: ranges
    that have to rise, arguments that go together, kernels of odd sizes.
    """
    kornia = {name: _kornia(name) for name in LAYOUTS}
    definitions = {f"{_PREFIX}{name}": stated for name, stated in kornia.items()}
    for name, kind in own_operations().items():
        definitions[f"{_PREFIX}{name}"] = _own(kind)
    definitions[f"{_PREFIX}ImageSequential"] = _container(kornia)
    section = {
        "description": "Operations on batches, in order.",
        "type": ["array", "null"],
        "maxItems": MOST_OPERATIONS,
        "items": _one_of(name.removeprefix(_PREFIX) for name in definitions),
    }
    return section, definitions


def _one_of(names: Any) -> dict[str, Any]:  # noqa: ANN401  # an iterable
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {n: {"$ref": f"#/$defs/{_PREFIX}{n}"} for n in names},
    }


def _kornia(name: str) -> dict[str, Any]:
    stated = {}
    for argument, default in arguments_of(name).items():
        stated[argument] = kind_of(name, argument).schema(), default
    return _mapping(stated)


def _own(kind: type) -> dict[str, Any]:
    return _mapping({n: ({}, p.default) for n, p in signature(kind).parameters.items()})


def _mapping(stated: Mapping[str, tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    properties = {}
    for argument, (schema, default) in stated.items():
        properties[argument] = schema
        if default is not Parameter.empty:
            plain = getattr(default, "name", default)
            properties[argument] = {**schema, "default": json.loads(json.dumps(plain))}
    required = [a for a, (_, default) in stated.items() if default is Parameter.empty]
    found = {
        "type": "object" if required else ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }
    return {**found, "required": required} if required else found


def _container(kornia: Mapping[str, Any]) -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0, "maximum": MOST_OPERATIONS}
    pair = {"type": "array", "items": count, "minItems": 2, "maxItems": 2}
    weight = {"type": "number", "minimum": 0, "maximum": 1000}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["transforms", "random_apply"],
        "properties": {
            "transforms": {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_OPERATIONS,
                "items": _one_of(kornia),
            },
            "random_apply": {"anyOf": [count, pair]},
            "random_apply_weights": {
                "anyOf": [{"type": "array", "items": weight}, {"type": "null"}]
            },
        },
    }
