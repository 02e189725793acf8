"""The members of a sample to its fields, through a closed table of decoders."""

import io
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.fields import FieldSpec, Source
from fiberaug.decode.header import ImageHeader, ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.orientation import points_upright, upright
from fiberaug.errors import SampleBroken

__all__ = ["Decoded", "SampleDecoder", "parse_json", "parse_label"]

Members = Mapping[str, "bytes | memoryview"]
_IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm"})
_JSON_BYTES = 2**20
_JSON_DEPTH = 64


class Decoded(NamedTuple):
    """A decoded sample."""

    fields: dict[str, Any]
    header: ImageHeader


def parse_json(data: bytes | memoryview) -> Any:  # noqa: ANN401  # JSON
    """Return the content of a JSON member.

    Raises:
        SampleBroken: It is no JSON, larger than 1 MiB, deeper than 64, has NaN or a key
            twice.
    """
    if len(data) > _JSON_BYTES:
        raise SampleBroken(
            f"JSON of {len(data)} bytes, the limit is {_JSON_BYTES}", stage="decode"
        )
    text = bytes(data)
    depth = deepest = 0
    for byte in text.translate(None, bytes(set(range(256)) - set(b"[]{}"))):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    try:
        if deepest > _JSON_DEPTH:
            raise ValueError(f"depth {deepest}, the limit is {_JSON_DEPTH}")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except ValueError as error:
        raise SampleBroken(f"the JSON is refused: {error}", stage="decode") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"a key stands twice among {[name for name, _ in pairs]}")
    return result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def parse_label(value: Any, classes: Mapping[str, int]) -> Any:  # noqa: ANN401
    """Return a label: int, float, or float32 vector.

    Args:
        value: Text of a ``.cls`` member, or a JSON value.
        classes: Ids by class name.

    Raises:
        SampleBroken: It is a name that the data set does not know.
    """
    if isinstance(value, str):
        text = value.strip()
        if text in classes:
            return classes[text]
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        raise SampleBroken(
            f"label {text!r} is no number, and no class of the data set: {sorted(classes)[:10]}",
            stage="decode",
        )
    if isinstance(value, bool | int | float):
        return int(value) if isinstance(value, bool) else value
    try:
        vector = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        vector = np.zeros((0, 0), np.float32)
    if vector.ndim != 1:
        raise SampleBroken(
            f"label must be a number, a name or a list of numbers, got {value!r}",
            stage="decode",
        )
    return vector


@dataclass(frozen=True, kw_only=True)
class SampleDecoder:
    """Turns members into fields.

    Annotations are brought to the upright frame: those whose JSON states the stored
    ``width`` and ``height``, or ``"frame": "stored"``, and masks of the stored size, are
    turned along with the pixels; all others are taken as upright.
    """

    specs: Sequence[FieldSpec]
    """The field mapping."""

    classes: Mapping[str, int] = field(default_factory=dict)
    """Class ids by name."""

    limits: ImageLimits = field(default_factory=ImageLimits)
    """Largest image."""

    decoders: Mapping[str, Callable[[bytes], Any]] = field(default_factory=dict)
    """The user's own decoders by extension; an image decoder returns uint8 [H, W, 3]."""

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
            source = next((s for s in spec.sources if s.extension in members), None)
            if source is None:
                if not spec.optional:
                    raise SampleBroken(
                        f"field {spec.name!r} <- {spec} is missing; the sample has"
                        f" {sorted(members)}; write {spec.name + '?'!r} if it may be",
                        stage="decode",
                    )
                fields[spec.name] = None
            elif spec.name == "image":
                fields["image"], header = self._image(members[source.extension], source)
            elif source.path:
                if source.extension not in parsed:
                    parsed[source.extension] = parse_json(members[source.extension])
                fields[spec.name] = _follow(parsed[source.extension], source, spec)
            else:
                fields[spec.name] = self._member(spec.name, source, members)
        if header is None:
            raise SampleBroken("the sample has no image", stage="decode")
        metadata = next((v for v in parsed.values() if isinstance(v, Mapping)), {})
        self._annotate(fields, header, metadata)
        return Decoded(fields, header)

    def _image(
        self, data: bytes | memoryview, source: Source
    ) -> tuple[NDArray[Any], ImageHeader]:
        own = self.decoders.get(source.extension)
        if own is None:
            return decode_image(data, limits=self.limits)
        pixels = own(bytes(data))
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
            raise SampleBroken(
                f"the decoder of .{source.extension} must return an array [H, W, C], got"
                f" {type(pixels).__name__} {getattr(pixels, 'shape', '')}",
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
        if extension == "json":
            return parse_json(data)
        if extension in {"npy", "npz"}:
            return _numpy(data)
        if extension in {"cls", "txt"}:
            try:
                return unicodedata.normalize("NFC", bytes(data).decode())
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
            labels = [parse_label(v, self.classes) for v in fields["bbox_labels"] or ()]
            fields["bbox_labels"] = np.asarray(labels, np.int64)
            if len(labels) != len(fields.get("bboxes", labels)):
                raise SampleBroken(
                    f"{len(fields['bboxes'])} bboxes, but {len(labels)} bbox_labels",
                    stage="decode",
                )
        if "keypoints" in fields:
            points = _points(fields["keypoints"], 2, "keypoints")
            fields["keypoints"] = points_upright(points, turn, *size)
        mask = fields.get("mask")
        if mask is not None:
            fields["mask"] = _upright_mask(mask, header, stored=turn != 1)


def _follow(value: Any, source: Source, spec: FieldSpec) -> Any:  # noqa: ANN401
    missing = SampleBroken(
        f"field {spec.name!r} <- {source} is missing", stage="decode"
    )
    for at, step in enumerate(source.path):
        if step == "[]":
            rest = Source(source.extension, source.path[at + 1 :])
            if not isinstance(value, list):
                raise missing
            return [_follow(item, rest, spec) for item in value] if rest.path else value
        if not isinstance(value, Mapping) or step not in value:
            if spec.optional:
                return None
            raise missing
        value = value[step]
    return value


def _points(value: Any, width: int, name: str) -> NDArray[np.float32]:  # noqa: ANN401
    try:
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
            f"the mask is {size[0]}x{size[1]} px, the image {header.upright[0]}x{header.upright[1]}",
            stage="decode",
        )
    return mask


def _numpy(data: bytes | memoryview) -> Any:  # noqa: ANN401  # an array or arrays by name
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (ValueError, OSError, EOFError) as error:
        raise SampleBroken(f"the array is refused: {error}", stage="decode") from error
