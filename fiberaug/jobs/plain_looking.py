"""One sample of a plain set, looked at for its index: headers, not pixels."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.errors import DataRefused, SampleBroken, StoreError, UsageError
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.encoding import image_member
from fiberaug.jobs.framing import FrameUnknown
from fiberaug.jobs.items import Item, Source
from fiberaug.jobs.plain_shard import (
    HEAD,
    OPTIONS,
    TAIL,
    crc_of,
    image_crc,
    place_of,
)
from fiberaug.jobs.preparing import prepare
from fiberaug.shards.index import Facts, Field

__all__ = ["WITH_SIDE_FILES", "Looked", "look_at", "side_files"]

_JPEG = b"\xff\xd8\xff"
_NAMES = {"jpeg": "jpg", "tiff": "tif"}  # as members are called
_describe = Describer()
WITH_SIDE_FILES = {"voc": "masks", "csv": "mask", "yolo": "label", "masks": ""}
"""Kinds whose samples are several files, and which of their notes names these."""


class Looked(NamedTuple):
    """What the index says of a sample."""

    fields: list[Field]
    """Its members as a conversion would write them; their offsets are 0."""

    facts: Facts
    trouble: str = ""
    """Why it cannot be read; empty: it can."""


def look_at(source: Source, item: Item) -> Looked:
    """Return what the index of a plain set says of a sample.

    Of a JPEG without annotations the first and last bytes are read, of others all.

    Raises:
        UsageError: Nothing tells the frame of its annotations.
        StoreError: The whole set is gone.
    """
    try:
        return (source.kind == "folder" and _head(source, item)) or _whole(source, item)
    except FrameUnknown as error:
        raise UsageError(_frame_unknown(source, item), key=item.key) from error
    except UsageError as error:
        raise error.located(key=item.key) from None
    except DataRefused as error:
        return _broken(item, error.message)
    except OSError as error:
        reason = f"cannot read {place_of(source.root, item)}: {error.strerror or error}"
        if not Path(source.root).exists():
            raise StoreError(reason, key=item.key, stage="read") from error
        return _broken(item, reason)


def side_files(kind: str, item: Item) -> Sequence[str]:
    """Return the files of a sample, beside its image, that its reader reads.

    They are told of another state by when they were changed; what is listed, as VOC's
    XML or COCO's JSON, is read with every listing.

    Args:
        kind: One of ``WITH_SIDE_FILES``; the others have none.
        item: The sample.
    """
    if not item.notes:
        return ()
    told: Any = json.loads(item.notes)
    if kind == "masks":
        union, instances, _ = told
        return [*([] if union is None else [union]), *instances]
    found = told.get(WITH_SIDE_FILES[kind], ())
    return [found] if isinstance(found, str) else list(found)


def _head(source: Source, item: Item) -> Looked | None:
    """Return what the ends of a JPEG say; None where more has to be read."""
    with open(place_of(source.root, item), "rb", buffering=0) as file:  # noqa: PTH123  # as in place_of
        size, head = os.fstat(file.fileno()).st_size, file.read(HEAD)
        if head[:3] != _JPEG or size <= HEAD + TAIL:
            return None
        file.seek(size - TAIL)
        tail = file.read(TAIL)
    try:
        extension, _ = image_member(head)
    except SampleBroken:  # its header is longer than that, or broken
        return None
    fields = [Field(extension, 0, size, image_crc(head, tail))]
    members = {extension: head}
    if item.label is not None:
        members["cls"] = repr(item.label).encode()
        label = members["cls"]
        fields.append(Field("cls", 0, len(label), crc_of("cls", label, extension)))
    return Looked(sorted(fields), _describe(item.key, members))


def _whole(source: Source, item: Item) -> Looked:
    members = prepare(source.reader(item), item, OPTIONS).members
    image = next(iter(members))
    fields = [
        Field(name, 0, len(data), crc_of(name, data, image))
        for name, data in sorted(members.items())  # as a conversion writes them
    ]
    return Looked(fields, _describe(item.key, members))


def _broken(item: Item, reason: str) -> Looked:
    """Return a sample that is there, and will be an event whenever it is read."""
    name = os.path.splitext(item.place)[1][1:].lower()  # noqa: PTH122  # as in place_of
    name = _NAMES.get(name, name) or "jpg"
    label = -1 if item.label is None else item.label
    field = Field(name, 0, max(0, item.size), 0)
    return Looked([field], Facts(label=label), f"{item.place}: {reason}")


def _frame_unknown(source: Source, item: Item) -> str:
    return (
        f"{place_of(source.root, item)} is turned by its EXIF orientation, and nothing"
        " tells whether its annotations are for the stored or for the upright pixels;"
        f" `fiberaug convert {source.root} DST --annotation-frame stored` (or upright)"
        " makes shards that know it"
    )
