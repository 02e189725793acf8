"""What decoding makes of an image: its channels, its depth, and what is too large."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fiberaug.decode.header import ImageLimits
from fiberaug.errors import UsageError

__all__ = [
    "COLORS",
    "DECODER",
    "DEPTHS",
    "SCALES",
    "DecodeOptions",
    "parse_decode",
    "suggest",
]

DECODER = "opencv"
"""Identity of the decoder, part of the recipe's hash."""

COLORS = ("rgb", "gray", "keep")
"""What an image's channels can become."""

DEPTHS = ("uint8", "keep")
"""What an image's numbers can become."""

SCALES = ("exact", "fast")
"""Whether an image may be reduced while it is decoded."""

_KNOWN = {"color": COLORS, "depth": DEPTHS, "scale": SCALES}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How images are decoded; the same for every image of a data set."""

    color: str = "rgb"
    """``rgb``: 3 channels; ``gray``: 1 channel, the luma 0.299 R + 0.587 G + 0.114 B of
    a colour image; ``keep``: 1 of gray, 2 of gray with alpha, 3 of RGB, 4 of RGBA."""

    depth: str = "uint8"
    """``uint8``: of 16 bits the upper 8, and what has no 8 bits is refused; ``keep``:
    uint8, uint16 or float32, as the file has it."""

    scale: str = "exact"
    """``exact``: every pixel as the file has it; ``fast``: a JPEG that is resized first
    of all may be reduced by 2, 4 or 8 while it is decoded, which gives other pixels."""

    max_pixels: int = 64 * 10**6
    """Largest width times height, px, >= 1."""

    max_side: int = 16_384
    """Largest width or height, px, >= 1."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UsageError: A name is unknown, or a limit is no whole number >= 1.
        """
        for name, known in _KNOWN.items():
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"decode: {name} must be one of {', '.join(known)}, got {value!r}"
                    f"{suggest(value, known)}"
                )
        if self.scale == "fast" and "keep" in {self.color, self.depth}:
            raise UsageError(
                f"decode: scale='fast' goes with color 'rgb' or 'gray' and depth"
                f" 'uint8', got color={self.color!r}, depth={self.depth!r}"
            )
        for name in ("max_pixels", "max_side"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(
                    f"decode: {name} must be a whole number >= 1, got {value!r}"
                )

    @property
    def limits(self) -> ImageLimits:
        """The largest image that is decoded."""
        return ImageLimits(pixels=self.max_pixels, side=self.max_side)

    def describe(self) -> dict[str, Any]:
        """Return what a record says of decoding: what the pixels depend on.

        ``{"decoder": "opencv"}``, with ``color``, ``depth`` and ``scale`` where they
        are not the defaults. The limits change no pixel and are left out.
        """
        found: dict[str, Any] = {"decoder": DECODER}
        for name, (default, *_) in _KNOWN.items():
            if getattr(self, name) != default:
                found[name] = getattr(self, name)
        return found


def parse_decode(decode: str | Mapping[str, Any]) -> DecodeOptions:
    """Return the options that the user gave.

    Args:
        decode: ``exact`` for the defaults, ``fast`` for ``{"scale": "fast"}``, or a
            mapping with any of ``color``, ``depth``, ``scale``, ``max_pixels`` and
            ``max_side``.

    Raises:
        UsageError: A name or a value is not understood, or they do not go together.
    """
    if isinstance(decode, str):
        decode = {"scale": decode}
    if not isinstance(decode, Mapping):
        raise UsageError(
            "decode must be 'exact', 'fast' or a mapping such as {'color': 'gray'}, got"
            f" {decode!r}"
        )
    given = dict(decode)
    known = [option.name for option in fields(DecodeOptions)]
    for name in given:
        if name not in known:
            raise UsageError(
                f"decode has no {name!r}{suggest(name, known)}; it has"
                f" {', '.join(known)}"
            )
    return DecodeOptions(**given)


def suggest(value: object, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the nearest name, or nothing."""
    near = difflib.get_close_matches(str(value).lower(), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
