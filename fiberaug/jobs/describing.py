"""What the index says of a sample, read from its members without decoding pixels."""

from collections.abc import Mapping
from typing import Any

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.sample import parse_json
from fiberaug.errors import DataRefused
from fiberaug.shards.index import DECODES, Facts

__all__ = ["Describer"]

_IMAGES = tuple(source.extension for source in parse_fields("image")[0].sources)


class Describer:
    """A function (key, members) -> facts.

    Args:
        decode: Decode the image in full, and say in ``flags`` whether that worked.
        limits: Largest image that is decoded.
    """

    def __init__(
        self, *, decode: bool = False, limits: ImageLimits | None = None
    ) -> None:
        self._decode, self._limits = decode, limits or ImageLimits()

    def __call__(self, _key: str, members: Mapping[str, bytes]) -> Facts:
        """Return the facts; what cannot be read stays at its default."""
        facts = Facts()
        metadata = _metadata(members)
        label = _class_id(members.get("cls"), metadata)
        facts = facts._replace(label=label, boxes=len(_objects(metadata)))
        image = next((members[e] for e in _IMAGES if e in members), None)
        if image is None:
            return facts
        try:
            header = read_header(image)
            width, height = header.upright
            facts = facts._replace(
                width=width, height=height, orientation=header.orientation
            )
            if self._decode:
                decode_image(image, limits=self._limits)
                facts = facts._replace(flags=DECODES)
        except DataRefused:
            return facts
        return facts


def _metadata(members: Mapping[str, bytes]) -> Mapping[str, Any]:
    try:
        value = parse_json(members["json"]) if "json" in members else {}
    except DataRefused:
        return {}
    return value if isinstance(value, Mapping) else {}


def _objects(metadata: Mapping[str, Any]) -> list[Any]:
    objects = metadata.get("objects")
    return objects if isinstance(objects, list) else []


def _class_id(text: bytes | None, metadata: Mapping[str, Any]) -> int:
    value = (
        metadata.get("label", -1)
        if text is None
        else text.decode(errors="replace").strip()
    )
    try:
        number = int(value)
    except (TypeError, ValueError):
        return -1
    return number if number >= 0 and str(number) == str(value) else -1
