"""Normalisation by table: the 256 values that the user's own Normalize gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Finish", "NormalizeTable"]


class NormalizeTable:
    """What a trailing ``Normalize(normalization="standard")`` does to uint8 pixels.

    The table is computed by running that very transform on a ramp, so its values are
    equal bit for bit to running it on the image; a formula written again is not.

    Args:
        transform: The Albumentations transform.
    """

    def __init__(self, transform: Any) -> None:  # noqa: ANN401  # Albumentations has no types
        self._transform = transform
        self._tables: dict[int, NDArray[np.float32]] = {}
        self.name = type(transform).__name__
        self.params: dict[str, Any] = {
            "mean": _plain(transform.mean),
            "std": _plain(transform.std),
            "max_pixel_value": transform.max_pixel_value,
            "normalization": "standard",
        }

    def table(self, channels: int) -> NDArray[np.float32]:
        """Return float32 [C, 256]: each channel's normalised value of each level."""
        table = self._tables.get(channels)
        if table is None:
            ramp = np.repeat(
                np.arange(256, dtype=np.uint8)[:, None, None], channels, axis=2
            )
            out = self.apply(np.ascontiguousarray(ramp))
            table = self._tables[channels] = np.ascontiguousarray(
                out.reshape(256, channels).T, np.float32
            )
        return table

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return an image [H, W, C] normalised by the transform itself."""
        return np.asarray(self._transform.apply(image), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What the consumer does with images."""

    images: frozenset[str] = frozenset({"image"})
    """Fields that are images [H, W, C] and become [C, H, W]."""

    normalized: frozenset[str] = frozenset()
    """Images that are normalised by the table."""

    table: NormalizeTable | None = None

    def of(self, name: str) -> NormalizeTable | None:
        """Return the table that a field is normalised by."""
        return self.table if name in self.normalized else None


def _plain(value: Any) -> Any:  # noqa: ANN401
    return (
        [float(v) for v in value]
        if isinstance(value, list | tuple | np.ndarray)
        else float(value)
    )
