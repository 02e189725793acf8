"""The JSON Schema of recipes, made from the operations' signatures and their bounds."""

import json
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from pydantic import TypeAdapter

from fiberaug.augment.bounds import MOST_ITEMS, MOST_TEXT, bound_of
from fiberaug.augment.build import arguments_of, known_operations
from fiberaug.mix import DRY, LATE, MATCHES, MODES
from fiberaug.recipe import MOST_OPERATIONS, VERSION
from fiberaug.schedules import SHAPES

__all__ = ["recipe_schema"]

_PROCESSOR = r"^[^.]+(\.[^.]+)+$"


def _mix() -> dict[str, Any]:
    """Return the schema of the section ``mix``."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    place = {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "minItems": 1, "items": {"type": "string"}},
        ]
    }
    shape = {
        "type": "object", "minProperties": 1, "maxProperties": 1,
        "additionalProperties": False,
        "properties": {name: {"type": "object"} for name in SHAPES},
    }  # fmt: skip
    schedule = {"anyOf": [share, shape]}
    section = _mapping(
        {
            "sources": {
                "anyOf": [
                    *place["anyOf"],
                    {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 64,
                        "additionalProperties": place,
                    },
                ]
            },
            "ratio": share,
            "weights": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
            },
            "mode": {"enum": list(MODES)},
            "schedule": {"anyOf": [schedule, {"type": "null"}]},
            "per_class": {
                "anyOf": [
                    {"type": ["boolean", "null"]},
                    {"type": "object", "additionalProperties": schedule},
                ]
            },
            "dry": {"enum": list(DRY)},
            "max_reuse": {"type": ["integer", "null"], "minimum": 1},
            "match": {"enum": list(MATCHES)},
            "match_labels": {"type": ["boolean", "null"]},
            "late": {"enum": list(LATE)},
        },
        description="Samples of other sets, at an exact ratio: see fiberaug.Mix.",
    )
    others = [name for name in section["properties"] if name != "sources"]
    section["dependentRequired"] = {name: ["sources"] for name in others}
    return section


def recipe_schema(
    sections: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the schema of a recipe, JSON Schema 2020-12, one definition an operation.

    Every recipe that can be built is valid. The schema cannot say everything: ranges
    that have to rise, arguments that go together, how far an image grows.

    Args:
        sections: Schemas of the sections ``gpu`` and ``batch``.
        definitions: What they refer to.
    """
    operations = {name: _operation(name) for name in known_operations()}
    normalize = operations["Normalize"]["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fiberaug:recipe:{VERSION}",
        "title": "FiberAug recipe",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": VERSION},
            "decode": _mapping(
                {
                    "color": {"enum": ["rgb", "gray", "keep"]},
                    "depth": {"enum": ["uint8", "keep"]},
                    "scale": {"enum": ["exact", "fast"]},
                },
                description="How images are decoded.",
            ),
            "cpu": {
                "description": "Operations in workers, in order.",
                "type": ["array", "null"],
                "maxItems": MOST_OPERATIONS,
                "items": {
                    "anyOf": [
                        {"$ref": "#/$defs/operation"},
                        {"$ref": "#/$defs/processor"},
                    ]
                },
            },
            **sections,
            "mix": _mix(),
            "normalize": _mapping(
                {name: normalize[name] for name in ("mean", "std", "max_pixel_value")},
                description="The normalisation, after all operations.",
            ),
        },
        "$defs": {
            "operation": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {
                    name: {"$ref": f"#/$defs/{name}"} for name in operations
                },
            },
            "processor": {
                "description": "An operation of your own, by its dotted name.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "patternProperties": {_PROCESSOR: {"type": ["object", "null"]}},
            },
            **operations,
            **definitions,
        },
    }


def _mapping(properties: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        **more,
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }


def _operation(name: str) -> dict[str, Any]:
    properties = {}
    required = []
    for argument, (annotation, default, _) in arguments_of(name).items():
        if argument == "transforms":
            two = {"minItems": 2, "maxItems": 2} if name == "OneOrOther" else {}
            items = {"$ref": "#/$defs/operation"}
            properties[argument] = {
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_OPERATIONS,
                "items": items,
                **two,
            }
            required.append(argument)
            continue
        stated = _bounded(TypeAdapter(annotation).json_schema(), name, argument)
        if default is Parameter.empty:
            required.append(argument)
        else:
            stated = {**stated, "default": json.loads(json.dumps(default))}
        properties[argument] = stated
    about = (known_operations()[name].__doc__ or name).strip().partition("\n")[0]
    found = _mapping(properties, description=about)
    return {**found, "type": "object", "required": required} if required else found


def _bounded(part: Any, name: str, argument: str) -> Any:  # noqa: ANN401
    """Return a part of a schema with the bounds of an argument in all its leaves."""
    if isinstance(part, list):
        return [_bounded(item, name, argument) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _bounded(value, name, argument) for key, value in part.items()}
    kind = found.get("type")
    if "enum" in found or "const" in found:
        return found
    if kind in ("number", "integer"):
        low, high = bound_of(name, argument)
        found["minimum"] = max(low, found.get("minimum", low))
        found["maximum"] = min(high, found.get("maximum", high))
    elif kind == "string":
        found["maxLength"] = MOST_TEXT
    elif kind == "array":
        found.setdefault("maxItems", MOST_ITEMS)
    elif kind == "object":
        found["maxProperties"] = MOST_ITEMS
    return found
