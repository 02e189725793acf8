"""The members of a sample to its fields, through a closed table of decoders."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.arrays import decode_npy, decode_npz
from fiberaug.decode.fields import FieldSpec, Source
from fiberaug.decode.header import ImageHeader, ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.orientation import points_upright, upright
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
    """

    specs: Sequence[FieldSpec]
    """The field mapping."""

    classes: Mapping[str, int] = field(default_factory=dict)
    """Class ids by name."""

    limits: ImageLimits = field(default_factory=ImageLimits)
    """Largest image."""

    decoders: Mapping[str, Callable[[bytes], Any]] = field(default_factory=dict)
    """The user's own decoders by extension; one of images returns uint8 [H, W, 3]."""

    def __call__(self, members: Members) -> Decoded:
        """Return the fields of a sample.

        Raises:
            SampleBroken: A required field is missing or cannot be decoded.
            LimitExceeded: An image is too large.
        """
        parsed: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        header: ImageHeader | None = None
        for spec in self.specs:
            value = self._value(spec, members, parsed)
            if value is _ABSENT and not spec.optional:
                raise SampleBroken(
                    f"field {spec.name!r} <- {spec} is missing; the sample has"
                    f" {sorted(members)}; write {spec.name + '?'!r} if it may be",
                    stage="decode",
                )
            if spec.name == "image" and value is not _ABSENT:
                value, header = value
            fields[spec.name] = None if value is _ABSENT else value
        if header is None:
            raise SampleBroken("the sample has no image", stage="decode")
        if header.orientation != 1:  # any JSON may say which frame is meant
            parsed = parsed or parse_metadata(members)
        metadata = next((v for v in parsed.values() if isinstance(v, Mapping)), {})
        self._annotate(fields, header, metadata)
        return Decoded(fields, header)

    def _value(self, spec: FieldSpec, members: Members, parsed: dict[str, Any]) -> Any:  # noqa: ANN401  # a field can be anything
        for source in spec.sources:
            if source.extension not in members:
                continue
            if spec.name == "image":
                return self._image(members[source.extension], source)
            if not source.path:
                return self._member(spec.name, source, members)
            if source.extension not in parsed:
                parsed[source.extension] = parse_json(members[source.extension])
            value = _follow(parsed[source.extension], source.path)
            if value is not _ABSENT:
                return value
        return _ABSENT

    def _image(
        self, data: bytes | memoryview, source: Source
    ) -> tuple[NDArray[Any], ImageHeader]:
        own = self.decoders.get(source.extension)
        if own is None:
            return decode_image(data, limits=self.limits)
        pixels = own(bytes(data))
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
            raise SampleBroken(
                f"the decoder of .{source.extension} must return an array [H, W, C],"
                f" got {type(pixels).__name__} {getattr(pixels, 'shape', '')}",
                stage="decode",
            )
        return pixels, ImageHeader(
            source.extension, pixels.shape[1], pixels.shape[0], 1
        )

    def _member(self, name: str, source: Source, members: Members) -> Any:  # noqa: ANN401
        data, extension = members[source.extension], source.extension.rpartition(".")[2]
        own = self.decoders.get(source.extension)
        if own is not None:
            return own(bytes(data))
        if name == "mask":
            return decode_mask(data, limits=self.limits)
        if extension in _IMAGES:
            return decode_image(data, limits=self.limits)[0]
        if extension in _DECODERS:
            return _DECODERS[extension](data)
        if extension in {"cls", "txt"} or name in {"label", "caption"}:
            try:
                return unicodedata.normalize("NFC", bytes(data).decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise SampleBroken(
                    f".{source.extension} is no UTF-8: {error}", stage="decode"
                ) from error
        return bytes(data)

    def _annotate(
        self, fields: dict[str, Any], header: ImageHeader, metadata: Mapping[str, Any]
    ) -> None:
        turn = header.orientation if _is_stored_frame(metadata, header) else 1
        size = header.width, header.height
        if fields.get("label") is not None:
            fields["label"] = parse_label(fields["label"], self.classes)
        if "bboxes" in fields:
            boxes = _points(fields["bboxes"], 4, "bboxes").reshape(-1, 2)
            ends = points_upright(boxes, turn, *size).reshape(-1, 2, 2)
            fields["bboxes"] = np.concatenate([ends.min(1), ends.max(1)], axis=1)
        if "bbox_labels" in fields:
            count = None if fields.get("bboxes") is None else len(fields["bboxes"])
            fields["bbox_labels"] = self._box_labels(fields["bbox_labels"], count)
        if "keypoints" in fields:
            points = _points(fields["keypoints"], 2, "keypoints")
            fields["keypoints"] = points_upright(points, turn, *size)
        mask = fields.get("mask")
        if mask is not None:
            fields["mask"] = _upright_mask(mask, header, stored=turn != 1)

    def _box_labels(self, values: Any, count: int | None) -> NDArray[np.int64]:  # noqa: ANN401
        if values is None:  # the set names no classes of its boxes
            return np.full(count or 0, -1, np.int64)
        values = values if isinstance(values, list | np.ndarray) else [values]
        labels = [_whole(parse_label(value, self.classes)) for value in values]
        if not all(isinstance(label, int) for label in labels):
            raise SampleBroken(
                f"bbox_labels must be class ids or names, got {values!r:.200}",
                stage="decode",
            )
        if count is not None and len(labels) != count:
            raise SampleBroken(
                f"{count} bboxes, but {len(labels)} bbox_labels", stage="decode"
            )
        return np.asarray(labels, np.int64)


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


def _points(value: Any, width: int, name: str) -> NDArray[np.float32]:  # noqa: ANN401
    try:
        with np.errstate(over="ignore"):
            array = np.asarray([] if value is None else value, np.float32)
    except (TypeError, ValueError) as error:
        raise SampleBroken(
            f"{name} must be numbers [N, {width}]: {error}", stage="decode"
        ) from error
    array = array.reshape(0, width) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array).all():
        raise SampleBroken(
            f"{name} must be finite numbers [N, {width}], got shape {array.shape}",
            stage="decode",
        )
    return array


def _whole(label: Any) -> Any:  # noqa: ANN401  # what parse_label returns
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _is_stored_frame(metadata: Mapping[str, Any], header: ImageHeader) -> bool:
    stated = metadata.get("width"), metadata.get("height")
    stored = header.width, header.height
    if stored != header.upright and stated in {stored, header.upright}:
        return stated == stored
    return metadata.get("frame") == "stored"


def _upright_mask(
    mask: NDArray[Any], header: ImageHeader, *, stored: bool
) -> NDArray[Any]:
    size = mask.shape[1], mask.shape[0]
    if (header.width, header.height) != header.upright:
        stored = size == (header.width, header.height)
    if stored:
        mask = upright(mask, header.orientation)
        size = mask.shape[1], mask.shape[0]
    if size != header.upright:
        raise SampleBroken(
            f"the mask is {size[0]}x{size[1]} px, the image"
            f" {header.upright[0]}x{header.upright[1]}",
            stage="decode",
        )
    return mask
