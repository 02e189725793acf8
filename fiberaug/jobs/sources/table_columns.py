"""Which column of a table is what: as the user says, or by well-known names."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fiberaug.errors import UsageError

__all__ = ["BOXES", "Columns", "find_columns"]

BOXES: Mapping[str, tuple[str, ...]] = {
    "corners": ("x_min", "y_min", "x_max", "y_max"),
    "sizes": ("x_min", "y_min", "box_width", "box_height"),
}
"""Fields of a box, by how it is written."""

_KNOWN: Mapping[str, Collection[str]] = {
    "image": (
        "image", "path", "filepath", "file", "filename", "imagepath", "img",
        "imagefile", "imagefilename", "imgpath",
    ),
    "label": ("label", "class", "target", "category", "y", "labelname", "classname"),
    "caption": ("caption", "text"),
    "mask": ("mask", "maskpath"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
}  # fmt: skip
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"),
)  # fmt: skip
_ORIGINS = (("xmin", "ymin"), ("x", "y"), ("left", "top"), ("x1", "y1"), ("x0", "y0"))
_SIZES = (("w", "h"), ("boxwidth", "boxheight"), ("bboxwidth", "bboxheight"))
_FIELDS = (
    "image", "label", "caption", "mask", "group", "width", "height", "bbox_label",
    *BOXES["corners"], *BOXES["sizes"][2:],
)  # fmt: skip
# What the JSON of a sample, or of an object in it, has for itself.
_OF_SAMPLE = frozenset({"objects", "keypoints", "frame", "label", "width", "height"})
_OF_OBJECT = frozenset({"bbox", "label", "polygons", "keypoints"})
_OF_DATASET = frozenset(
    {
        "bboxes", "bbox_labels", "bbox_ids", "masks", "mask_labels", "keypoints",
        "keypoint_labels", "polygons", "record", "is_pad",
    }
)  # fmt: skip
_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What each column is, by its number."""

    fields: Mapping[str, tuple[int, ...]]
    """Columns of the fields; several only of a label."""

    carried: Mapping[str, int]
    """Names in the JSON of all other columns."""

    asked: Sequence[str]
    """Those of them that the user named, which become fields."""

    boxes: str | None
    """``corners`` or ``sizes``."""

    normalized: bool | None
    """Boxes are fractions of the image; None: not said."""

    @property
    def text(self) -> frozenset[int]:
        """Columns whose cells are text whatever they look like."""
        names = ("image", "mask", "caption")
        return frozenset(i for name in names for i in self.fields.get(name, ()))

    def one(self, field: str) -> int | None:
        """Return the only column of a field, or None where there is none."""
        found = self.fields.get(field)
        return found[0] if found else None


def find_columns(
    names: Sequence[str], given: Mapping[str, str], unread: Collection[str]
) -> Columns:
    """Return what each column is.

    Args:
        names: Of the columns.
        given: Columns by field, as the user says it.
        unread: Columns that can be an image or a mask, and nothing else.

    Raises:
        UsageError: No column is the image, several could be a field, or a name cannot
            be one.
    """
    given = dict(given)
    normalized = _normalized(given.pop("normalized", None))
    said = {field: _columns(names, field, text) for field, text in given.items()}
    taken = {i for columns in said.values() for i in columns}
    free = {i: _plain(n) for i, n in enumerate(names) if i not in taken}
    fields = {field: said[field] for field in _FIELDS if field in said}
    if not set(fields) & {*BOXES["corners"], *BOXES["sizes"]}:
        fields |= _known_boxes(names, free, set(fields))
    boxes = next((k for k, four in BOXES.items() if set(four) <= fields.keys()), None)
    some = sorted(fields.keys() & {*BOXES["corners"], *BOXES["sizes"]})
    if some and (boxes is None or len(some) > 4):
        raise UsageError(
            f"columns of boxes are {' '.join(some)}; it takes"
            f" {' '.join(BOXES['corners'])} or {' '.join(BOXES['sizes'])}"
        )
    used = {i for columns in fields.values() for i in columns} | taken
    if "x" in free.values():  # y is a place then, no label
        free = {i: plain for i, plain in free.items() if plain != "y"}
    for field, known in _KNOWN.items():
        name = "bbox_label" if boxes and field == "label" else field
        if name not in fields and (name == field or "label" not in fields):
            found = [i for i, plain in free.items() if plain in known and i not in used]
            held = [i for i in found if names[i] in unread]
            fields |= _only(names, name, held if len(held) == 1 else found)
    if {"width", "height"} & fields.keys() and not {"width", "height"} <= fields.keys():
        fields = {f: at for f, at in fields.items() if f not in {"width", "height"}}
    if boxes is None and ("bbox_label" in fields or normalized is not None):
        raise UsageError("columns says something of boxes, but not which these are")
    if "image" not in fields:
        raise UsageError(
            f"no column of {list(names)[:30]} is known to be the image; say"
            ' columns={"image": "..."} (--column image=...)'
        )
    used |= {i for columns in fields.values() for i in columns}
    asked = {field: said[field][0] for field in said if field not in _FIELDS}
    others = {
        name: i
        for i, name in enumerate(names)
        if i not in used and i not in asked.values() and name not in unread
    }
    carried = {**others, **asked}
    _check_names(carried, others, asked, _OF_OBJECT if boxes else _OF_SAMPLE)
    return Columns(
        fields=fields, carried=carried, asked=tuple(asked), boxes=boxes,
        normalized=normalized,
    )  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _normalized(text: str | None) -> bool | None:
    if text is None:
        return None
    if str(text).lower() not in {"true", "false"}:
        raise UsageError(f'normalized must be "true" or "false", got {text!r}')
    return str(text).lower() == "true"


