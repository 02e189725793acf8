"""Samples to a batch, in two halves.

The worker's half says which arrays become one; the consumer's half makes tensors of
them, images as planes and normalised by table, and gives ragged targets the form that
the user asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.augment.normalize import Finish
from fiberaug.errors import UsageError
from fiberaug.stacks import DENSE, Stack, image_tensor

__all__ = ["Collate", "Ragged", "as_tensors", "finish_fields", "shape_targets"]

RAGGED = {
    "bboxes": 4,
    "bbox_labels": 0,
    "bbox_ids": 0,
    "keypoints": 2,
    "mask_labels": 0,
}
"""Fields with one row for each object: values in a row, 0 for none."""


_MODES = ("stack", "pad", "list")


@dataclass(frozen=True, slots=True)
class Ragged:
    """Targets of all rows laid end to end; row i is ``flat[ends[i - 1]:ends[i]]``."""

    flat: NDArray[Any]
    """Values of all rows, [sum of N, ...]."""

    ends: tuple[int, ...]
    """Where each row ends."""

    def rows(self) -> list[torch.Tensor]:
        """Return a tensor for each row."""
        flat = torch.from_numpy(self.flat)
        return [flat[a:b] for a, b in zip((0, *self.ends), self.ends, strict=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collate:
    """The worker's half."""

    mode: str = "stack"
    """``stack``: one size. ``pad``: to the largest, with ``image_mask``. ``list``."""

    pad_to: int = 32
    """Multiple to which ``pad`` rounds height and width up, px."""

    images: frozenset[str] = frozenset({"image"})
    """Fields that are images [H, W, C]; others are stacked as they are."""

    lists: frozenset[str] = frozenset({"masks", "polygons", "keypoint_labels"})
    """Fields with as many items as the sample has objects: never stacked."""

    masks: frozenset[str] = frozenset({"mask"})
    """Fields that ``pad`` pads as masks [H, W]."""

    ignore_index: int = 0
    """What ``pad`` puts into masks."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: A value is out of range.
        """
        if self.mode not in _MODES:
            raise UsageError(f"collate must be one of {_MODES}, got {self.mode!r}")
        if self.pad_to < 1:
            raise UsageError(f"pad_to must be >= 1 px, got {self.pad_to}")

    def __call__(
        self, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
    ) -> dict[str, Any]:
        """Return a batch: :class:`Stack`, arrays [B], :class:`Ragged`, or lists.

        Images stay [H, W, C].

        Args:
            rows: Fields of each sample.
            keys: Keys of the samples, for errors.

        Raises:
            UsageError: Arrays have several shapes and the mode is ``stack``, or images
                have several dtypes and the mode is not ``list``.
        """
        batch: dict[str, Any] = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if name in RAGGED:
                batch[name] = _ragged(name, values)
            elif name in self.lists:
                batch[name] = values
            elif any(value is None for value in values):
                if any(value is not None for value in values):
                    batch[name] = values
            elif name in self.images:
                batch.update(self._images(name, values, keys))
            elif isinstance(values[0], np.ndarray):
                batch[name] = self._arrays(name, values, keys)
            elif isinstance(values[0], int | float):
                whole = all(isinstance(value, int) for value in values)
                batch[name] = np.asarray(values, np.int64 if whole else np.float32)
            else:
                batch[name] = values
        return batch

    def _images(
        self, name: str, images: list[NDArray[Any]], keys: Sequence[str]
    ) -> dict[str, Any]:
        if self.mode == "list":
            return {name: images}
        if len({image.dtype for image in images}) > 1:
            raise _dtypes(name, images, keys)
        if self.mode == "stack":
            channels_first = [(i.shape[2], *i.shape[:2]) for i in images]
            return {name: _stack(name, images, keys, channels_first)}
        height, width = self._padded(images)
        shape, kind = (height, width, images[0].shape[2]), images[0].dtype
        batch: dict[str, Any] = {name: Stack(images, shape, kind)}
        if name == "image":
            inside = [np.broadcast_to(np.True_, i.shape[:2]) for i in images]
            batch["image_mask"] = Stack(inside, (height, width), np.dtype(bool))
        return batch

    def _padded(self, arrays: list[NDArray[Any]]) -> tuple[int, int]:
        height, width = (max(a.shape[axis] for a in arrays) for axis in (0, 1))
        return self._round_up(height), self._round_up(width)

    def _round_up(self, side: int) -> int:
        return -(-side // self.pad_to) * self.pad_to

    def _arrays(
        self, name: str, arrays: list[NDArray[Any]], keys: Sequence[str]
    ) -> Any:  # noqa: ANN401
        if self.mode == "list" and arrays[0].ndim > 1:
            return arrays
        if self.mode == "pad" and name in self.masks:
            kind = arrays[0].dtype
            return Stack(arrays, self._padded(arrays), kind, self.ignore_index)
        return _stack(name, arrays, keys, [array.shape for array in arrays])


def _dtypes(name: str, images: list[NDArray[Any]], keys: Sequence[str]) -> UsageError:
    found = {image.dtype: key for image, key in zip(images, keys, strict=False)}
    named = ", ".join(f"{dtype} (sample {key!r})" for dtype, key in found.items())
    return UsageError(
        f"{name!r} has several dtypes in one batch: {named}; a transform that converts"
        " images has to convert all of them",
        stage="collate",
    )


def _stack(
    name: str,
    arrays: list[NDArray[Any]],
    keys: Sequence[str],
    told: Sequence[tuple[int, ...]],
) -> Stack | NDArray[Any]:
    """Return arrays of one shape as one; ``told`` are the shapes for the error."""
    shapes: dict[tuple[int, ...], str] = {}
    for shape, key in zip(told, keys, strict=True):
        shapes.setdefault(shape, key)
    if len(shapes) > 1:
        seen = "; ".join(
            f"{key!r} {list(shape)}" for shape, key in list(shapes.items())[:4]
        )
        raise UsageError(
            f"{name} has {len(shapes)} shapes in one batch: {seen}. End the pipeline"
            ' with a crop or resize, or give the loader collate="pad" or collate="list"'
        )
    kind = np.result_type(*{array.dtype for array in arrays})
    if kind.kind not in DENSE:
        return np.stack(arrays)
    return Stack(arrays, arrays[0].shape, kind)


def _ragged(name: str, values: list[Any]) -> Ragged:
    width = RAGGED[name]
    kind = np.float32 if width else np.int64
    empty = np.zeros((0, width) if width else (0,), kind)
    rows = [empty if value is None else np.asarray(value, kind) for value in values]
    ends = np.cumsum([len(row) for row in rows]).tolist()
    return Ragged(np.concatenate(rows), tuple(ends))


def finish_fields(fields: Mapping[str, Any], finish: Finish) -> dict[str, Any]:
    """Return one sample's fields as tensors: images [C, H, W], normalised.

    Args:
        fields: Fields with images [H, W, C].
        finish: Which fields are images, and which are normalised.
    """
    done: dict[str, Any] = {}
    for name, value in fields.items():
        if name in finish.images and value is not None:
            done[name] = image_tensor(value, finish.of(name))
        elif value is not None:
            done[name] = as_tensors(value)
    return done


def as_tensors(value: Any, *, lent: bool = False) -> Any:  # noqa: ANN401  # arrays, and lists of them
    """Return a tensor for each array in a value; anything else as it is.

    Args:
        value: An array, a list of them, or anything else.
        lent: The memory is not the tensors' to keep: they get their own.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in DENSE:
        array = value.copy() if lent else np.ascontiguousarray(value)
        return torch.from_numpy(array)
    if isinstance(value, list):
        return [as_tensors(item, lent=lent) for item in value]
    return value


def shape_targets(batch: dict[str, Any], targets: str) -> dict[str, Any]:
    """Return the batch with its ragged targets in the form that the user asked for.

    Args:
        batch: The batch; its :class:`Ragged` values are replaced.
        targets: ``list``: a tensor a row. ``padded``: one tensor [B, most, ...],
            labels padded with -1, boxes and points with 0. ``torchvision``:
            ``targets``, a list of ``{"boxes", "labels"}``, with ``masks`` where samples
            have them. ``yolo``: ``targets``
            [sum of N, 6], rows (row of the batch, label, centre x, centre y, width,
            height), the last four in [0, 1] of the image's size.
    """
    ragged = {name: value for name, value in batch.items() if isinstance(value, Ragged)}
    if not ragged:
        return batch
    rest = {name: value for name, value in batch.items() if name not in ragged}
    rows = {name: value.rows() for name, value in ragged.items()}
    if targets == "list" or "bboxes" not in rows:
        return {**rest, **rows}
    if targets == "padded":
        padded = {
            name: torch.nn.utils.rnn.pad_sequence(
                parts, batch_first=True, padding_value=0.0 if RAGGED[name] else -1
            )
            for name, parts in rows.items()
        }
        return {**rest, **padded}
    labels = rows.pop(
        "bbox_labels", [torch.zeros(len(b), dtype=torch.int64) for b in rows["bboxes"]]
    )
    boxes = rows.pop("bboxes")
    if targets == "torchvision":
        found = [{"boxes": b, "labels": n} for b, n in zip(boxes, labels, strict=True)]
        for target, masks in zip(found, rest.pop("masks", ()), strict=False):
            target["masks"] = masks
        return {**rest, **rows, "targets": found}
    return {**rest, **rows, "targets": _yolo(boxes, labels, rest["image"])}


def _yolo(
    boxes: list[torch.Tensor],
    labels: list[torch.Tensor],
    images: Any,  # noqa: ANN401  # a tensor or a list of them
) -> torch.Tensor:
    parts = []
    for row, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        height, width = images[row].shape[-2:]
        scale = torch.tensor([width, height], dtype=torch.float32)
        low, high = box[:, :2] / scale, box[:, 2:] / scale
        head = torch.stack([torch.full_like(label, row), label], 1).float()
        parts.append(torch.cat([head, (low + high) / 2, high - low], 1))
    return torch.cat(parts)
