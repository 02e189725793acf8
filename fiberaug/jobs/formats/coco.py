"""COCO: one JSON file of images, annotations and categories."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from fiberaug.jobs.formats.annotated import (
    Annotated,
    box_of,
    class_of,
    outlines_of,
    plain,
)

__all__ = ["captions_of", "categories", "chunks", "document", "entries"]

Entry = dict[str, Any]
_OWN = frozenset({
    "bbox", "label", "coco_label", "polygons", "segmentation", "keypoints", "id",
    "image_id", "category_id", "area", "iscrowd",
})  # fmt: skip
# Other names of the same, made for the loader of what the objects and images say.
_DERIVED = frozenset({
    "image", "objects", "caption", "captions", "keypoints", "keypoint_labels",
    "keypoint_objects", "width", "height", "part", "frame", "label", "class",
})  # fmt: skip
_LINES = 1000  # entries of a chunk: some 200 kB of text


def entries(
    one: Annotated,
    image_id: int | str,
    first_annotation_id: int | None,
    *,
    classes: Sequence[str],
    category_ids: Sequence[Any] = (),
    lost: Counter[str] | None = None,
) -> tuple[Entry, list[Entry]]:
    """Return the entry of an image, and those of its objects.

    Boxes are [x, y, width, height]; read back, those of a COCO source are the very
    numbers, and others inside of their image the same to the last bit. What else is
    said of an object or an image stands in its entry, under its own name.

    Args:
        one: The annotations.
        image_id: Id of the image.
        first_annotation_id: Id of the first object, the next has one more. None: each
            has its own ``id``.
        classes: Class names by id.
        category_ids: Id of the category by class id. Empty: the class id plus 1.
        lost: Counts what the format cannot hold, by name.

    Raises:
        SampleBroken: An object has no box or no class.
    """
    said = {
        key: value for key, value in one.notes.items()
        if key not in _DERIVED and not key.startswith("_")
    }  # fmt: skip
    own = one.notes.get("image")
    image: Entry = {
        "id": image_id, "file_name": one.file, "width": one.width,
        "height": one.height,
    }  # fmt: skip
    for more in (own if isinstance(own, Mapping) else {}, said):
        image |= {key: value for key, value in more.items() if key not in image}
    if lost is not None and one.notes.get("keypoints"):
        owners = one.notes.get("keypoint_objects")
        if owners is None:
            lost["keypoints that belong to no object"] += 1
    found = []
    for row, thing in enumerate(one.objects):
        label = class_of(thing, row, classes)
        entry = _object(thing, row)
        own_id = thing.get("id", row)
        number = own_id if first_annotation_id is None else first_annotation_id + row
        category = category_ids[label] if category_ids else label + 1
        found.append(
            {"id": number, "image_id": image_id, "category_id": category, **entry}
        )
    return image, found


def _object(thing: Mapping[str, Any], row: int) -> Entry:
    x0, y0, x1, y1 = box_of(thing, row)
    box = [x0, y0, _length(x0, x1), _length(y0, y1)]
    entry: Entry = {"bbox": [plain(value) for value in box]}
    outline = thing.get("segmentation")
    if not outline and "polygons" in thing:
        outline = outlines_of(thing)
    if outline is not None:
        entry["segmentation"] = outline
    area = thing.get("area")
    entry["area"] = plain(_area(outline, box)) if area is None else area
    entry["iscrowd"] = thing.get("iscrowd", 0)
    if thing.get("keypoints") is not None:
        points = [[*point, 2][:3] for point in thing["keypoints"]]
        entry["keypoints"] = list(chain.from_iterable(points))
        if "num_keypoints" not in thing:
            entry["num_keypoints"] = sum(point[2] > 0 for point in points)
    entry |= {key: value for key, value in thing.items() if key not in _OWN}
    if "coco_label" in thing:
        entry["label"] = thing["coco_label"]
    return entry


def _area(outline: object, box: Sequence[float]) -> float:
    """Return the area of an object in px^2: of its outlines, else of its box."""
    if not isinstance(outline, list) or not outline:
        return max(box[2], 0) * max(box[3], 0)
    return sum(map(_shoelace, outline))


def _shoelace(outline: Sequence[float]) -> float:
    xs, ys = outline[::2], outline[1::2]
    turned = zip(xs, [*ys[1:], *ys[:1]], [*xs[1:], *xs[:1]], ys, strict=True)
    return abs(sum(x * next_y - next_x * y for x, next_y, next_x, y in turned)) / 2


def _length(begin: float, end: float) -> float:
    """Return the shortest number that, added to the begin, gives the end."""
    length = end - begin
    for digits in range(18):
        short = round(length, digits)
        if begin + short == end:
            return short
    return length


def captions_of(
    one: Annotated, image_id: int | str, first_annotation_id: int
) -> list[Entry]:
    """Return the entries of an image's captions."""
    texts = one.notes.get("captions")
    if not isinstance(texts, list):
        texts = [one.notes["caption"]] if one.notes.get("caption") else []
    return [
        {"id": first_annotation_id + i, "image_id": image_id, "caption": text}
        for i, text in enumerate(texts)
    ]


def categories(classes: Sequence[str], about: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of the classes, by class id.

    Args:
        classes: Class names by id.
        about: What the source said of the set: its own ``categories`` are taken where
            they are those classes; without an id they get a free one.
    """
    known = about.get("categories") or ()
    names = [unicodedata.normalize("NFC", str(one.get("name"))) for one in known]
    if names != list(classes):
        known = [{"name": name} for name in classes]
        if about.get("keypoints") and len(classes) == 1:
            own = about["keypoints"]
            known[0] |= {"keypoints": own["names"], "skeleton": own.get("skeleton", [])}
    whole = [one["id"] for one in known if isinstance(one.get("id"), int)]
    free = islice(_after(max(whole, default=0)), len(classes))
    return [{"id": one["id"] if "id" in one else next(free), **one} for one in known]


def _after(number: int) -> Iterator[int]:
    while True:
        number += 1
        yield number


def document(
    images: Iterable[Entry],
    annotations: Iterable[Entry],
    classes: Sequence[str],
    about: Mapping[str, Any],
) -> bytes:
    """Return an annotation file, UTF-8.

    Args:
        images: Entries of images.
        annotations: Entries of objects or captions.
        classes: Class names by id; empty: of captions, which have no categories.
        about: ``info``, ``licenses`` and ``categories`` of the source.
    """
    return b"".join(chunks(images, annotations, classes, about))


def chunks(
    images: Iterable[Entry],
    annotations: Iterable[Entry],
    classes: Sequence[str],
    about: Mapping[str, Any],
) -> Iterator[bytes]:
    """Yield an annotation file piece by piece; otherwise as :func:`document`."""
    info = about.get("info") or {}
    yield b'{"info": ' + _json(info)
    if about.get("licenses"):
        yield b',\n"licenses": ' + _json(about["licenses"])
    if classes:
        yield b',\n"categories": ' + _json(categories(classes, about))
    for name, listed in (("images", images), ("annotations", annotations)):
        yield f',\n"{name}": ['.encode()
        rest, comma = iter(listed), b"\n"
        while some := [_json(entry) for entry in islice(rest, _LINES)]:
            yield comma + b",\n".join(some)
            comma = b",\n"
        yield b"\n]"
    yield b"}\n"


def _json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a character, which JSON holds as an escape
        return json.dumps(value, allow_nan=False).encode()
