"""Which fields go through an Albumentations pipeline, in which form, and back."""

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.spec import leaves, takes_references
from fiberaug.errors import SampleBroken, UsageError

__all__ = ["TARGETS", "Targets", "as_array"]

TARGETS = ("image", "mask", "masks", "bboxes", "keypoints", "polygons")
"""Fields that a pipeline changes; labels of boxes, points and masks travel along."""

_PLANES = frozenset({"image", "mask"})
_STACKS = frozenset({"images", "volume", "volumes", "mask3d", "masks3d"})
_POINTS = {"bboxes": 4, "keypoints": 2}
_OBJECTS = {
    "bboxes": ("bbox_labels", "bbox_ids"),
    "keypoints": ("keypoint_labels",),
}
"""Fields with one item for each row of another field."""

_ROW = {"bboxes": "fiberaug_box", "keypoints": "fiberaug_point"}
_DROPS = ("MaskDropout", "TimeMasking", "FrequencyMasking")
"""What takes an object away leaves background, where padding leaves nothing known."""

_INSIDE = {"bool": np.dtype(np.uint8)} | dict.fromkeys(
    ("int8", "int64", "uint32"), np.dtype(np.int32)
)
"""OpenCV has no such dtypes; ids of classes fit."""

_Dtype = np.dtype[Any]


