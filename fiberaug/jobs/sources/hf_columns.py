"""Which columns of a Hugging Face data set are image, label, mask, boxes, caption."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fiberaug.errors import DataRefused, UsageError

__all__ = ["Columns", "find_columns", "inner_of", "is_class", "item_of", "kind_of"]

_IMAGES = ("image", "img", "pixel_values", "jpg", "png", "bytes")
_LABELS = ("label", "labels", "y", "target", "class", "category")
_CAPTIONS = ("text", "caption", "captions")
_MASKS = frozenset({
    "annotation", "annotations", "mask", "masks", "segmentation", "segmentation_mask",
    "label", "labels", "semantic", "gt",
})  # fmt: skip
_BOXES = ("bbox", "bboxes", "boxes")
_CATEGORIES = ("category", "label", "categories", "labels", "category_id", "class")
_KNOWN = frozenset({"image", "label", "mask", "caption", "objects", "bbox_format"})
_MEMBER = re.compile(r"[a-z][a-z0-9_]*")


class Columns(NamedTuple):
    """What each column is."""

    image: str
    label: str | None
    mask: str | None
    caption: str | None
    objects: str | None
    boxes: str = ""
    """Of the objects: their boxes."""
    categories: str | None = None
    """Of the objects: their classes."""
    bbox_format: str = ""
    """``coco``: x, y, width, height; ``voc``: corners."""
    stated: bool = False
    """Columns ``width`` and ``height`` say the size of the image."""
    images: tuple[str, ...] = ()
    """Further images."""
    extras: tuple[str, ...] = ()
    """What JSON can hold."""
    left_out: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Columns of image files."""
        mask = () if self.mask is None else (self.mask,)
        return (self.image, *mask, *self.images)

    @property
    def used(self) -> list[str]:
        """Columns that are read."""
        named = [self.image, self.label, self.mask, self.caption, self.objects]
        size = ["width", "height"] if self.stated else []
        return [n for n in [*named, *size, *self.images, *self.extras] if n is not None]


def kind_of(feature: object) -> str:
    """Return the name of a feature; of a ``Value`` what it holds, such as ``int``."""
    dtype = getattr(feature, "dtype", None)
    if type(feature).__name__ != "Value" or not isinstance(dtype, str):
        return type(feature).__name__
    for start, kind in (
        ("int", "int"), ("uint", "int"), ("float", "float"), ("double", "float"),
        ("bool", "bool"), ("string", "string"), ("large_string", "string"),
        ("timestamp", "time"), ("date", "time"), ("time", "time"),
    ):  # fmt: skip
        if dtype.startswith(start):
            return kind
    return "binary"


def is_class(feature: object) -> bool:
    """Return whether a column has ids of named classes."""
    return kind_of(feature) == "ClassLabel"


