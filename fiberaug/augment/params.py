"""Drawn parameters as plain values, short enough to be kept for every sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["MOST_NUMBERS", "encode", "encode_params"]

MOST_NUMBERS = 64
"""Larger arrays are logged as dtype, shape, min and max: the seed brings them back."""

_PLAIN = (int, float, str, bool, type(None))


def encode_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of one applied transform as plain values."""
    return {
        name: value if type(value) in _PLAIN else encode(value)
        for name, value in params.items()
    }


def encode(value: Any) -> Any:  # noqa: ANN401  # whatever a transform draws
    """Return a value as int, float, str, bool, None, list or dict of such."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        if len(value) > MOST_NUMBERS and isinstance(
            value[0], list | tuple | np.generic | float | int
        ):
            return _encode_array(
                np.asarray(value, np.float64 if not _ragged(value) else object)
            )
        return [item if type(item) in _PLAIN else encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, int | float | str):  # subclasses, such as enums
        return value.value if hasattr(value, "value") else value
    return {"object": f"{type(value).__module__}.{type(value).__qualname__}"}


def _ragged(value: list[Any] | tuple[Any, ...]) -> bool:
    lengths = {len(item) if isinstance(item, list | tuple) else -1 for item in value}
    return len(lengths) > 1


def _encode_array(array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401
    if array.dtype == object:
        return {"dtype": "object", "shape": list(array.shape)}
    if array.size <= MOST_NUMBERS:
        return array.tolist()
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": array.min().item(),
        "max": array.max().item(),
    }
