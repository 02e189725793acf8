"""Which features of TFRecord files are image, label, boxes, mask, caption.

Source of the names: TensorFlow's object detection API, "Preparing Inputs"; its
ImageNet and DeepLab scripts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.sources.tfrecord_example import Values

__all__ = [
    "BOX",
    "NO_CLASS",
    "OBJECTS",
    "Columns",
    "Said",
    "Study",
    "find_columns",
    "label_pairs",
    "object_labels",
    "said_class",
]

Said: TypeAlias = tuple[int | None, str]
"""A class as a record has it: its number, and its name or nothing."""

NO_CLASS: Said = (None, "")

OBJECTS = "image/object/"
BOX = tuple(f"{OBJECTS}bbox/{edge}" for edge in ("xmin", "ymin", "xmax", "ymax"))
_OBJECT_LABELS = (f"{OBJECTS}class/label", f"{OBJECTS}class/text")
_IMAGES = (
    "image/encoded", "image", "image_raw", "image/raw", "img", "image_bytes", "jpeg",
    "jpg", "png", "img_raw",
)  # fmt: skip
_LABELS = (
    ("image/class/label", "image/class/text"), ("class/label", "class/text"),
    ("label", "label_text"), ("class", "class_name"), ("target", ""), ("y", ""),
)  # fmt: skip
_OTHERS = {
    "mask": ("image/segmentation/class/encoded",),
    "caption": ("image/caption", "caption"),
    "height": ("image/height", "height", "rows"),
    "width": ("image/width", "width", "cols"),
    "channels": ("image/channels", "channels", "depth"),
}
_KNOWN = ("image", "label", "label_text", *_OTHERS, "normalized")
_TAKEN = {"objects", "keypoints", "polygons", "frame", "group", "label"}  # of our JSON
_MOST_NORMALIZED = 1.5  # boxes reach a little beyond their image


class Columns(NamedTuple):
    """What each feature is."""

    image: str
    label: str | None = None
    label_text: str | None = None
    mask: str | None = None
    caption: str | None = None
    height: str | None = None
    width: str | None = None
    channels: str | None = None
    boxes: bool = False
    """There are boxes."""
    normalized: bool = True
    """Their corners are shares of the image's sides, else px."""
    named: bool = False
    """Objects have classes."""
    of_objects: tuple[str, ...] = ()
    """Further values of objects, one each."""
    extras: tuple[str, ...] = ()
    """What JSON can hold."""
    left_out: tuple[str, ...] = ()


class _Seen:
    """What is known of a feature after a pass over all records."""

    def __init__(self) -> None:
        self.kinds = set[type]()
        self.least, self.most = 2**63, 0
        self.count = 0
        self.text = True
        self.top = 0.0

    def add(self, values: Values) -> None:
        self.kinds.add(type(values[0]))
        self.least = min(self.least, len(values))
        self.most = max(self.most, len(values))
        self.count += 1
        for value in values:
            if isinstance(value, bytes):
                self.text = self.text and _is_text(value)
            else:
                self.top = max(self.top, abs(value))


def _is_text(value: bytes) -> bool:
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


class Study:
    """What all records have, added one by one."""

    def __init__(self) -> None:
        self.seen: dict[str, _Seen] = {}
        self.records = 0
        self._loose = set[str]()

    def add(self, features: Mapping[str, Values]) -> None:
        """Take in the features of a record."""
        self.records += 1
        count = len(features.get(BOX[0], ()))
        for name, values in features.items():
            self.seen.setdefault(name, _Seen()).add(values)
            if name.startswith(OBJECTS) and len(values) != count:
                self._loose.add(name)

    def is_of_objects(self, name: str) -> bool:
        """Return whether each object has one value of a feature."""
        return name.startswith(OBJECTS) and name not in self._loose

    def has_bytes(self, name: str) -> bool:
        """Return whether a feature holds bytes, and nothing else."""
        return name in self.seen and self.seen[name].kinds == {bytes}

    def label_kind(self, name: str | None, text: str | None) -> str:
        """Return what a label is: ``class``, ``number``, ``vector`` or ``none``."""
        one = self.seen.get(name or "")
        if one is None:
            return "class" if text in self.seen else "none"
        if one.most == 1:
            return "number" if one.kinds == {float} else "class"
        whole = one.least == one.most and bytes not in one.kinds
        return "vector" if whole else "none"


