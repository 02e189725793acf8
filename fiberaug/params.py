"""Drawn parameters as plain values, short enough to be kept for every sample.

A worker packs (a copy, large arrays summed up); whoever looks at a record encodes.
"""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_NUMBERS", "encode", "pack"]

MOST_NUMBERS = 64
"""Larger arrays are logged as dtype, shape, min and max: the seed brings them back."""

_PLAIN = frozenset({int, str, bool, type(None)})
_LIGHT = _PLAIN | {float}


def pack(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of drawn parameters that is small and does not change any more."""
    packed = dict(params)
    for name, value in params.items():
        kind = type(value)
        if kind in _LIGHT or (kind is tuple and _LIGHT.issuperset(map(type, value))):
            if kind is tuple and len(value) > MOST_NUMBERS:
                packed[name] = encode(value)
        else:
            small = kind is np.ndarray and value.size <= MOST_NUMBERS
            packed[name] = value.copy() if small else encode(value)
    return packed


def encode(value: Any) -> Any:  # noqa: ANN401, PLR0911  # whatever a transform draws
    """Return a value as int, float, str, bool, None, list or dict of such.

    Arrays of more than 64 numbers become ``{"dtype", "shape", "min", "max"}``, numbers
    that JSON does not have become text, and other objects the name of their class.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > MOST_NUMBERS:
            return {"type": kind.__name__, "length": len(value)}
        return [encode(item) for item in value]
    if isinstance(value, Enum):
        return encode(value.value)
    return {"object": f"{kind.__module__}.{kind.__qualname__}"}


def _array(array: NDArray[Any]) -> Any:  # noqa: ANN401
    if array.dtype == object:
        return {"dtype": "object", "shape": list(array.shape)}
    if array.size <= MOST_NUMBERS:
        return encode(array.tolist())
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": encode(array.min().item()),
        "max": encode(array.max().item()),
    }
