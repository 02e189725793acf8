"""The label files of a YOLO set: boxes, outlines and keypoints, normalised."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.decode.header import read_header
from fiberaug.errors import SampleBroken
from fiberaug.jobs.framing import is_stored
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.sources.files import read_file

__all__ = ["LabelReader", "text_lines"]


@dataclass(frozen=True)
class LabelReader:
    """Reads an image and its labels, in px."""

    root: str = field(repr=False)
    classes: int
    shape: tuple[int, int] | None
    frame: str | None = None

    def __call__(self, item: Item) -> Raw:
        """Return a sample.

        Raises:
            SampleBroken: A line is no box, outline or pose; or listing found an error.
            FrameUnknown: The image is turned, and nobody said what labels are for.
        """
        notes = json.loads(item.notes)
        if "error" in notes:
            raise SampleBroken(notes["error"])
        image = read_file(self.root, item).image
        part = {"part": notes["part"]} if "part" in notes else {}
        text = text_lines(Path(self.root, notes["label"])) if "label" in notes else {}
        if not text:
            return Raw(image, {"objects": [], **part})
        header = read_header(image)
        stored = is_stored(Raw(image), header, self.frame)
        size = (header.width, header.height) if stored else header.upright
        objects = []
        for number, line in text.items():
            try:
                objects.append(_object(line, size, self.classes, self.shape))
            except ValueError as error:
                where = f"{notes['label']} line {number}"
                raise SampleBroken(f"{where}: {error}") from None
        return Raw(image, {"objects": objects, **part}, frame=self.frame)


def text_lines(path: Path) -> dict[int, str]:
    """Return the lines of a label file that are not empty, by number from 1."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SampleBroken(f"cannot read {path}: {error}") from error
    return {n: line for n, line in enumerate(text.splitlines(), 1) if line.strip()}


def _object(
    line: str, size: tuple[int, int], classes: int, shape: tuple[int, int] | None
) -> dict[str, Any]:
    """Return an object in px.

    Raises:
        ValueError: The line is none.
    """
    label, *values = map(float, line.split())
    if not 0 <= label < classes or label % 1:
        raise ValueError(f"class {label:g} is none of 0 to {classes - 1}")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"has a value that is not finite: {line.strip():.80}")
    found: dict[str, Any] = {"bbox": [], "label": int(label)}
    box, places = values[:4], values
    if shape is not None:
        (count, width), rest = shape, values[4:]
        if len(rest) != count * width:
            raise ValueError(
                f"has {len(values) + 1} values; with kpt_shape {list(shape)} there are"
                f" {5 + count * width}"
            )
        points = [rest[i : i + width] for i in range(0, len(rest), width)]
        places = [*box, *(value for point in points for value in point[:2])]
        found["keypoints"] = [[*_px(p[:2], size), *map(_plain, p[2:])] for p in points]
    elif len(values) == 5:
        places, found["score"] = box, values[4]
    elif len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        box = [min(xs), min(ys), max(xs), max(ys)]
        found["polygons"] = [[_px(p, size) for p in zip(xs, ys, strict=True)]]
    elif len(values) != 4:
        raise ValueError(
            f"has {len(values) + 1} values; a box has 5, or 6 with a score, an outline"
            " 7, 9, 11, ..."
        )
    if not all(-0.01 <= value <= 1.01 for value in (*places, found.get("score", 0))):
        raise ValueError(f"has a value out of [-0.01, 1.01]: {line.strip():.80}")
    if "polygons" not in found:
        x, y, w, h = box
        box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    return {**found, "bbox": _px(box, size)}


def _plain(value: float) -> float:
    return int(value) if value % 1 == 0 else value


def _px(values: Sequence[float], size: tuple[int, int]) -> list[float]:
    return [round(value * size[i % 2], 4) for i, value in enumerate(values)]
