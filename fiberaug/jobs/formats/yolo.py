"""YOLO: a text file of normalised boxes, outlines or keypoints for each image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import yaml

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.formats.annotated import Annotated, box_of, class_of, outlines_of

__all__ = ["KINDS", "description", "label_file", "shape_of", "to_lines"]

KINDS = ("boxes", "outlines", "keypoints")
"""What the lines of a set can be: all of them are of one kind."""

_HELD = {
    "boxes": frozenset({"bbox", "label", "score"}),
    "outlines": frozenset({"bbox", "label", "segmentation", "polygons"}),
    "keypoints": frozenset({"bbox", "label", "keypoints", "num_keypoints"}),
}
_DIGITS = 10  # 1e-10 of the widest image, 16,384 px, is 2e-6 px


def label_file(image: str) -> str:
    """Return where trainers look for the labels of an image.

    >>> label_file("images/train/a.b.jpg"), label_file("a/images/b/images/c.png")
    ('labels/train/a.b.txt', 'a/images/b/labels/c.txt')
    """
    stem = image[: image.rindex(".")] + ".txt"
    return "/labels/".join(f"/{stem}".rsplit("/images/", 1))[1:]


def shape_of(about: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return ``kpt_shape``: keypoints of an object, and numbers of each.

    Args:
        about: What the source said of the whole set: YOLO's ``kpt_shape``, or COCO's
            categories with names of keypoints.
    """
    shape = about.get("kpt_shape")
    if shape:
        return int(shape[0]), int(shape[1])
    named = [len(one.get("keypoints") or ()) for one in about.get("categories", ())]
    return (max(named), 3) if any(named) else None


def to_lines(
    one: Annotated,
    classes: Sequence[str],
    *,
    kind: str = "boxes",
    shape: tuple[int, int] | None = None,
    lost: Counter[str] | None = None,
) -> bytes:
    """Return the label file of an image, a line an object.

    A coordinate comes back to within 1e-5 px: numbers have ten digits.

    Args:
        one: The annotations.
        classes: Class names by id.
        kind: ``boxes`` (class, centre, width, height and a score where there is one),
            ``outlines`` (an object without one gets the corners of its box), or
            ``keypoints``.
        shape: For ``keypoints``: how many an object has, and numbers of each, 2 or 3.
        lost: Counts what the format cannot hold, by name. Boxes beyond their image are
            cut at its edge, those outside of it are left out.

    Raises:
        UsageError: ``kind`` is none, or has no ``shape``.
        SampleBroken: An object has no box or no class, or another number of keypoints.
    """
    if kind not in KINDS or (kind == "keypoints") != (shape is not None):
        raise UsageError(
            f"kind must be {', '.join(KINDS)}, and keypoints needs a shape, got"
            f" {kind!r} and {shape!r}"
        )
    counts = Counter[str]() if lost is None else lost
    lines = []
    for row, thing in enumerate(one.objects):
        counts.update(
            f"{key} of objects"
            for key, value in thing.items()
            if key not in _HELD[kind] and value not in (None, "", [])
        )
        values = _line(one, row, thing, kind, shape, counts)
        if values is not None:
            label = class_of(thing, row, classes)
            lines.append(" ".join([str(label), *map(_number, values)]) + "\n")
    return "".join(lines).encode()


def _line(
    one: Annotated,
    row: int,
    thing: Mapping[str, Any],
    kind: str,
    shape: tuple[int, int] | None,
    lost: Counter[str],
) -> list[float] | None:
    """Return the numbers of an object, or None where it lies outside of the image."""
    size = one.width, one.height
    if kind == "outlines":
        outline = _joined([o for o in outlines_of(thing) if len(o) >= 6], lost)
        if outline is None:
            lost["objects without an outline, written as that of their box"] += 1
            x0, y0, x1, y1 = box_of(thing, row)
            outline = [x0, y0, x1, y0, x1, y1, x0, y1]
        return list(_inside(outline, size, lost))
    box = _box(box_of(thing, row), size, lost)
    if box is None:
        return None
    if kind == "boxes":
        score = thing.get("score")
        is_score = isinstance(score, int | float) and 0 <= score <= 1
        if score is not None and not is_score:
            lost["score of objects"] += 1
        return [*box, *([float(score)] if is_score and score is not None else [])]
    if shape is None:
        raise UsageError("keypoints need a shape")
    return [*box, *_points(thing, row, size, shape, lost)]