class Targets:
    """Turns fields into a pipeline's arguments and its result into fields.

    Args:
        compose: The pipeline.
        fields: Names of the fields that samples have.
        ignore_index: What padding puts into masks, where the pipeline does not say.

    Raises:
        UsageError: The pipeline expects boxes or points in another format, or labels
            under a name that the samples do not have.
    """

    def __init__(
        self, compose: A.Compose, fields: Sequence[str], ignore_index: int | None
    ) -> None:
        kinds = {n: compose.additional_targets.get(n, n) for n in fields}
        points = [n for n in fields if kinds[n] in _POINTS and n not in _POINTS]
        if points:
            raise UsageError(
                f"additional targets can be images and masks, not {kinds[points[0]]}"
                f" ({points[0]!r}): a sample has one list of them, with labels"
            )
        asked = {n for _, leaf in leaves(compose) for n in leaf.targets_as_params}
        known = _PLANES | _STACKS | _POINTS.keys() | {"masks"}
        self.names = [n for n in fields if kinds[n] in known or n in asked - known]
        self._references = {
            leaf.metadata_key for _, leaf in leaves(compose) if takes_references(leaf)
        }
        self._ignore_index = ignore_index
        self.images = {n for n in self.names if kinds[n] == "image"}
        """Fields that are images."""
        self.masks = {n for n in self.names if kinds[n] == "mask"}
        """Fields that are masks [H, W]."""
        self._masks = self.masks | ({"masks"} & set(self.names))
        self._sized = self.images | self._masks if compose.is_check_shapes else set()
        self._polygons = "polygons" in fields
        self._params = {
            kind: _parameters(compose, kind)
            for kind in _POINTS
            if kind in fields or (kind == "keypoints" and self._polygons)
        }
        self._aliases = {
            kind: _aliases(params, kind, fields)
            for kind, params in self._params.items()
        }
        self._linked = {kind: list(names) for kind, names in self._aliases.items()}
        self.idle = False
        """Whether no transform is left: only the tail that runs elsewhere."""
        # New boxes of a mosaic have no row among the old ones.
        self._grows = any(isinstance(leaf, A.Mosaic) for _, leaf in leaves(compose))
        # It writes into the mask that it is given, which all views of a sample share.
        self._overlays = any(
            isinstance(leaf, A.OverlayElements) for _, leaf in leaves(compose)
        )
        if self._polygons and self._params["keypoints"].remove_invisible:
            raise UsageError(
                "polygons keep all of their corners: give KeypointParams"
                " remove_invisible=False"
            )
        self.only_image = self.names == ["image"] and not self._params
        self.linked = {name for names in self._linked.values() for name in names}
        """Fields with one item for each box or point."""
        also = list(self.linked)
        also += ["polygons"] if self._polygons else []
        also += ["mask_labels"] if {"masks", "mask_labels"} <= set(fields) else []
        self.changes = frozenset([*self.names, *also])

    def compose(self, compose: A.Compose, rest: list[Any]) -> A.Compose:
        """Return the pipeline over ``rest``, with processors for what samples have.

        Args:
            compose: The user's pipeline, already a copy.
            rest: Its transforms without the tail that runs elsewhere; they are changed.
        """
        self.idle = not rest
        params: dict[str, Any] = {}
        for kind, given in self._params.items():
            again = copy.copy(given)
            labels = list(self._aliases[kind].values())
            again.label_fields = labels if self._grows else [*labels, _ROW[kind]]
            params["bbox_params" if kind == "bboxes" else "keypoint_params"] = again
        if self._ignore_index is not None:
            for transform in rest:
                for _, leaf in leaves(transform):
                    name = type(leaf).__name__
                    if getattr(leaf, "fill_mask", None) == 0 and name not in _DROPS:
                        leaf.fill_mask = self._ignore_index
        with warnings.catch_warnings():
            # A pipeline that only changes colours leaves boxes alone: no reason to
            # warn.
            warnings.filterwarnings("ignore", "Got processor for")
            return A.Compose(
                rest,
                **params,
                additional_targets=dict(compose.additional_targets),
                p=compose.p,
                is_check_shapes=compose.is_check_shapes,
            )

    def arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the pipeline for a sample.

        Raises:
            SampleBroken: An image or a mask has another size than the image.
        """
        data = {n: fields[n] for n in self.names if fields.get(n) is not None}
        data |= {n: _listed(data[n]) for n in self._references & data.keys()}
        height, width = fields["image"].shape[:2]
        for name in self._sized & data.keys():
            shape = data[name].shape[-2:] if name == "masks" else data[name].shape[:2]
            if shape != (height, width):
                raise SampleBroken(
                    f"{name} is {shape[1]}x{shape[0]} px, the image {width}x{height}",
                    stage="augment",
                )
        for name in self._masks & data.keys():
            inside, _ = self._dtypes(data[name])
            data[name] = data[name].astype(inside, copy=self._overlays)
        if not len(data.get("masks", "?")):
            del data["masks"]  # Albumentations cannot stack none
        for kind in self._params:
            points = fields.get(kind)
            if points is None:
                points = np.zeros((0, _POINTS[kind]), np.float32)
            for field, alias in self._aliases[kind].items():
                values = fields.get(field)
                data[alias] = [0] * len(points) if values is None else values
            if kind == "keypoints" and self._polygons:
                points, labels = _with_corners(points, fields, self._aliases[kind])
                data.update(labels)
            data[kind] = points
            if not self._grows:
                data[_ROW[kind]] = np.arange(len(points))
        return data

    def seen(self, out: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """Return fields in the middle of the pipeline, where boxes are shares of 1.

        Args:
            out: What an operation returned.
            before: The fields before the pipeline.
        """
        found = {n: out[n] for n in self.names if n in out and n not in _POINTS}
        for name in self.images & found.keys():
            found[name] = as_array(found[name])
        size = np.array(found["image"].shape[1::-1] * 2, np.float32)
        for kind in self._params.keys() & out.keys():
            scale = size if kind == "bboxes" else np.float32(1)
            points = _as_points(out[kind], _POINTS[kind]) * scale
            rows = np.asarray(out[kind], np.int64).reshape(len(points), -1)[:, -1:]
            if not self._grows:  # the last column is the row
                own = len(before[kind]) if before.get(kind) is not None else 0
                points = points[rows[:, 0] < own]  # without corners of polygons
                kept = rows[rows[:, 0] < own, 0]
                found |= {f: _take(before.get(f), kept) for f in self._linked[kind]}
            found[kind] = points
        return found

    def fields(
        self, out: Mapping[str, Any], before: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the changed fields of a sample.

        Args:
            out: What the pipeline returned.
            before: The fields before.
        """
        changed = {n: out[n] for n in self.names if n in out and n not in _POINTS}
        for name in self.images & changed.keys():
            changed[name] = as_array(changed[name])
        for name in self._masks & changed.keys():
            outside = self._dtypes(before[name])[1]
            changed[name] = np.asarray(changed[name]).astype(outside, copy=False)
        kept: dict[str, NDArray[np.int64]] = {}
        for kind in self._params:
            points = _as_points(out[kind], _POINTS[kind])
            if self._grows:
                for field, alias in self._aliases[kind].items():
                    changed[field] = _like(out[alias], before.get(field))
            else:
                rows = np.asarray(out[_ROW[kind]], np.int64).reshape(-1)
                if kind == "keypoints" and self._polygons:
                    own = len(before[kind]) if before.get(kind) is not None else 0
                    corners = _corners(points, rows - own, before.get("polygons"))
                    changed["polygons"] = corners
                    points, rows = points[rows < own], rows[rows < own]
                for field in self._linked[kind]:
                    changed[field] = _take(before.get(field), rows)
                kept[kind] = rows
                points = self._still(kind, points, before.get(kind), rows, changed)
            if kind in self.names:
                changed[kind] = points
        if before.get("masks") is not None and "masks" in self.names:
            self._instances(changed, before, kept.get("bboxes"))
        return changed

    def _still(
        self,
        kind: str,
        points: NDArray[np.float32],
        before: Any,  # noqa: ANN401  # array or list
        rows: NDArray[np.int64],
        changed: Mapping[str, Any],
    ) -> NDArray[np.float32]:
        """Return boxes that no transform touched as they were, else ``points``.

        Albumentations divides them by the size of the image and multiplies again.
        """
        if not self.idle or kind != "bboxes":
            return points
        boxes = _as_points([] if before is None else before, 4)[rows]
        if not self._params["bboxes"].clip:
            return boxes
        sides = changed["image"].shape[1::-1]
        return boxes.clip(0, np.asarray(sides * 2, np.float32))

    def _dtypes(self, mask: NDArray[Any]) -> tuple[_Dtype, _Dtype]:
        """Return the dtype of a mask inside of the pipeline, and behind it."""
        inside = outside = mask.dtype
        if self._ignore_index is not None and outside.kind in "biu":
            kinds = [outside] if outside.kind != "b" else []
            kinds += [np.dtype(np.uint8), np.dtype(np.int32)]
            fits = (k for k in kinds if _holds(k, self._ignore_index))
            inside = outside = next(fits, outside)
        return _INSIDE.get(inside.name, inside), outside

    def _instances(
        self,
        changed: dict[str, Any],
        before: Mapping[str, Any],
        kept: NDArray[np.int64] | None,
    ) -> None:
        """Let the masks of objects leave with their boxes."""
        masks = changed.get("masks")
        if masks is None:
            size = changed["image"].shape[:2]
            masks = np.zeros((0, *size), before["masks"].dtype)
        boxes = before.get("bboxes")
        if kept is not None and boxes is not None and len(boxes) == len(masks):
            masks = masks[kept]
            if before.get("mask_labels") is not None:
                changed["mask_labels"] = _take(before["mask_labels"], kept)
        changed["masks"] = masks


