"""A photo of a folder with all that goes with it through a pipeline, and back out.

The pixels and the record are those of the loader. What it leaves behind is taken along:
which object a box belongs to, outlines and keypoints of each object, captions and masks
that are no field of the data set.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fiberaug.augment.pipeline import Part, Pipeline
from fiberaug.decode.fields import FieldSpec, Source
from fiberaug.decode.sample import Decoded
from fiberaug.decode.text import JSON_BYTES
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.foldering.photos import Photo, Photos
from fiberaug.jobs.formats.annotated import outlines_of
from fiberaug.jobs.items import Item
from fiberaug.jobs.plain_shard import PlainShard
from fiberaug.jobs.sources.files import inside
from fiberaug.making import Maker, Setup
from fiberaug.marking import read_mark

if TYPE_CHECKING:
    from fiberaug.mixture import LiveShard
    from fiberaug.shards.reader import ShardFile

__all__ = [
    "CENTRE", "OBJECTS_MASK", "Carried", "Outline", "PhotoMaker", "Point", "carrying",
]  # fmt: skip

OBJECTS_MASK = "objects_mask"
"""Field of Pascal VOC's ``SegmentationObject``."""


CENTRE = np.float32(0.5)
"""From the edge of a pixel, which outlines count from, to its centre, which points do:
Albumentations mirrors a point x to width - 1 - x, and a box to width - x."""


class Outline(NamedTuple):
    """An outline among all of a photo."""

    row: int
    """Of its object."""

    corners: int


class Point(NamedTuple):
    """A keypoint among all of a photo that are labelled."""

    row: int
    """Of its object."""

    place: int
    """Among the object's keypoints."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What a photo has beside its fields."""

    item: Item
    """As its source lists it."""

    kind: str
    """What its file is: the extension of the member."""

    data: bytes
    """First bytes of its file."""

    mark: str | None
    """What its file says of how it came about, see :mod:`fiberaug.marking`."""

    size: tuple[int, int]
    """Width and height before, px."""

    notes: Mapping[str, Any]
    """All annotations before, as the JSON of a shard has them."""

    outlines: Sequence[Outline]
    """Of the field ``polygons``."""

    points: Sequence[Point]
    """Of the field ``keypoints``."""


def carrying(photos: Photos) -> Setup:
    """Return what to make the photos of: the loader's set-up, with more fields.

    None of the additional fields is drawn for, so records stay those of the loader.
    """
    setup = photos.dataset.setup
    there = {spec.name for spec in setup.decoder.specs}
    more = dict[str, Source]()
    if "bboxes" in there:
        more["bbox_ids"] = _nowhere("row")
    if "outlines" in photos.traits:
        more["polygons"] = _nowhere("outline")
    if _has_points(photos):
        more |= {n: _nowhere(n) for n in ("keypoints", "keypoint_labels")}
    if "captions" in photos.traits:
        more["caption"] = _nowhere("caption")
    kinds, pipeline = dict(setup.decoder.kinds), setup.pipeline
    if "objects mask" in photos.traits and _all_compose(pipeline):
        more[OBJECTS_MASK] = Source("mask.objects.png")
        kinds[OBJECTS_MASK] = "mask"
        pipeline = _with_target(pipeline)
    specs = tuple(s for s in setup.decoder.specs if s.name not in more)
    added = tuple(FieldSpec(n, (s,), optional=True) for n, s in more.items())
    decoder = replace(setup.decoder, specs=specs + added, kinds=kinds)
    return replace(setup, decoder=decoder, pipeline=pipeline)


def _nowhere(name: str) -> Source:
    """Return a source that no sample has: the field is filled in here."""
    return Source("json", (f"fiberaug {name}",))


def _has_points(photos: Photos) -> bool:
    manifest = photos.dataset.shard_set.manifest
    about = {} if manifest is None else manifest.about
    return bool(about.get("kpt_shape") or about.get("keypoints"))


def _all_compose(pipeline: Pipeline | None) -> bool:
    parts = () if pipeline is None else pipeline.parts
    return all(part.kind == "compose" for part in parts)


def _with_target(pipeline: Pipeline | None) -> Pipeline | None:
    """Return a pipeline that moves the masks of objects, too."""
    if pipeline is None:
        return None
    return Pipeline(parts=tuple(map(_with_mask, pipeline.parts)))


