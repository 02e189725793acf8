"""JSON and labels of a sample: what may stand in them, and what not."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fiberaug.errors import SampleBroken

__all__ = ["JSON_BYTES", "parse_json", "parse_label", "parse_metadata"]

JSON_BYTES = 2**20
_JSON_DEPTH = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def parse_json(data: bytes | memoryview) -> Any:  # noqa: ANN401  # JSON
    """Return the content of a JSON member.

    Raises:
        SampleBroken: It is no JSON, larger than 1 MiB, deeper than 64, has NaN, a
            number that is infinite, or a key twice.
    """
    if len(data) > JSON_BYTES:
        raise SampleBroken(
            f"JSON of {len(data)} bytes, the limit is {JSON_BYTES}", stage="decode"
        )
    text = bytes(data)
    try:
        if text.count(b"[") + text.count(b"{") > _JSON_DEPTH:
            _check_depth(text)
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
        )
    except ValueError as error:
        raise SampleBroken(f"the JSON is refused: {error}", stage="decode") from error


def _check_depth(text: bytes) -> None:
    depth = 0
    for byte in re.findall(rb"[\[\]{}]", _STRING.sub(b"", text)):
        depth += 1 if byte in b"[{" else -1
        if depth > _JSON_DEPTH:
            raise ValueError(f"it is deeper than {_JSON_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"a key stands twice among {[name for name, _ in pairs]}")
    return result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large for a number")
    return value


def parse_metadata(members: Mapping[str, bytes | memoryview]) -> dict[str, Any]:
    """Return the content of the JSON members by extension; refused ones are left out.

    Tools write JSON that nobody reads: only a field that comes from it needs it sound.
    """
    found: dict[str, Any] = {}
    for extension, data in members.items():
        if extension == "json" or extension.endswith(".json"):
            try:
                found[extension] = parse_json(data)
            except SampleBroken:
                continue
    return found


def parse_label(value: Any, classes: Mapping[str, int]) -> Any:  # noqa: ANN401
    """Return a label: int, float, or float32 vector.

    Args:
        value: Text of a ``.cls`` member, a JSON value, or an array.
        classes: Ids by class name.

    Raises:
        SampleBroken: It is a name that the data set does not know, or no finite number.
    """
    if isinstance(value, str):
        return _label_of_text(value.strip(), classes)
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | int | float):
        number = int(value) if isinstance(value, bool) else value
        return _checked(number, value)
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        vector = np.zeros((0, 0), np.float32)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise SampleBroken(
            "label must be a number, a name or a list of finite numbers, got"
            f" {value!r:.200}",
            stage="decode",
        )
    return vector


def _label_of_text(text: str, classes: Mapping[str, int]) -> int | float:
    if text in classes:
        return classes[text]
    if _INTEGER.fullmatch(text):
        return _checked(int(text), text)
    try:
        # Python takes 1_000 and digits of any script for a number.
        number = float(text if text.isascii() and "_" not in text else "?")
    except ValueError:
        raise SampleBroken(
            f"label {text!r:.200} is no number, and no class of the data set:"
            f" {sorted(classes)[:10]}",
            stage="decode",
        ) from None
    return _checked(number, text)


def _checked(number: float, given: object) -> int | float:
    # A float32 tensor and an int64 one are where labels end up.
    if not math.isfinite(number) or not -(2**63) <= number < 2**63:
        raise SampleBroken(
            f"label must be finite and fit in 64 bits, got {given!r:.200}",
            stage="decode",
        )
    return number