def as_array(image: Any) -> NDArray[Any]:  # noqa: ANN401  # array, or tensor of ToTensorV2
    """Return an image as an array [H, W, C]."""
    if not isinstance(image, np.ndarray):
        image = image.permute(1, 2, 0).numpy()
    pixels: NDArray[Any] = image[:, :, None] if image.ndim == 2 else image
    return pixels


def _listed(images: Any) -> list[Any]:  # noqa: ANN401  # of an .npz, .npy or a decoder
    """Return reference images as the list that Albumentations asks for."""
    return list(images.values() if isinstance(images, Mapping) else images)


def _holds(kind: _Dtype, value: int) -> bool:
    bounds = np.iinfo(kind)
    return bounds.min <= value <= bounds.max


def _as_points(values: Any, width: int) -> NDArray[np.float32]:  # noqa: ANN401
    points = np.asarray(values, np.float32)
    return (
        points.reshape(len(points), -1)[:, :width]
        if points.size
        else points.reshape(0, width)
    )


def _take(values: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401  # array or list
    if values is None:
        return None
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[row] for row in rows]


def _like(values: Any, before: Any) -> Any:  # noqa: ANN401  # array or list
    if isinstance(before, np.ndarray):
        return np.asarray(values, before.dtype)
    return list(values)


def _with_corners(
    points: NDArray[np.float32], fields: Mapping[str, Any], aliases: Mapping[str, str]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return points followed by the corners of all polygons, and labels for both."""
    corners = list(fields.get("polygons") or ())
    count = sum(map(len, corners))
    labels = {}
    for field, alias in aliases.items():
        given = fields.get(field)
        own = [0] * len(points) if given is None else list(given)
        labels[alias] = own + [own[0] if own else 0] * count
    return np.concatenate([points, *corners]), labels


def _corners(
    points: NDArray[np.float32],
    rows: NDArray[np.int64],
    before: Any,  # noqa: ANN401  # polygons, or None
) -> Any:  # noqa: ANN401
    """Return polygons of those corners that are left; ``rows`` numbers the corners."""
    if before is None:
        return None
    if len(set(rows[rows >= 0])) < np.count_nonzero(rows >= 0):
        raise UsageError(
            "a transform mirrors points, which takes polygons apart: give it another"
            " border_mode than BORDER_REFLECT and BORDER_REFLECT_101",
            stage="augment",
        )
    ends = np.cumsum([0, *map(len, before)])
    return [points[(a <= rows) & (rows < b)] for a, b in itertools.pairwise(ends)]


def _aliases(params: Any, kind: str, fields: Sequence[str]) -> dict[str, str]:  # noqa: ANN401
    """Return {field: name in the pipeline} of the labels that follow a kind."""
    linked = [name for name in _OBJECTS[kind] if name in fields]
    wanted = list(params.label_fields or ())
    names = {name: name for name in wanted if name in fields}
    unknown = [name for name in wanted if name not in fields]
    first = _OBJECTS[kind][0]
    if len(unknown) == 1 and first in linked and first not in names:
        names[first] = unknown.pop()
    if unknown:
        raise UsageError(
            f"label_fields {unknown} of {kind} are no fields of the samples:"
            f" {sorted(fields)}"
        )
    return names | {name: name for name in linked if name not in names}


def _parameters(compose: A.Compose, kind: str) -> Any:  # noqa: ANN401
    processor = compose.processors.get(kind)
    if processor is None:
        return (
            A.BboxParams("pascal_voc", clip=True, filter_invalid_bboxes=True)
            if kind == "bboxes"
            else A.KeypointParams("xy", remove_invisible=False)
        )
    expected = {
        "bboxes": ("pascal_voc", "pixel boxes (x_min, y_min, x_max, y_max)"),
        "keypoints": ("xy", "points (x, y) in px"),
    }
    name, meaning = expected[kind]
    if processor.params.format != name:
        raise UsageError(
            f"{'bbox' if kind == 'bboxes' else 'keypoint'}_params.format must be"
            f" {name!r}: samples hold {meaning}, got {processor.params.format!r}"
        )
    return processor.params
