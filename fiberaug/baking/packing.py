"""A delivered sample to the members of a shard, checked by reading them back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from fiberaug.baking.carried import archive, base_name, carry, is_exact_text
from fiberaug.baking.comparing import difference
from fiberaug.baking.origins import NO_ORIGIN, Origin
from fiberaug.baking.pixels import encode_ids, encode_pixels, form_of
from fiberaug.decode.fields import FieldSpec, parse_fields
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import DataRefused, UsageError
from fiberaug.marking import mark
from fiberaug.synthetic.provenance import FIELD

__all__ = ["Packed", "Packer"]

_OBJECTS = {"bbox_labels": "label", "bbox_ids": "id"}
_LISTED = ("keypoints", "mask_labels", "polygons", *_OBJECTS)
_PLANES = frozenset({"image", "mask"})
_READ = frozenset(
    {
        "bmp", "cls", "gif", "jpeg", "jpg", "json", "npy", "npz", "png", "ppm", "tif",
        "tiff", "txt", "webp",
    }
)  # fmt: skip
"""Last parts of extensions that mean something to a reader."""


class Packed(NamedTuple):
    """A sample as it is written."""

    members: dict[str, bytes]
    """By extension."""

    sources: dict[str, str]
    """The source of each field that the sample has."""

    forms: list[str]
    """``dtype channels`` of its images."""


@dataclass(frozen=True, kw_only=True)
class Packer:
    """Writes the fields of samples so that they stream back equal."""

    specs: Sequence[FieldSpec]
    """Fields of the set that is baked."""

    kinds: Mapping[str, str]
    """Additional targets of the pipeline: what further fields are."""

    classes: Mapping[str, int]
    """Class ids by name."""

    options: DecodeOptions
    """How the set is decoded; its limits are those of the baked one."""

    decoders: frozenset[str] = frozenset()
    """Extensions for which the user has a decoder."""

    encode: str = "png"
    quality: int = 90
    seekable: bool = False

    record: str = "baked_record"
    """Field of the record."""

    _readers: dict[tuple[tuple[str, str], ...], SampleDecoder] = field(
        default_factory=dict, repr=False
    )

    def __call__(
        self,
        fields: Mapping[str, Any],
        *,
        group: str | int,
        record: str | None,
        origin: Origin = NO_ORIGIN,
    ) -> Packed:
        """Return the members of a sample.

        Args:
            fields: Its fields, image [H, W, C], before a normalisation that is done
                for whole batches.
            group: What keeps it together with others in a split; empty: nothing.
            record: Its record as JSON, where records are kept.
            origin: What the source says of how it came about.

        Raises:
            UsageError: A field cannot be stored, or would not stream back equal.
        """
        packed = Packed({}, {}, [])
        metadata: dict[str, Any] = {"group": group} if group != "" else {}
        if origin.provenance is not None:
            metadata[FIELD] = origin.provenance
        objects = self._objects(fields)
        if objects is not None:
            metadata["objects"] = objects
        for name, value in fields.items():
            if value is not None:
                kind = self.kinds.get(name, name)
                packed.sources[name] = (
                    self._planes(name, kind, value, packed, origin.marks.get(name))
                    if kind in _PLANES
                    else self._value(name, value, packed.members, metadata)
                )
        if metadata:
            packed.members["json"] = _json(metadata)
        self._check(packed, fields)
        if record is not None:
            packed.members["record.json"] = record.encode()
            packed.sources[self.record] = "record.json"
        return packed

    def _planes(
        self,
        name: str,
        kind: str,
        value: Any,  # noqa: ANN401
        packed: Packed,
        source_type: str | None,
    ) -> str:
        """Add an image or a mask; return its source."""
        base = base_name(name)
        if kind == "mask":
            source = "mask.png" if name == "mask" else f"{base}.png"
            packed.members[source] = encode_ids(value)
            return source
        extension, data = encode_pixels(
            value, self.encode, quality=self.quality, seekable=self.seekable
        )
        source = extension if name == "image" else f"{base}.{extension}"
        packed.members[source] = (
            data if source_type is None else mark(data, source_type)
        )
        packed.forms.append(form_of(value))
        return source

    def _value(  # noqa: PLR0911  # one return a kind of field
        self,
        name: str,
        value: Any,  # noqa: ANN401
        members: dict[str, bytes],
        metadata: dict[str, Any],
    ) -> str:
        """Add any other field; return its source."""
        if name == "label":
            return self._label(value, members, metadata)
        if name == "masks" and isinstance(value, np.ndarray):
            members["masks.npz"] = archive({name: value})
            return "masks.npz"
        if name == "caption" and isinstance(value, str) and is_exact_text(value):
            members["txt"] = value.encode()
            return "txt"
        if name == "bboxes":
            return "json:objects[].bbox"
        if name in _OBJECTS and "objects" in metadata:
            return f"json:objects[].{_OBJECTS[name]}"
        if name in _LISTED:
            metadata[name] = _plain(value)
            return f"json:{name}"
        return self._carried(name, value, members, metadata)

    def _objects(self, fields: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Return boxes with what belongs to them; None where there is no such field."""
        boxes = fields.get("bboxes")
        if boxes is None:
            return None
        found: list[dict[str, Any]] = [{"bbox": box} for box in _plain(boxes)]
        for name, one in _OBJECTS.items():
            values = fields.get(name)
            if values is None:
                continue
            if len(values) != len(found):
                raise UsageError(f"{len(found)} bboxes, but {len(values)} {name}")
            for item, value in zip(found, _plain(values), strict=True):
                item[one] = value
        return found

    def _label(
        self,
        value: Any,  # noqa: ANN401
        members: dict[str, bytes],
        metadata: dict[str, Any],
    ) -> str:
        # A class whose name is another one's number would be read for that one.
        if type(value) is int and self.classes.get(str(value), value) == value:
            members["cls"] = str(value).encode()
            return "cls"
        metadata["label"] = _plain(value)
        return "json:label"

    def _carried(
        self,
        name: str,
        value: Any,  # noqa: ANN401
        members: dict[str, bytes],
        metadata: dict[str, Any],
    ) -> str:
        extension = self._extension(name)
        carried = carry(name, value, None if extension in members else extension)
        if carried.member is not None:
            members[carried.source] = carried.member
        else:
            metadata.setdefault("fields", {})[name] = value
        return carried.source

    def _extension(self, name: str) -> str | None:
        """Return the extension that bytes of a field had and can keep."""
        for spec in self.specs:
            if spec.name == name:
                for source in spec.sources:
                    last = source.extension.rpartition(".")[2]
                    known = last in _READ or source.extension in self.decoders
                    if not source.path and not known:
                        return source.extension
        return None

    def _check(
        self,
        packed: Packed,
        fields: Mapping[str, Any],
    ) -> None:
        """Read the members as a loader would, and compare."""
        try:
            found = self._reader(packed.sources)(packed.members).fields
        except DataRefused as error:
            raise UsageError(
                f"the sample would not be read back: {error.message}"
            ) from error
        for name in packed.sources:
            lossy = self.encode == "jpeg" and self.kinds.get(name, name) == "image"
            told = None if lossy else difference(fields[name], found[name])
            if told is not None:
                raise UsageError(
                    f"field {name!r} would not stream back equal: {told}; let the"
                    " pipeline give what a loader gives, or leave the field out"
                    " (fields=...)"
                )

    def _reader(self, sources: Mapping[str, str]) -> SampleDecoder:
        """Return what reads samples with these sources."""
        place = tuple(sources.items())
        reader = self._readers.get(place)
        if reader is None:
            reader = self._readers[place] = SampleDecoder(
                specs=parse_fields(dict(sources)),
                classes=self.classes,
                options=replace(self.options, color="keep", depth="keep"),
                kinds=self.kinds,
            )
        return reader


def _plain(value: Any) -> Any:  # noqa: ANN401  # arrays, and lists of them
    """Return arrays as lists: a float32 comes back from JSON bit for bit."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _json(metadata: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(metadata, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"JSON cannot hold the sample's fields: {error}") from error