def _columns(names: Sequence[str], field: str, text: str) -> tuple[int, ...]:
    """Return the columns that the user names."""
    several = field == "label" and text not in names
    parts = [part.strip() for part in text.split(",")] if several else [text]
    found = []
    for part in parts:
        same = [i for i, name in enumerate(names) if name == part] or [
            i for i, name in enumerate(names) if name.casefold() == part.casefold()
        ]
        if len(same) != 1:
            raise UsageError(
                f"columns says {field} is {part!r}, the table has {list(names)[:30]}"
            )
        found += same
    return tuple(found)


def _only(
    names: Sequence[str], field: str, found: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    if len(found) > 1:
        both = ", ".join(names[i] for i in found)
        raise UsageError(
            f"the {field} could be any of the columns {both}; say"
            f' columns={{"{field}": "{names[found[0]]}"}} (--column'
            f" {field}={names[found[0]]})"
        )
    return {field: (found[0],)} if found else {}


def _known_boxes(
    names: Sequence[str], free: Mapping[int, str], said: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Return the columns of boxes that go by well-known names."""
    at = {plain: i for i, plain in free.items()}
    ways = [dict(zip(BOXES["corners"], four, strict=True)) for four in _CORNERS]
    ways += [
        dict(zip(BOXES["sizes"], (*origin, *size), strict=True))
        for origin in _ORIGINS
        for size in _SIZES
    ]
    found = [way for way in ways if set(way.values()) <= at.keys()]
    if len(found) > 1:
        both = [" ".join(names[at[one]] for one in way.values()) for way in found[:2]]
        raise UsageError(
            f"boxes could be the columns {both[0]} or {both[1]}; say"
            ' columns={"x_min": ..., "y_min": ..., "x_max": ..., "y_max": ...}'
        )
    if found:
        return {field: (at[plain],) for field, plain in found[0].items()}
    origin = next((pair for pair in _ORIGINS if set(pair) <= at.keys()), None)
    if origin and {"width", "height"} <= at.keys() and "width" not in said:
        x, y = (names[at[one]] for one in origin)
        raise UsageError(
            f"columns {x}, {y}, width, height are a box, or a point and the image's"
            f' size; say columns={{"x_min": "{x}", "y_min": "{y}", "box_width":'
            ' "width", "box_height": "height"} or {"width": "width", "height":'
            ' "height"}'
        )
    if origin == ("xmin", "ymin") and "width" not in said:
        raise UsageError(
            "columns of boxes have no x_max and y_max, and no box_width and box_height;"
            ' say columns={"x_max": "...", "y_max": "..."} with the others'
        )
    return {}


def _check_names(
    carried: Mapping[str, int],
    others: Mapping[str, int],
    asked: Mapping[str, int],
    reserved: Collection[str],
) -> None:
    twice = sorted(others.keys() & asked.keys())
    bad = sorted((carried.keys() & reserved) | set(twice))
    if bad:
        raise UsageError(
            f"a column cannot be stored as {bad[0]!r}, which has a meaning in the JSON"
            f' of a sample; name it otherwise: columns={{"my_{bad[0]}": "{bad[0]}"}}'
        )
    for name in asked:
        if not _NAME.fullmatch(name) or name in _OF_DATASET:
            raise UsageError(f"{name!r} in columns cannot be the name of a field")
