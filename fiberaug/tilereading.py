"""A tile of a photo in a shard: cut out of its bytes, or out of its pixels."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.cutting import cut_fields
from fiberaug.decode.header import ImageHeader
from fiberaug.decode.sample import Decoded, SampleDecoder
from fiberaug.errors import SampleBroken
from fiberaug.progress import DECODE, Progress
from fiberaug.shards.reader import ShardFile
from fiberaug.tiling import Tile, Tiling

__all__ = ["ReadTile", "TileReader"]

_Members = Mapping[str, memoryview]


class ReadTile(NamedTuple):
    """A tile that was read and decoded."""

    tile: Tile
    fields: dict[str, Any]
    header: ImageHeader
    """Of the photo."""


class TileReader:
    """Reads tiles; what was decoded whole of the last photo is kept.

    Args:
        tiling: How photos are cut.
        decoder: Turns members into fields.
        mixed: Samples behind each other are of different photos, so that none of them
            is worth being decoded for the next.
    """

    def __init__(
        self, tiling: Tiling, decoder: SampleDecoder, *, mixed: bool = False
    ) -> None:
        self._tiling, self._decoder, self._mixed = tiling, decoder, mixed
        self._last: tuple[str, int] | None = None
        self._photo: Decoded | None = None

    def __call__(
        self,
        file: ShardFile,
        index: int,
        number: int,
        shift: tuple[float, float] | None,
        progress: Progress,
        *,
        sound: bool = False,
    ) -> ReadTile:
        """Return a tile of a photo.

        Args:
            file: The shard.
            index: Number of the photo in it.
            number: Of the tile in the photo.
            shift: See :meth:`fiberaug.tiling.Tiling.tile`.
            progress: Is told when decoding begins.
            sound: It is known that the photo can be decoded.

        Raises:
            DataRefused: The photo is broken, or has not the size that the index says.
        """
        place = file.name, index
        photo = self._photo if self._last == place else None
        if photo is not None and photo.fields["image"] is not None:
            tile = self._tile(file, index, number, shift, photo.header)
            return self._cut(tile, photo)
        members = file.read(index)
        progress.enter(DECODE)
        header = self._decoder.header(members)
        tile = self._tile(file, index, number, shift, header)
        pixels = None
        if header is not None:
            pixels = self._decoder.window(
                members, header, tile.window, ends=file.index.segment_ends(index),
                sound=sound and self._mixed,
            )  # fmt: skip
        if photo is None or pixels is None:
            self._last = self._photo = None  # two of them need not be in memory
            if header is None or pixels is None:
                photo = self._decoder(members)
            else:
                photo = self._decoder.rest(members, header)
            self._last, self._photo = place, photo
        return self._cut(tile, photo, pixels)

    def _tile(
        self,
        file: ShardFile,
        index: int,
        number: int,
        shift: tuple[float, float] | None,
        header: ImageHeader | None,
    ) -> Tile:
        columns = file.index.columns
        width, height = int(columns["width"][index]), int(columns["height"][index])
        if header is None or header.upright != (width, height):
            size = "unknown" if header is None else "{}x{} px".format(*header.upright)
            raise SampleBroken(
                f"the size of the photo is {size}, its index says {width}x{height} px:"
                " tiles go by the index; run `fiberaug index SHARDS`",
                stage="decode",
            )
        return self._tiling.tile(number, width, height, shift)

    def _cut(
        self, tile: Tile, photo: Decoded, pixels: NDArray[np.uint8] | None = None
    ) -> ReadTile:
        fields = cut_fields(
            photo.fields, tile.window, visibility=self._tiling.visibility,
            kind=self._decoder.kind, size=(tile.height, tile.width),
        )  # fmt: skip
        if pixels is not None:
            fields["image"] = pixels
        return ReadTile(tile, fields, photo.header)