def _box(
    box: tuple[float, float, float, float], size: tuple[int, int], lost: Counter[str]
) -> list[float] | None:
    """Return centre, width and height, 0 to 1."""
    (x0, y0, x1, y1), (width, height) = box, size
    values = [
        (x0 + x1) / 2 / width, (y0 + y1) / 2 / height,
        (x1 - x0) / width, (y1 - y0) / height,
    ]  # fmt: skip
    if all(0 <= value <= 1 for value in values):
        return values
    if x1 < x0 or y1 < y0:
        lost["boxes whose end lies before their begin, left out"] += 1
        return None
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        lost["boxes outside of their image, left out"] += 1
        return None
    lost["boxes far beyond their image, cut at its edge"] += 1
    cut = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    return _box(cut, size, lost)


def _joined(
    outlines: Sequence[Sequence[float]], lost: Counter[str]
) -> Sequence[float] | None:
    """Return one outline of several: there and back along lines without width."""
    if len(outlines) < 2:
        return outlines[0] if outlines else None
    lost["objects of several outlines, joined by lines without width"] += 1
    first = list(outlines[0])
    joined = [*first, *first[:2]]
    for other in outlines[1:]:
        joined += [*other, *other[:2], *first[:2]]
    return joined


def _inside(
    places: Sequence[float], size: tuple[int, int], lost: Counter[str]
) -> Iterator[float]:
    """Yield normalised places, those beyond the image moved to its edge."""
    values = [value / size[i % 2] for i, value in enumerate(places)]
    moved = any(not 0 <= value <= 1 for value in values)
    if moved:
        lost["outlines or keypoints beyond their image, moved to its edge"] += 1
    return (min(max(value, 0.0), 1.0) for value in values)


def _points(
    thing: Mapping[str, Any],
    row: int,
    size: tuple[int, int],
    shape: tuple[int, int],
    lost: Counter[str],
) -> list[float]:
    """Return the keypoints of an object, all of them 0 where it has none."""
    count, width = shape
    points = thing.get("keypoints") or [[0, 0, 0]] * count
    if len(points) != count:
        raise SampleBroken(
            f"object {row} has {len(points)} keypoints, the set's have {count}"
        )
    places = list(_inside([v for point in points for v in point[:2]], size, lost))
    seen = [point[2] if len(point) > 2 else 2 for point in points]
    if width == 2:
        if any(len(point) > 2 for point in points):
            lost["visibility of keypoints"] += 1
        return places
    pairs = zip(places[::2], places[1::2], seen, strict=True)
    return list(chain.from_iterable(pairs))


def _number(value: float) -> str:
    text = f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def description(
    classes: Sequence[str], parts: Mapping[str, str], about: Mapping[str, Any]
) -> bytes:
    """Return ``data.yaml``, UTF-8.

    Args:
        classes: Class names by id.
        parts: Folder of the images of each part, such as ``{"train": "images/train"}``;
            paths are relative to the file's folder, so there is no ``path``.
        about: What the source said of the whole set; of keypoints their number, and
            which change places when the image is mirrored.
    """
    said: dict[str, Any] = {**parts, "nc": len(classes)}
    shape = shape_of(about)
    if shape is not None:
        said["kpt_shape"] = list(shape)
        flips = _flips(about, shape[0])
        said |= {"flip_idx": flips} if flips else {}
    said["names"] = dict(enumerate(classes))
    as_it_is = all(map(str.isprintable, classes))  # PyYAML loses U+0085 otherwise
    text: str = yaml.safe_dump(
        said, sort_keys=False, allow_unicode=as_it_is, width=10**6
    )
    return text.encode()


def _flips(about: Mapping[str, Any], count: int) -> list[int]:
    """Return for each keypoint the one that it changes places with."""
    if about.get("flip"):
        return [int(i) for i in about["flip"]]
    named = about.get("keypoints") or {}
    if not named.get("flip") or len(named.get("names", ())) != count:
        return []
    flips = list(range(count))
    for left, right in named["flip"]:
        flips[left], flips[right] = right, left
    return flips
