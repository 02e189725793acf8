"""Captions of photos in files, read before any pixel is."""

import numpy as np
from numpy.typing import NDArray

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import DataRefused, FiberAugError, UsageError
from fiberaug.making import Maker
from fiberaug.training.feeding_dataset import remade
from fiberaug.training.feeding_table import Table

__all__ = ["CAPTION", "caption_numbers", "caption_of", "captioned_fields"]

CAPTION = "caption"
"""The field."""


def captioned_fields(base: StreamingDataset) -> dict[str, str]:
    """Return the mapping of image and caption alone.

    Raises:
        UsageError: The data set has no field ``caption``, or a transform of its own,
            behind which captions are not kept.
    """
    found = {one.name: str(one) for one in base.specs if one.name in {"image", CAPTION}}
    if CAPTION not in found:
        raise UsageError(
            "{caption} needs the field caption, and the data has"
            f" {', '.join(one.name for one in base.specs)}: give each sample a .txt, a"
            ' "caption" in its .json, or a mapping of fields'
        )
    if base.pipeline is not None:
        raise UsageError(
            "captions are not read behind the transform of a StreamingDataset: leave"
            " the transform out, or give the shards themselves"
        )
    return {"image": found["image"], f"{CAPTION}?": found[CAPTION]}


def caption_numbers(
    base: StreamingDataset, table: Table
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the different captions, sorted, and the number of each photo's, int64 [N].

    Args:
        base: The data set.
        table: Its photos; all of their members are read, no pixel is decoded.

    Raises:
        UsageError: See :func:`captioned_fields`.
        DataRefused: A photo has no caption, or is broken.
    """
    setup = remade(base, fields=captioned_fields(base)).setup
    maker, decoder = Maker(setup), setup.decoder
    found: list[str] = []
    for shard, number in zip(table.shards, table.numbers, strict=True):
        file = maker.open(int(shard))
        key = file.index.key(int(number))
        try:
            members = file.read(int(number))
            header = decoder.header(members)
            read = decoder.rest(members, header) if header else decoder(members)
        except FiberAugError as error:
            raise error.located(shard=file.name, key=key) from None
        text = caption_of(read.fields[CAPTION])
        if not text:
            raise DataRefused(
                "the photo has no caption: give it a .txt, or leave {caption} out of"
                " the prompt",
                shard=file.name, key=key,
            )  # fmt: skip
        found.append(text)
    names, numbers = np.unique(found, return_inverse=True)
    return tuple(map(str, names)), numbers.astype(np.int64)


def caption_of(value: object) -> str:
    """Return a caption without white space around it; empty: it is none."""
    return value.strip() if isinstance(value, str) else ""
