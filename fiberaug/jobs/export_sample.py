"""A sample of a shard as an export writes it: image, annotations, masks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.annotations import Frame
from fiberaug.decode.arrays import decode_npz
from fiberaug.decode.fields import FieldSpec
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_mask
from fiberaug.decode.refusing import Refusing
from fiberaug.decode.text import parse_json, parse_label, parse_metadata
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.framing import Placing
from fiberaug.jobs.members import mask_member

__all__ = ["ReadSample", "SampleReader"]

_LIMITS = ImageLimits()
_OBJECTS_MASK = "mask.objects.png"
_WHERE = {
    "bboxes": ("json", ("objects", "[]", "bbox")),
    "bbox_labels": ("json", ("objects", "[]", "label")),
    "mask_labels": ("json", ("objects", "[]", "label")),
}


class ReadSample(NamedTuple):
    """A sample, annotations upright."""

    image: bytes
    """The image file."""

    extension: str
    """Of the image file, such as ``jpg``."""

    one: Annotated
    """Its annotations; ``file`` is empty."""

    mask: bytes | None
    """Class ids as PNG, upright."""

    objects_mask: bytes | None
    """Numbers of objects as PNG, upright, as Pascal VOC's ``SegmentationObject``."""

    masks: NDArray[np.uint8] | None
    """Masks of objects [N, H, W], upright."""

    turned: bool
    """The image file is turned by its EXIF orientation and has annotations."""


@dataclass(frozen=True, kw_only=True)
class SampleReader:
    """Reads samples; it can be pickled.

    Raises:
        UsageError: Boxes stand where this does not find them.
    """

    specs: Sequence[FieldSpec]
    """The field mapping."""

    classes: Sequence[str]
    """Class names by id."""

    _by_name: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that annotations stand where convert writes them."""
        by_name = {name: i for i, name in enumerate(self.classes)}
        object.__setattr__(self, "_by_name", by_name)
        for spec in self.specs:
            places = [(source.extension, source.path) for source in spec.sources]
            if spec.name in _WHERE and places != [_WHERE[spec.name]]:
                raise UsageError(
                    f"{spec.name} <- {spec}: an export reads json:objects[].bbox and"
                    " json:objects[].label; convert the set into that form"
                )

    def has(self, name: str) -> bool:
        """Return whether the set has a field."""
        return any(spec.name == name for spec in self.specs)

    def __call__(
        self, members: Mapping[str, bytes | memoryview], lost: Counter[str]
    ) -> ReadSample:
        """Return a sample.

        Args:
            members: Members by extension.
            lost: Counts members that no format takes.

        Raises:
            SampleBroken: It has no image, or annotations that do not fit it.
        """
        places = {spec.name: self._place(spec, members) for spec in self.specs}
        own = places["image"]
        if own is None:
            raise SampleBroken(f"the sample has no image; it has {sorted(members)}")
        image = bytes(members[own])
        header = read_header(image)
        notes = self._notes(members)
        frame = Frame.of(header, notes)
        placing = Placing(header, stored=frame.turn != 1, size=header.upright)
        with Refusing("the annotations are none"):
            notes = placing.notes(notes)
        if placing.left_out:
            lost["outlines as RLE of images that are turned"] += len(placing.left_out)
        label = self._label(members, notes)
        if (caption := places.get("caption")) and not caption.endswith("json"):
            text = bytes(members[caption]).decode("utf-8-sig", errors="replace")
            notes["caption"] = text.strip()
        turned = header.orientation != 1
        mask = _mask(members, places.get("mask"), placing if turned else None)
        objects_mask = _mask(members, _OBJECTS_MASK, placing if turned else None)
        masks = self._masks(members, places.get("masks"), frame)
        objects = notes.pop("objects", [])
        if not isinstance(objects, list):
            raise SampleBroken(f"objects must be a list, got {objects!r:.80}")
        known = {own, "json", _OBJECTS_MASK, *places.values()}
        lost.update(f".{name} files" for name in members if name not in known)
        width, height = header.upright
        placed = bool(objects or mask or masks is not None or notes.get("keypoints"))
        return ReadSample(
            image=image,
            extension=own.rpartition(".")[2],
            one=Annotated("", width, height, self._labelled(objects), notes, label),
            mask=mask,
            objects_mask=objects_mask,
            masks=masks,
            turned=turned and placed,
        )

    def _place(
        self, spec: FieldSpec, members: Mapping[str, bytes | memoryview]
    ) -> str | None:
        extensions = (source.extension for source in spec.sources)
        return next((name for name in extensions if name in members), None)

    def _notes(self, members: Mapping[str, bytes | memoryview]) -> dict[str, Any]:
        """Return the JSON; unsound JSON matters only where fields come from it."""
        needed = any(
            source.path for spec in self.specs for source in spec.sources
            if source.extension == "json"
        )  # fmt: skip
        if "json" not in members:
            return {}
        if needed:
            with Refusing(".json cannot be decoded"):
                notes = parse_json(members["json"])
        else:
            notes = parse_metadata({"json": members["json"]}).get("json")
        return dict(notes) if isinstance(notes, Mapping) else {}

    def _labelled(self, objects: list[Any]) -> list[dict[str, Any]]:
        if not all(isinstance(one, Mapping) for one in objects):
            raise SampleBroken("objects must be a list of JSON objects")
        if self.has("bbox_labels") or self.has("mask_labels"):
            return [dict(one) for one in objects]
        return [{"label": 0, **one} for one in objects]  # one class alone

    def _label(
        self, members: Mapping[str, bytes | memoryview], notes: dict[str, Any]
    ) -> int | None:
        """Return the class id of the photo, and take it out of its notes."""
        spec = next((spec for spec in self.specs if spec.name == "label"), None)
        for source in () if spec is None else spec.sources:
            if source.path and source.extension == "json":
                value = notes.get(source.path[0]) if len(source.path) == 1 else None
            elif source.extension in members:
                data = bytes(members[source.extension])
                value = data.decode("utf-8-sig", errors="replace")
            else:
                value = None
            if value is None:
                continue
            label = parse_label(value, self._by_name)
            if isinstance(label, np.ndarray) or label != int(label):
                return None  # a vector or a measure: no class
            if source.path:
                del notes[source.path[0]]
            return int(label)
        return None

    def _masks(
        self,
        members: Mapping[str, bytes | memoryview],
        place: str | None,
        frame: Frame,
    ) -> NDArray[np.uint8] | None:
        if place is None:
            return None
        with Refusing(f".{place} cannot be decoded"):
            arrays = decode_npz(members[place])
        return frame.masks(arrays, "masks")


def _mask(
    members: Mapping[str, bytes | memoryview],
    place: str | None,
    placing: Placing | None,
) -> bytes | None:
    """Return a mask as PNG; the same bytes where it needs no turn."""
    if place is None or place not in members:
        return None
    data = bytes(members[place])
    is_png = data[1:4] == b"PNG"
    if is_png and placing is None:
        return data
    mask = decode_mask(data, limits=_LIMITS)
    found = mask if placing is None else placing.mask(mask)
    return data if is_png and found is mask else mask_member(found)
