"""Whether two values of a field are equal: of one type, and bit for bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["difference"]


def difference(before: Any, after: Any) -> str | None:  # noqa: ANN401, PLR0911  # values of fields; one return a kind
    """Return what differs between a value and what was read back, or None: nothing.

    Arrays are compared by dtype, shape and bytes, lists and mappings item by item.
    """
    if type(before) is not type(after):
        return f"{_kind(before)} became {_kind(after)}"
    if isinstance(before, np.ndarray):
        if (before.dtype, before.shape) != (after.dtype, after.shape):
            return f"{_kind(before)} became {_kind(after)}"
        same = before.tobytes() == after.tobytes()
        return None if same else f"values of {_kind(before)} changed"
    if isinstance(before, list | tuple):
        if len(before) != len(after):
            return f"{len(before)} items became {len(after)}"
        pairs = zip(before, after, strict=True)
        return next((told for pair in pairs if (told := difference(*pair))), None)
    if isinstance(before, Mapping):
        if list(before) != list(after):
            return f"{list(before)!r:.80} became {list(after)!r:.80}"
        found = (difference(value, after[name]) for name, value in before.items())
        return next((told for told in found if told), None)
    # Not ==: -0.0 is not 0.0.
    same = repr(before) == repr(after)
    return None if same else f"{before!r:.80} became {after!r:.80}"


def _kind(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