def item_of(feature: object) -> object | None:
    """Return what a list is of; None where the feature is no list."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    if kind_of(feature) in {"List", "LargeList", "Sequence"}:
        return getattr(feature, "feature", None)
    return None


def find_columns(features: Mapping[str, Any], told: Mapping[str, str]) -> Columns:
    """Return what the columns are, by what the user says, by their types and names.

    Raises:
        UsageError: It cannot be told, or the user names what there is not.
        DataRefused: There is no image.
    """
    unknown = sorted(set(told) - _KNOWN)
    if unknown:
        raise UsageError(f"columns of a data set are {sorted(_KNOWN)}, got {unknown}")
    gone = {k: v for k, v in told.items() if k != "bbox_format" and v not in features}
    if gone:
        raise UsageError(f"columns {gone} are none of {[*features]}")
    images = [n for n, f in features.items() if _is_image(f)]
    image = _image(features, images, told)
    masks = [n for n in images if n != image and n.lower() in _MASKS]
    mask = _only("mask", masks, (), told)
    used = {image, mask}
    label = _label(features, used, told)
    texts = [n for n in _CAPTIONS if kind_of(features.get(n)) == "string"]
    caption = _only("caption", [n for n in texts if n != label][:1], (), told)
    objects = _only(
        "objects", [n for n, f in features.items() if _named(f, _BOXES)], (), told
    )
    found = Columns(image, label, mask, caption, objects)
    if objects is not None:
        found = _with_objects(found, features[objects], told.get("bbox_format"))
    sizes = [kind_of(features.get(name)) for name in ("width", "height")]
    found = found._replace(
        stated=sizes == ["int", "int"] and (objects is not None or mask is not None)
    )
    others = [name for name in features if name not in found.used]
    further = tuple(
        n for n in others if n in images and _MEMBER.fullmatch(n) and n not in _MASKS
    )
    extras = tuple(n for n in others if n not in images and _is_plain(features[n]))
    left = tuple(n for n in others if n not in {*further, *extras})
    return found._replace(images=further, extras=extras, left_out=left)


def _only(
    role: str, names: list[str], preferred: tuple[str, ...], told: Mapping[str, str]
) -> str | None:
    """Return the one column of a role.

    Raises:
        UsageError: There are several.
    """
    if role in told:
        return told[role]
    best = [name for name in preferred if name in names][:1] or names
    if len(best) > 1:
        raise UsageError(
            f"columns {best} could all be the {role}; say which:"
            f" columns={{{role!r}: {best[0]!r}}}"
        )
    return best[0] if best else None


def _image(
    features: Mapping[str, Any], images: list[str], told: Mapping[str, str]
) -> str:
    plain = [name for name in images if name.lower() not in _MASKS]
    found = _only("image", plain or images, _IMAGES, told)
    if found is None:
        files = [n for n in _IMAGES if kind_of(features.get(n)) == "binary"]
        found = _only("image", files, (), told)
    if found is None:
        kinds = {name: kind_of(feature) for name, feature in features.items()}
        raise DataRefused(
            f"no column is an image: {kinds}; columns={{'image': ...}} names a column"
            " of image files"
        )
    return found


def _label(
    features: Mapping[str, Any], used: set[str | None], told: Mapping[str, str]
) -> str | None:
    free = {n: f for n, f in features.items() if n not in used and _is_label(f)}
    named = [name for name in _LABELS if name in free][:1]
    classes = [name for name, feature in free.items() if is_class(feature)]
    return _only("label", named or classes, (), told)


def _is_image(feature: object) -> bool:
    return kind_of(feature) == "Image" or (
        isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}
    )


def _is_label(feature: object) -> bool:
    item = item_of(feature)
    return kind_of(feature) in {"ClassLabel", "int", "float", "bool", "string"} or (
        item is not None and kind_of(item) in {"int", "float"}
    )


def _is_plain(feature: object) -> bool:
    """Return whether JSON can hold the values of a column."""
    if isinstance(feature, Mapping):
        return all(map(_is_plain, feature.values()))
    item = item_of(feature)
    if item is not None:
        return _is_plain(item)
    return kind_of(feature) in {"ClassLabel", "int", "float", "bool", "string", "time"}


def inner_of(feature: object) -> Mapping[str, Any]:
    """Return the features of objects, a list of mappings or a mapping of lists."""
    item = item_of(feature)
    if isinstance(item, Mapping):
        return item
    if isinstance(feature, Mapping):
        items = {name: item_of(one) for name, one in feature.items()}
        return {name: one for name, one in items.items() if one is not None}
    return {}


def _named(feature: object, names: tuple[str, ...]) -> str | None:
    inner = inner_of(feature)
    return next((name for name in names if name in inner), None)


def _with_objects(columns: Columns, feature: object, told: str | None) -> Columns:
    boxes, categories = _named(feature, _BOXES), _named(feature, _CATEGORIES)
    if boxes is None:
        raise UsageError(
            f"the column {columns.objects!r} has no boxes: {', '.join(_BOXES)}"
        )
    if told not in {"coco", "voc"}:
        raise UsageError(
            f"the boxes {columns.objects}.{boxes} are 4 numbers each, and nothing tells"
            " which: say columns={'bbox_format': 'coco'} for x, y, width, height, or"
            f" 'voc' for x_min, y_min, x_max, y_max, in px; got {told!r}"
        )
    return columns._replace(boxes=boxes, categories=categories, bbox_format=told)
