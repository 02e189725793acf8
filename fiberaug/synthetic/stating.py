"""Frozen dataclasses whose fields say in JSON Schema what they may hold.

One statement a field serves the check when an object is made, the reading of JSON from
elsewhere, and the schema that is published.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fiberaug.errors import UsageError

__all__ = ["check_fields", "from_plain", "own_schema", "stated", "to_plain"]

T = TypeVar("T")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_MORE = "more"  # the field that keeps what a newer version of the format added
_MOST_SHOWN = 60


def stated(
    description: str,
    schema: Mapping[str, Any],
    *,
    default: Any = dataclasses.MISSING,  # noqa: ANN401  # of the field's type
    name: str | None = None,
    part: type | None = None,
) -> Any:  # noqa: ANN401  # a field of any type
    """Return a dataclass field; without a default it is required.

    Args:
        description: What it holds, with its unit.
        schema: Its JSON Schema: ``type`` (one or a list), ``enum``, ``minimum``,
            ``maximum``, ``pattern``, ``minLength``, ``maxLength``, ``maxItems``,
            ``items``.
        default: What it is when nothing is said; a callable makes it.
        name: Its name in JSON where Python cannot have that.
        part: The dataclass of an object, or of the objects of an array.
    """
    about = {"schema": schema, "description": description, "name": name, "part": part}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=about)
    return dataclasses.field(default=default, metadata=about)


def _fields(kind: Any) -> list[tuple[str, "dataclasses.Field[Any]"]]:  # noqa: ANN401
    """Return the fields of a dataclass by their names in JSON."""
    return [
        (field.metadata["name"] or field.name, field)
        for field in dataclasses.fields(kind)
        if field.name != _MORE
    ]


def check_fields(value: Any, path: str = "") -> None:  # noqa: ANN401  # a dataclass
    """Check the fields of a dataclass, for its ``__post_init__``.

    Raises:
        UsageError: A field is not what it says; the message names it.
    """
    for name, field in _fields(value):
        found = getattr(value, field.name)
        if found is not None or field.default is not None:
            _check(found, field, f"{path}{name}")


def _check(value: Any, field: "dataclasses.Field[Any]", path: str) -> None:  # noqa: ANN401
    part = field.metadata["part"]
    if part is None:
        _conforms(value, field.metadata["schema"], path)
        return
    several = field.metadata["schema"].get("type") == "array"
    if several and not isinstance(value, tuple):
        raise UsageError(f"{path} must be a tuple, got {_shown(value)}")
    for one in value if several else (value,):
        if not isinstance(one, part):
            raise UsageError(f"{path} must be {part.__name__}, got {_shown(one)}")


def _conforms(value: Any, schema: Mapping[str, Any], path: str) -> None:  # noqa: ANN401
    allowed = schema.get("type", ())
    allowed = (allowed,) if isinstance(allowed, str) else allowed
    if allowed and not any(_is(value, one) for one in allowed):
        raise UsageError(f"{path} must be {' or '.join(allowed)}, got {_shown(value)}")
    if "enum" in schema and value not in schema["enum"]:
        raise UsageError(
            f"{path} must be one of {', '.join(map(str, schema['enum']))}, got"
            f" {_shown(value)}"
        )
    if isinstance(value, str):
        if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            raise UsageError(
                f"{path} must look like {schema['pattern']}, got {_shown(value)}"
            )
        _within(len(value), schema, ("minLength", "maxLength"), f"length of {path}")
    elif isinstance(value, list | tuple | Mapping):
        _contents_conform(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _within(value, schema, ("minimum", "maximum"), path)


def _contents_conform(
    value: list[Any] | tuple[Any, ...] | Mapping[Any, Any],
    schema: Mapping[str, Any],
    path: str,
) -> None:
    if not isinstance(value, Mapping):
        _within(len(value), schema, ("minItems", "maxItems"), f"length of {path}")
        for i, item in enumerate(value):
            _conforms(item, schema.get("items", {}), f"{path}[{i}]")
        return
    for key, item in value.items():
        if not isinstance(key, str):
            raise UsageError(f"names in {path} must be text, got {_shown(key)}")
        _conforms(item, schema.get("additionalProperties", {}), f"{path}.{key}")


def _is(value: Any, kind: str) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, _TYPES[kind])


def _within(
    value: float, schema: Mapping[str, Any], names: tuple[str, str], path: str
) -> None:
    low, high = (schema.get(name) for name in names)
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low or 0} to {high}"
        raise UsageError(f"{path} must be {bounds}, got {value}")


def _shown(value: Any) -> str:  # noqa: ANN401
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def to_plain(value: Any) -> dict[str, Any]:  # noqa: ANN401  # a dataclass
    """Return a dataclass as what JSON has; what is None is left out."""
    plain: dict[str, Any] = {}
    for name, field in _fields(value):
        found = getattr(value, field.name)
        if field.metadata["part"] is not None and found is not None:
            found = (
                [to_plain(one) for one in found]
                if isinstance(found, tuple)
                else to_plain(found)
            )
        elif isinstance(found, tuple):
            found = list(found)
        elif isinstance(found, Mapping):
            found = dict(found)
        if found is not None:
            plain[name] = found
    return plain | dict(value.more)


def from_plain(
    kind: Callable[..., T],
    values: Any,  # noqa: ANN401  # from JSON
    *,
    path: str = "",
    newer: bool = False,
) -> T:
    """Return the dataclass that JSON states.

    Args:
        kind: The dataclass.
        values: What JSON has.
        path: Where the values stand, with a dot at the end; for messages.
        newer: Keep unknown fields, which a newer version may have added.

    Raises:
        UsageError: A field is missing, unknown, or not what it has to be.
    """
    if not isinstance(values, Mapping):
        place = path.rstrip(".") or "it"
        raise UsageError(f"{place} must be object, got {_shown(values)}")
    rest = dict(values)
    made: dict[str, Any] = {}
    for name, field in _fields(kind):
        if name not in rest:
            required = (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            )
            if required:
                raise UsageError(f"{path}{name} is missing")
            continue
        value, part = rest.pop(name), field.metadata["part"]
        if part is not None and value is not None:
            several = field.metadata["schema"].get("type") == "array"
            value = _parts(part, value, f"{path}{name}", newer, several=several)
        elif part is None and (value is not None or field.default is not None):
            _conforms(value, field.metadata["schema"], f"{path}{name}")
        made[field.name] = tuple(value) if isinstance(value, list) else value
    if rest and not newer:
        known = ", ".join(name for name, _ in _fields(kind))
        raise UsageError(f"{path}{next(iter(rest))} is unknown; there are {known}")
    return kind(**made, more=rest)


def _parts(part: Any, value: Any, path: str, newer: bool, *, several: bool) -> Any:  # noqa: ANN401, FBT001
    if not several:
        return from_plain(part, value, path=f"{path}.", newer=newer)
    if not isinstance(value, list | tuple):
        raise UsageError(f"{path} must be array, got {_shown(value)}")
    return [
        from_plain(part, one, path=f"{path}[{i}].", newer=newer)
        for i, one in enumerate(value)
    ]


def own_schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401  # a dataclass
    """Return the JSON Schema of a dataclass, its parts included."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, field in _fields(kind):
        schema, part = dict(field.metadata["schema"]), field.metadata["part"]
        if part is not None:
            inner = own_schema(part)
            schema |= {"items": inner} if schema.get("type") == "array" else inner
        properties[name] = {"description": field.metadata["description"], **schema}
        missing = dataclasses.MISSING
        if field.default is missing and field.default_factory is missing:
            required.append(name)
    return {"type": "object", "required": required, "properties": properties}