def label_pairs(columns: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the features that may be the label, and those with its name.

    Args:
        columns: What the user says: ``label``, ``label_text``.
    """
    if "label" in columns or "label_text" in columns:
        return [(columns.get("label", ""), columns.get("label_text", ""))]
    return [*_LABELS]


def find_columns(study: Study, told: Mapping[str, str]) -> Columns:
    """Return what each feature is.

    Args:
        study: What all records have.
        told: What the user says, by field.

    Raises:
        UsageError: The user names a field or a feature that is not there, or nothing
            looks like an image.
        DataRefused: Boxes are neither normalised nor said to be in px.
    """
    unknown = sorted(set(told) - {*_KNOWN})
    if unknown:
        raise UsageError(
            f"columns of TFRecord files are {', '.join(_KNOWN)}; got {unknown}"
        )
    for field, name in told.items():
        if field != "normalized" and name not in study.seen:
            raise UsageError(
                f"no record has a feature {name!r} for {field}; there are"
                f" {sorted(study.seen)}"
            )
    image = told.get("image") or next(filter(study.has_bytes, _IMAGES), None)
    if image is None:
        raise UsageError(
            'no feature looks like an image: say columns={"image": ...} (--column'
            f" image=...); there are {sorted(study.seen)}"
        )
    pairs = (
        (label if label in study.seen else None, text if text in study.seen else None)
        for label, text in label_pairs(told)
    )
    label, text = next((pair for pair in pairs if any(pair)), (None, None))
    others = {
        field: told.get(field) or next((n for n in names if n in study.seen), None)
        for field, names in _OTHERS.items()
    }
    fields = {"image": image, "label": label, "label_text": text, **others}
    rest = _rest(study, {name for name in fields.values() if name is not None})
    return Columns(
        image, label, text, others["mask"], others["caption"], others["height"],
        others["width"], others["channels"],
        boxes=BOX[0] in study.seen,
        normalized=_is_normalized(study, told.get("normalized")),
        named=any(name in study.seen for name in _OBJECT_LABELS),
        of_objects=tuple(rest["of_objects"]), extras=tuple(rest["extras"]),
        left_out=tuple(rest["left_out"]),
    )  # fmt: skip


def _is_normalized(study: Study, told: str | None) -> bool:
    if told is not None:
        if told not in {"true", "false"}:
            raise UsageError(f"normalized must be true or false, got {told!r}")
        return told == "true"
    top = max((study.seen[name].top for name in BOX if name in study.seen), default=0)
    if top > _MOST_NORMALIZED:
        raise DataRefused(
            f"a box reaches to {top:g}; in TFRecord files corners are shares of the"
            ' image\'s sides: if they are px, say columns={"normalized": "false"}'
            " (--column normalized=false)"
        )
    return True


def _rest(study: Study, fields: set[str]) -> dict[str, list[str]]:
    """Return what becomes of the features that are no field."""
    taken = {*fields, *BOX, *_OBJECT_LABELS, "image/format"}
    rest: dict[str, list[str]] = {"of_objects": [], "extras": [], "left_out": []}
    for name in sorted(set(study.seen) - taken):
        rest[_place(study, name)].append(name)
    return rest


def _place(study: Study, name: str) -> str:
    if not study.seen[name].text:
        return "left_out"
    if name.startswith(OBJECTS):
        return "of_objects" if study.is_of_objects(name) else "left_out"
    return "left_out" if name in _TAKEN else "extras"


def object_labels(features: Mapping[str, Values]) -> Iterator[Said]:
    """Yield the class of each object.

    Raises:
        SampleBroken: They are not as many as boxes.
    """
    count = len(features.get(BOX[0], ()))
    ids, texts = (features.get(name, ()) for name in _OBJECT_LABELS)
    for name, values in zip(_OBJECT_LABELS, (ids, texts), strict=True):
        if values and len(values) != count:
            raise SampleBroken(f"{count} boxes, but {len(values)} of {name}")
    for i in range(count):
        yield said_class(ids[i : i + 1], texts[i : i + 1])


def said_class(numbers: Sequence[object], texts: Sequence[object]) -> Said:
    """Return a class as a record has it: of the features of number and name.

    A feature that has not one value says nothing.
    """
    number = numbers[0] if len(numbers) == 1 else None
    text = texts[0] if len(texts) == 1 else None
    if isinstance(number, bytes):  # the label itself is a name
        number, text = None, number
    name = text.decode(errors="backslashreplace") if isinstance(text, bytes) else ""
    return (number if isinstance(number, int) else None), name
