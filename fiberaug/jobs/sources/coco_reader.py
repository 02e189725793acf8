"""One image of a COCO set with its objects, keypoints, captions and masks."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fiberaug.errors import SampleBroken
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.preparing import masks_member
from fiberaug.jobs.sources.coco_annotations import is_stated
from fiberaug.jobs.sources.coco_classes import Points
from fiberaug.jobs.sources.coco_masks import outline_masks
from fiberaug.jobs.sources.files import read_file

__all__ = ["CocoReader", "packed_notes"]

_SIDES = ("width", "height")
_MOST_PX = 1e9  # farther off than any image reaches
_KNOWN = frozenset({"image_id", "category_id", "bbox", "label", "keypoints"})


def packed_notes(
    images: Iterable[bytes],
    objects: Iterable[bytes],
    labels: Iterable[int],
    captions: Iterable[bytes],
) -> bytes:
    """Return an item's notes of entries as they stand in the files.

    Args:
        images: The image's entry in each file.
        objects: Its objects.
        labels: Their class ids.
        captions: Its captions.
    """
    lists = [images, objects, map(b"%d".__mod__, labels), captions]
    notes = b"[" + b",".join(b"[" + b",".join(one) + b"]" for one in lists) + b"]"
    if b"\n" in notes:  # laid out for people
        notes = json.dumps(
            json.loads(notes), ensure_ascii=False, separators=(",", ":")
        ).encode("utf-8", "surrogatepass")
    return notes


@dataclass(frozen=True, kw_only=True)
class CocoReader:
    """Reads a sample; its notes are what :func:`packed_notes` returns."""

    root: str = field(repr=False)

    boxes: bool
    """The set has objects."""

    points: Points | None
    """By class: first label and number of its keypoints; None: the set has none."""

    masks: bool
    """Make masks of outlines."""

    def __call__(self, item: Item) -> Raw:
        """Return the sample.

        Raises:
            SampleBroken: An annotation is not what it has to be.
            OSError: The image cannot be read.
        """
        raw = read_file(self.root, item)
        images, found, labels, captions = json.loads(item.notes)
        image = _merged(images)
        stated = _stated(image)
        notes: dict[str, Any] = {
            "image": {k: v for k, v in image.items() if k not in _SIDES}
        }
        members = {}
        if self.boxes:
            objects = _united(
                _object(*pair) for pair in zip(found, labels, strict=True)
            )
            notes["objects"] = objects
            if self.points is not None:
                notes |= _points(objects, self.points)
            if self.masks:
                if stated is None:
                    raise SampleBroken("masks need the image's width and height")
                members["masks.npz"] = masks_member(outline_masks(objects, stated))
        if captions:
            texts = [_text(one["caption"]) for one in captions]
            notes |= {"caption": texts[0], "captions": texts}
        return raw._replace(notes=notes, members=members, stated=stated)


def _merged(images: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one entry of an image that stands in several files; the first counts."""
    merged: dict[str, Any] = {}
    for image in images:
        for key in _SIDES:
            side = image.get(key)
            if is_stated(side) and merged.get(key, side) != side:
                raise SampleBroken(
                    f"the annotation files state two values of its {key}:"
                    f" {merged[key]!r:.80} and {side!r:.80} px"
                )
        said = {k: v for k, v in image.items() if k not in _SIDES or is_stated(v)}
        merged = {**{k: v for k, v in said.items() if v is not None}, **merged}
    return merged


def _stated(image: Mapping[str, Any]) -> tuple[int, int] | None:
    size: list[Any] = [image.get("width"), image.get("height")]
    if None in size:
        return None
    whole = [int(n) for n in size if _is_number(n) and n == int(n)]
    if len(whole) != 2:
        raise SampleBroken(
            f"its width and height must be whole numbers, got {size!r:.80}"
        )
    return whole[0], whole[1]


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _object(annotation: Mapping[str, Any], label: int) -> dict[str, Any]:
    box = annotation.get("bbox")
    name = f"annotation {annotation['id']!r:.80}" if "id" in annotation else "an object"
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise SampleBroken(f"{name}: bbox must be 4 finite numbers, got {box!r:.200}")
    if max(map(abs, box)) > _MOST_PX:
        raise SampleBroken(
            f"{name}: bbox {box!r:.200} is farther off than {_MOST_PX:.0f} px"
        )
    x, y, width, height = map(float, box)
    one = {"bbox": [x, y, x + width, y + height], "label": label}
    one |= {key: value for key, value in annotation.items() if key not in _KNOWN}
    if "label" in annotation:
        one["coco_label"] = annotation["label"]
    points = annotation.get("keypoints")
    if points is not None:
        if (
            not isinstance(points, list)
            or len(points) % 3
            or not all(map(_is_number, points))
        ):
            raise SampleBroken(
                f"{name}: keypoints must be finite numbers [x, y, v, ...], got"
                f" {points!r:.200}"
            )
        one["keypoints"] = [points[i : i + 3] for i in range(0, len(points), 3)]
    return one


def _united(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return objects, those that stand in two files made one."""
    united: list[dict[str, Any]] = []
    rows: dict[Any, dict[str, Any]] = {}
    for one in objects:
        other = rows.get(one["id"]) if "id" in one else None
        if other is None:
            united.append(one)
            if "id" in one:
                rows[one["id"]] = one
            continue
        if (one["bbox"], one["label"]) != (other["bbox"], other["label"]):
            raise SampleBroken(
                f"the id {one['id']!r:.80} stands for two objects in two files:"
                f" {other['bbox']} and {one['bbox']}; convert the files one by one, or"
                " number the objects anew"
            )
        other |= {key: value for key, value in one.items() if key not in other}
    return united


def _points(objects: list[dict[str, Any]], points: Points) -> dict[str, Any]:
    """Return the keypoints of all objects that are labelled, and what they are."""
    places, labels, owners = [], [], []
    for row, one in enumerate(objects):
        own = one.get("keypoints") or ()
        first, count = points[one["label"]] or (0, len(own))
        if own and len(own) != count:
            raise SampleBroken(
                f"object {row} has {len(own)} keypoints, its category {count}"
            )
        for label, (x, y, visible) in enumerate(own, first):
            if visible > 0:
                places.append([x, y])
                labels.append(label)
                owners.append(row)
    return {
        "keypoints": places, "keypoint_labels": labels, "keypoint_objects": owners
    }  # fmt: skip


def _text(caption: object) -> str:
    if not isinstance(caption, str):
        raise SampleBroken(f"a caption must be text, got {caption!r:.80}")
    return caption