def _with_mask(part: Part) -> Part:
    compose = copy.deepcopy(part.what)
    compose.add_targets({OBJECTS_MASK: "mask"})
    return replace(part, what=compose)


class PhotoMaker(Maker):
    """Makes samples of photos; each is read and decoded once for all of its copies.

    Args:
        setup: See :func:`carrying`.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._fields = {spec.name for spec in setup.decoder.specs}
        self._images = [
            source.extension
            for spec in setup.decoder.specs
            for source in spec.sources
            if spec.name == "image"
        ]
        self._last: tuple[str, int] | None = None
        self._kept: Decoded | None = None
        self._carried: Carried | None = None

    @property
    def carried(self) -> Carried:
        """What goes with the photo that was made last."""
        if self._carried is None:
            raise UsageError("no photo was made")
        return self._carried

    def place(self, photo: Photo) -> str:
        """Return the path of a photo below its root."""
        file = self._pool[photo.shard]
        return file.item(photo.at).place if isinstance(file, PlainShard) else ""

    def _decoded(
        self, file: "ShardFile | LiveShard", shard: int, index: int, *, wait: bool
    ) -> tuple[Decoded, None]:
        del shard, wait  # all copies of a photo show its pixels
        place = file.name, index
        if self._last != place or self._kept is None:
            self._last = self._kept = None
            self._kept, self._last = self._read_photo(file, index), place
        return self._kept, None

    def _read_photo(self, file: "ShardFile | LiveShard", index: int) -> Decoded:
        if not isinstance(file, PlainShard):
            raise UsageError(f"{file.name} is a shard, no folder of photos")
        item, members = file.item(index), file.read(index)
        fields, header = self.setup.decoder(members)
        kind = next(name for name in self._images if name in members)
        notes = json.loads(bytes(members["json"])) if "json" in members else {}
        objects = notes.get("objects", ())
        outlines = self._outlines(objects, fields)
        points = self._points(objects, fields)
        if "bbox_ids" in self._fields:
            fields["bbox_ids"] = np.arange(len(fields["bboxes"]))
        if file.source.kind == "folder" and "caption" in self._fields:
            fields["caption"] = _caption(file.source.root, item.place)
        self._carried = Carried(
            item=item, kind=kind, data=bytes(members[kind][:64]), size=header.upright,
            mark=read_mark(members[kind]), notes=notes, outlines=outlines,
            points=points,
        )  # fmt: skip
        return Decoded(fields, header)

    def _outlines(
        self, objects: Sequence[Mapping[str, Any]], fields: dict[str, Any]
    ) -> list[Outline]:
        """Fill in ``polygons``; return what they belong to."""
        if "polygons" not in self._fields:
            return []
        found: list[Outline] = []
        fields["polygons"] = corners = []
        for row, one in enumerate(objects):
            for outline in outlines_of(one):
                flat = np.asarray(outline, np.float32).reshape(-1, 2)
                corners.append(flat - CENTRE)
                found.append(Outline(row, len(corners[-1])))
        return found

    def _points(
        self, objects: Sequence[Mapping[str, Any]], fields: dict[str, Any]
    ) -> list[Point]:
        """Fill in ``keypoints``; return what they belong to."""
        if "keypoint_labels" not in self._fields:
            return []
        found = [
            (Point(row, place), point[:2])
            for row, one in enumerate(objects)
            for place, point in enumerate(one.get("keypoints") or ())
            if len(point) < 3 or point[2] > 0
        ]
        xy = np.array([point for _, point in found], np.float32).reshape(-1, 2)
        fields["keypoints"], fields["keypoint_labels"] = xy, list(range(len(found)))
        return [point for point, _ in found]


def _caption(root: str, place: str) -> str | None:
    """Return the text file beside a photo, or None.

    Raises:
        SampleBroken: It is no UTF-8, too long, or a link out of the folder.
    """
    path = Path(root, place).with_suffix(".txt")
    if not path.is_file():
        return None
    if not inside(root, path):
        raise SampleBroken(f"the caption {path} is a link out of {root}; copy it there")
    if path.stat().st_size > JSON_BYTES:
        raise SampleBroken(f"the caption {path} has more than {JSON_BYTES} bytes")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SampleBroken(f"cannot read the caption {path}: {error}") from error
