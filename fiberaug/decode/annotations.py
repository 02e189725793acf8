"""Annotations to the upright frame of their image, checked against it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.header import ImageHeader
from fiberaug.decode.orientation import points_upright, upright
from fiberaug.errors import SampleBroken

__all__ = ["Frame"]


class Frame(NamedTuple):
    """The frame in which a sample's annotations are given, and its image."""

    header: ImageHeader
    """Header of the image."""

    turn: int
    """Orientation that brings points upright, 1 to 8; 1 where they are upright."""

    @classmethod
    def of(cls, header: ImageHeader, metadata: Mapping[str, Any]) -> "Frame":
        """Return the frame that the JSON states, by its size or by its name."""
        stated = metadata.get("width"), metadata.get("height")
        stored = header.width, header.height
        if stored != header.upright and stated in {stored, header.upright}:
            is_stored = stated == stored
        else:
            is_stored = metadata.get("frame") == "stored"
        return cls(header, header.orientation if is_stored else 1)

    def points(self, value: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401  # JSON
        """Return points (x, y), float32 [N, 2], px, upright; None is no point.

        Raises:
            SampleBroken: They are no finite numbers [N, 2].
        """
        return self._turned(_numbers(value, 2, name))

    def boxes(self, value: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401  # JSON
        """Return boxes (x_min, y_min, x_max, y_max), float32 [N, 4], px, upright.

        Raises:
            SampleBroken: They are no finite numbers [N, 4].
        """
        corners = _numbers(value, 4, name).reshape(-1, 2)
        ends = self._turned(corners).reshape(-1, 2, 2)
        return np.concatenate([ends.min(1), ends.max(1)], axis=1)

    def polygons(self, value: Any, name: str) -> list[NDArray[np.float32]]:  # noqa: ANN401  # JSON
        """Return polygons, each float32 [K, 2] of corners (x, y), px, upright.

        Args:
            value: A list of polygons, each [[x, y], ...] or as COCO writes it, [x, y,
                x, y, x, y, ...].
            name: Of the field.

        Raises:
            SampleBroken: It is anything else.
        """
        if not isinstance(value, list | tuple | np.ndarray | None):
            raise SampleBroken(
                f"{name} must be a list of polygons [K, 2], got {value!r:.200}",
                stage="decode",
            )
        return [
            self._turned(_corners(item, f"{name}[{i}]"))
            for i, item in enumerate(() if value is None else value)
        ]

    def mask(self, value: Any, name: str) -> NDArray[Any]:  # noqa: ANN401  # of any decoder
        """Return a mask [H, W] upright; one of the stored size is turned.

        Raises:
            SampleBroken: It is no array [H, W] of whole numbers, or of another size.
        """
        if (
            not isinstance(value, np.ndarray)
            or value.ndim != 2
            or value.dtype.kind not in "bui"
        ):
            raise SampleBroken(
                f"{name} must be class ids [H, W], got {_kind(value)}", stage="decode"
            )
        return self._plane(value, f"the {name}")

    def masks(self, value: Any, name: str) -> NDArray[np.uint8]:  # noqa: ANN401  # of any decoder
        """Return masks of objects, uint8 [N, H, W], upright.

        Args:
            value: An array [N, H, W], or arrays by name, as of an ``.npz``: one
                [N, H, W], or N of [H, W].
            name: Of the field.

        Raises:
            SampleBroken: They have another shape or size, or values beyond 0 to 255.
        """
        if isinstance(value, Mapping):
            value = _stacked(list(value.values()), name)
        if (
            not isinstance(value, np.ndarray)
            or value.ndim != 3
            or value.dtype.kind not in "bui"
        ):
            raise SampleBroken(
                f"{name} must be whole numbers [N, H, W], got {_kind(value)}",
                stage="decode",
            )
        if value.size and not 0 <= value.min() <= value.max() <= 255:
            raise SampleBroken(
                f"{name} must be 0 to 255, got {value.min()} to {value.max()}",
                stage="decode",
            )
        planes = self._plane(value.transpose(1, 2, 0), f"each of the {name}")
        return np.ascontiguousarray(planes.transpose(2, 0, 1), np.uint8)

    def _turned(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return points_upright(points, self.turn, self.header.width, self.header.height)

    def _plane(self, pixels: NDArray[Any], what: str) -> NDArray[Any]:
        header = self.header
        stored, size = self.turn != 1, (pixels.shape[1], pixels.shape[0])
        if (header.width, header.height) != header.upright:  # the size tells
            stored = size == (header.width, header.height)
        if stored:
            pixels = upright(pixels, header.orientation)
            size = pixels.shape[1], pixels.shape[0]
        if size != header.upright:
            raise SampleBroken(
                f"{what} is {size[0]}x{size[1]} px, the image"
                f" {header.upright[0]}x{header.upright[1]}",
                stage="decode",
            )
        return pixels


def _numbers(value: Any, width: int, name: str) -> NDArray[np.float32]:  # noqa: ANN401
    try:
        with np.errstate(over="ignore"):
            array = np.asarray([] if value is None else value, np.float32)
    except (TypeError, ValueError) as error:
        raise SampleBroken(
            f"{name} must be numbers [N, {width}]: {error}", stage="decode"
        ) from error
    array = array.reshape(0, width) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array).all():
        raise SampleBroken(
            f"{name} must be finite numbers [N, {width}], got shape {array.shape}",
            stage="decode",
        )
    return array


def _corners(value: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401  # JSON
    flat = isinstance(value, list | tuple) and len(value) >= 6 and len(value) % 2 == 0
    if flat and not any(isinstance(item, list | tuple) for item in value):
        value = [value[i : i + 2] for i in range(0, len(value), 2)]
    return _numbers(value, 2, name)


def _stacked(arrays: list[NDArray[Any]], name: str) -> NDArray[Any]:
    if len(arrays) == 1 and arrays[0].ndim == 3:
        return arrays[0]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 2:
        raise SampleBroken(
            f"{name} must be one array [N, H, W] or arrays [H, W] of one size, got"
            f" {sorted(shapes)}",
            stage="decode",
        )
    return np.stack(arrays)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
