"""The members of a sample to its fields, through a closed table of decoders."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.annotations import Frame
from fiberaug.decode.arrays import decode_npy, decode_npz
from fiberaug.decode.fields import FieldSpec, Source
from fiberaug.decode.header import ImageHeader, read_header
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.labels import checked_count, class_ids
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.own import call_own, own_image
from fiberaug.decode.pending import PendingImage
from fiberaug.decode.refusing import Refusing
from fiberaug.decode.region import decode_part
from fiberaug.decode.text import parse_json, parse_label, parse_metadata
from fiberaug.errors import SampleBroken

__all__ = ["Decoded", "SampleDecoder", "parse_json", "parse_label"]

Members = Mapping[str, "bytes | memoryview"]
_IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm"})
_DECODERS: Mapping[str, Callable[["bytes | memoryview"], Any]] = {
    "json": parse_json,
    "npy": decode_npy,
    "npz": decode_npz,
}
_TURNED: Mapping[str, Callable[[Frame, Any, str], Any]] = {
    "mask": Frame.mask,
    "masks": Frame.masks,
    "bboxes": Frame.boxes,
    "keypoints": Frame.points,
    "polygons": Frame.polygons,
}
_EACH = {
    "bbox_labels": "bboxes",
    "bbox_ids": "bboxes",
    "mask_labels": "masks",
    "keypoint_labels": "keypoints",
}
_ABSENT = object()


class Decoded(NamedTuple):
    """A decoded sample."""

    fields: dict[str, Any]
    header: ImageHeader


@dataclass(frozen=True, kw_only=True)
class SampleDecoder:
    """Turns members into fields.

    Annotations are brought to the upright frame: those whose JSON states the stored
    ``width`` and ``height``, or ``"frame": "stored"``, and masks of the stored size,
    are turned along with the pixels; all others are taken as upright.

    Fields that are understood: ``image`` [H, W, C], ``mask`` [H, W], ``masks`` uint8
    [N, H, W] with ``mask_labels`` int64 [N], ``bboxes`` float32 [N, 4] with
    ``bbox_labels`` and ``bbox_ids`` int64 [N], ``keypoints`` float32 [N, 2] with
    ``keypoint_labels`` (N values as they are), ``polygons`` (a list of float32
    [K, 2]), ``label`` and ``caption``. Others are what their extension says.
    """

    specs: Sequence[FieldSpec]
    """The field mapping."""

    classes: Mapping[str, int] = field(default_factory=dict)
    """Class ids by name."""

    options: DecodeOptions = field(default_factory=DecodeOptions)
    """What becomes of images, and the largest."""

    decoders: Mapping[str, Callable[[bytes], Any]] = field(default_factory=dict)
    """The user's own decoders by extension; one of images returns [H, W, C] or [H, W],
    uint8, uint16 or float32."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    """Further fields by what they are: ``image`` (decoded and turned by itself, of any
    size), ``mask``, ``masks``, ``bboxes``, ``keypoints`` or ``polygons`` (of the frame
    of ``image``)."""

    def __call__(self, members: Members) -> Decoded:
        """Return the fields of a sample.

        Raises:
            SampleBroken: A required field is missing or cannot be decoded, annotations
                do not fit the image or each other, or a user's decoder fails.
            LimitExceeded: An image is too large.
        """
        return self._decoded(members, None)

    def _decoded(
        self, members: Members, image: tuple[Any, ImageHeader] | None
    ) -> Decoded:
        """Return the fields; ``image``: its pixels and header, where they are there."""
        parsed: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        header: ImageHeader | None = None
        for spec in self.specs:
            if spec.name == "image" and image is not None:
                fields["image"], header = image
                continue
            value = self._value(spec, members, parsed)
            if value is _ABSENT and not spec.optional:
                raise SampleBroken(
                    f"field {spec.name!r} <- {spec} is missing; the sample has"
                    f" {sorted(members)}; write {spec.name + '?'!r} if it may be",
                    stage="decode",
                )
            if value is not _ABSENT and self.kind(spec.name) == "image":
                value, found = value
                header = found if spec.name == "image" else header
            fields[spec.name] = None if value is _ABSENT else value
        if header is None:
            raise SampleBroken("the sample has no image", stage="decode")
        if header.orientation != 1:  # any JSON may say which frame is meant
            parsed = parsed or parse_metadata(members)
        metadata = next((v for v in parsed.values() if isinstance(v, Mapping)), {})
        self._annotate(fields, Frame.of(header, metadata))
        return Decoded(fields, header)

    def header(self, members: Members) -> ImageHeader | None:
        """Return the header of the image; None where a decoder of the user's reads it.

        Raises:
            SampleBroken: The sample has no image, or its header is broken.
        """
        extension = self._extension(members)
        if extension in self.decoders:
            return None
        return read_header(members[extension])

    def _extension(self, members: Members) -> str:
        image = next(spec for spec in self.specs if spec.name == "image")
        names = (source.extension for source in image.sources)
        found = next((name for name in names if name in members), None)
        if found is None:
            raise SampleBroken(
                f"field 'image' <- {image} is missing; the sample has"
                f" {sorted(members)}",
                stage="decode",
            )
        return found

    def window(
        self,
        members: Members,
        header: ImageHeader,
        window: tuple[int, int, int, int],
        *,
        ends: NDArray[np.int64] | None = None,
        sound: bool = False,
    ) -> NDArray[np.uint8] | None:
        """Return a window of the image alone, [h, w, 3]; None where that is no less.

        Args:
            members: The members.
            header: Of the image.
            window: (x_min, y_min, x_max, y_max), px of the upright image.
            ends: Where the segments between its restart markers end, where known.
            sound: It is known that the image can be decoded: it need not have them.

        Raises:
            SampleBroken: It cannot be decoded.
            LimitExceeded: The whole image is too large.
        """
        if (self.options.color, self.options.depth) != ("rgb", "uint8"):
            return None
        data = members[self._extension(members)]
        self.options.limits.check(header)
        if header.format != "jpeg":
            return None
        return decode_part(data, header, window, ends=ends, only_cut=not sound)

    def pending(
        self,
        members: Members,
        *,
        sound: bool,
        ends: NDArray[np.int64] | None = None,
    ) -> tuple[Decoded, PendingImage] | None:
        """Return a sample whose image is not decoded yet; None where it has to be.

        Args:
            members: The members.
            sound: It is known that the image can be decoded.
            ends: Where the segments between its restart markers end, where known.

        Raises:
            SampleBroken: As a call, but for the pixels.
            LimitExceeded: The image is too large.
        """
        options = self.options
        if options.color == "keep" or options.depth == "keep":
            return None
        extension = self._extension(members)
        if extension in self.decoders:
            return None
        data = members[extension]
        header = read_header(data)
        if header.format != "jpeg":
            return None
        options.limits.check(header)
        fast, gray = options.scale == "fast", options.color == "gray"
        image = PendingImage(data, header, sound=sound, fast=fast, gray=gray, ends=ends)
        return self._decoded(members, (image.standin, header)), image

    def rest(self, members: Members, header: ImageHeader) -> Decoded:
        """Return a sample whose field ``image`` is None.

        Args:
            members: The members.
            header: Of the image.

        Raises:
            SampleBroken: As a call.
        """
        return self._decoded(members, (None, header))

    def boxes(self, members: Members) -> NDArray[np.float32]:
        """Return the field ``bboxes`` alone, float32 [N, 4]: no pixel is decoded.

        Raises:
            SampleBroken: The image has no header, or the boxes are none.
        """
        parsed: dict[str, Any] = {}
        header = self.header(members)
        if header is None:
            raise SampleBroken("the size of the image is not known", stage="decode")
        spec = next(spec for spec in self.specs if spec.name == "bboxes")
        value = self._value(spec, members, parsed)
        metadata = next((v for v in parsed.values() if isinstance(v, Mapping)), {})
        found = None if value is _ABSENT else value
        return Frame.of(header, metadata).boxes(found, "bboxes")

    def kind(self, name: str) -> str:
        """Return what a field is, such as ``mask``."""
        return self.kinds.get(name, name)

    def _value(self, spec: FieldSpec, members: Members, parsed: dict[str, Any]) -> Any:  # noqa: ANN401  # a field can be anything
        for source in spec.sources:
            if source.extension not in members:
                continue
            if self.kind(spec.name) == "image":
                return self._image(members[source.extension], source.extension)
            if not source.path:
                return self._member(self.kind(spec.name), source, members)
            if source.extension not in parsed:
                with Refusing(f".{source.extension} cannot be decoded"):
                    parsed[source.extension] = parse_json(members[source.extension])
            value = _follow(parsed[source.extension], source.path)
            if value is not _ABSENT:
                return value
        return _ABSENT

    def _image(
        self, data: bytes | memoryview, extension: str
    ) -> tuple[Any, ImageHeader]:
        own = self.decoders.get(extension)
        if own is not None:
            pixels = own_image(own, data, extension)
            return pixels, ImageHeader(extension, pixels.shape[1], pixels.shape[0], 1)
        options = self.options
        return decode_image(
            data, limits=options.limits, color=options.color, depth=options.depth
        )

    def _member(self, kind: str, source: Source, members: Members) -> Any:  # noqa: ANN401
        data, extension = members[source.extension], source.extension.rpartition(".")[2]
        own = self.decoders.get(source.extension)
        if own is not None:
            return call_own(own, data, source.extension)
        if kind == "mask":
            return decode_mask(data, limits=self.options.limits)
        if extension in _IMAGES:
            return self._image(data, source.extension)[0]
        if extension in _DECODERS:
            with Refusing(f".{source.extension} cannot be decoded"):
                return _DECODERS[extension](data)
        if extension in {"cls", "txt"} or kind in {"label", "caption"}:
            try:
                return unicodedata.normalize("NFC", bytes(data).decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise SampleBroken(
                    f".{source.extension} is no UTF-8: {error}", stage="decode"
                ) from error
        return bytes(data)

    def _annotate(self, fields: dict[str, Any], frame: Frame) -> None:
        if fields.get("label") is not None:
            fields["label"] = parse_label(fields["label"], self.classes)
        for name, value in fields.items():
            kind = self.kind(name)
            absent = value is None and kind in {"mask", "masks"}
            if kind in _TURNED and not absent:
                fields[name] = _TURNED[kind](frame, value, name)
        for name, owner in _EACH.items():
            if name not in fields:
                continue
            value, count = fields[name], None
            if owner in fields:
                count = 0 if fields[owner] is None else len(fields[owner])
            if name != "keypoint_labels":
                classes = {} if name == "bbox_ids" else self.classes
                fields[name] = class_ids(value, name, classes, count)
            elif value is not None:
                fields[name] = checked_count(value, name, count)


def _follow(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401  # JSON
    """Return what stands at a path; absent where the list's items all lack it."""
    for at, step in enumerate(path):
        if step == "[]":
            if not isinstance(value, list):
                return _ABSENT
            found = [_follow(item, path[at + 1 :]) for item in value]
            lacking = sum(item is _ABSENT for item in found)
            if not lacking:
                return found
            if lacking == len(found):
                return _ABSENT
            raise SampleBroken(
                f"{lacking} of {len(found)} items lack {'.'.join(path[at + 1 :])!r}",
                stage="decode",
            )
        if not isinstance(value, Mapping) or step not in value:
            return _ABSENT
        value = value[step]
    return value
