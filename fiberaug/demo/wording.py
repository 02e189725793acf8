"""What a record says of an operation, in a few words for people."""

# ruff: noqa: RUF001  # signs for times and minus, as people write them

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fiberaug.record import AppliedTransform

__all__ = ["operation_text", "size_text"]

_Numbers = Sequence[float]


def operation_text(transform: AppliedTransform) -> str:
    """Return the main parameters that were drawn; empty where there are none."""
    words = [
        _WORDS[name](value)
        for name, value in transform.params.items()
        if name in _WORDS and value is not None
    ]
    return ", ".join(word for word in words if word)


def size_text(size: tuple[int, int]) -> str:
    """Return width and height in pixels of a size given as (height, width)."""
    return f"{size[1]} × {size[0]} px"


def _crop(corners: _Numbers) -> str:
    x0, y0, x1, y1 = corners
    return f"{x1 - x0:.0f} × {y1 - y0:.0f} px at ({x0:.0f}, {y0:.0f})"


def _scale(value: float | Mapping[str, float]) -> str:
    if isinstance(value, Mapping):
        x, y = value["x"], value["y"]
        if x == y == 1.0:
            return ""
        return f"scale × {x:.2f}" if x == y else f"scale × {x:.2f}, {y:.2f}"
    return f"scale × {value:.3f}"


def _noise(summary: Any) -> str:  # noqa: ANN401  # an elided array, or a short one
    if not isinstance(summary, Mapping) or "min" not in summary:
        return ""
    low, high = summary["min"], summary["max"]
    return f"{_signed(low, 0)} to {_signed(high, 0)} levels"


def _signed(value: float, digits: int) -> str:
    value = round(value, digits) or 0.0  # no minus before a zero
    return f"{value:+.{digits}f}".replace("-", "−")


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "crop_coords": _crop,
    "rotate": lambda degrees: f"turn {_signed(degrees, 1)}°",
    "scale": _scale,
    "alpha": lambda factor: f"contrast × {factor:.2f}",
    "beta": lambda levels: f"light {_signed(levels, 0)} levels",
    "kernel": lambda taps: f"{len(taps)} px kernel",
    "noise_map": _noise,
    "brightness": lambda factor: f"brightness × {factor:.2f}",
    "contrast": lambda factor: f"contrast × {factor:.2f}",
    "saturation": lambda factor: f"saturation × {factor:.2f}",
    "hue": lambda turn: f"hue {_signed(360 * turn, 1)}°",
}
