"""What the index says of a sample, read from its members without decoding pixels."""

from collections.abc import Container, Mapping
from hashlib import blake2b
from typing import Any

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.restarts import segment_lengths
from fiberaug.decode.text import parse_label, parse_metadata
from fiberaug.errors import DataRefused
from fiberaug.shards.index import DECODES, Facts

__all__ = ["Describer", "group_hash", "image_extension"]

_IMAGES = tuple(source.extension for source in parse_fields("image")[0].sources)


class Describer:
    """A function (key, members) -> facts.

    Args:
        decode: Decode the image in full, and say in ``flags`` whether that worked.
        limits: Largest image that is decoded.
        sound: Keys of samples whose JPEGs are known to decode in full.
    """

    def __init__(
        self,
        *,
        decode: bool = False,
        limits: ImageLimits | None = None,
        sound: Container[str] = (),
    ) -> None:
        self._decode, self._limits = decode, limits or ImageLimits()
        self._sound = sound

    def __call__(self, key: str, members: Mapping[str, bytes]) -> Facts:
        """Return the facts; what cannot be read stays at its default."""
        facts = Facts()
        metadata = parse_metadata(members).get("json", {})
        metadata = metadata if isinstance(metadata, Mapping) else {}
        label = _class_id(members.get("cls"), metadata)
        facts = facts._replace(
            label=label,
            boxes=len(_objects(metadata)),
            group=group_hash(metadata.get("group")),
        )
        extension = image_extension(members)
        if extension is None:
            return facts
        image = members[extension]
        try:
            header = read_header(image)
            width, height = header.upright
            facts = facts._replace(
                width=width, height=height, orientation=header.orientation
            )
            if header.format == "jpeg":
                flags = DECODES if key in self._sound else 0
                lengths = segment_lengths(image)
                facts = facts._replace(segments=lengths, flags=flags)
            if self._decode and not facts.flags:
                decode_image(image, limits=self._limits)
                facts = facts._replace(flags=DECODES)
        except DataRefused:
            return facts
        return facts


def image_extension(extensions: Container[str]) -> str | None:
    """Return the extension of a sample's image: what the index describes."""
    return next((one for one in _IMAGES if one in extensions), None)


def group_hash(group: object) -> int:
    """Return the 64 bits that stand for a group in an index; 0: none."""
    if not isinstance(group, str | int) or isinstance(group, bool) or group == "":
        return 0
    digest = blake2b(str(group).encode(errors="surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "little") or 1


def _objects(metadata: Mapping[str, Any]) -> list[Any]:
    objects = metadata.get("objects")
    return objects if isinstance(objects, list) else []


def _class_id(text: bytes | None, metadata: Mapping[str, Any]) -> int:
    """Return the label where it is a class id, as training will read it; else -1."""
    value = metadata.get("label", metadata.get("class"))
    if text is not None:
        value = text.decode("utf-8-sig", errors="replace")
    try:
        label = parse_label(value, {})
    except DataRefused:
        return -1
    return label if isinstance(label, int) and label >= 0 else -1
