"""One sample of a table, from the notes that the listing made of its rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiberaug.decode.header import read_header
from fiberaug.errors import SampleBroken
from fiberaug.jobs.framing import is_stored
from fiberaug.jobs.items import Item, Raw
from fiberaug.jobs.sources.files import read_file
from fiberaug.jobs.sources.mask_files import read_mask, stored_mask
from fiberaug.jobs.sources.table_cells import read_cell

__all__ = ["TableReader"]


@dataclass(frozen=True, kw_only=True)
class TableReader:
    """Reads a sample: its files, and what its rows say.

    Notes are JSON with ``row``, ``problem``, ``size`` (as stated), ``label``,
    ``caption``, ``mask``, ``group``, ``values`` of the carried columns, ``objects`` (a
    box and the values of its row) and ``rows`` (what else rows without a box say).
    """

    root: str = field(repr=False)
    """Folder of the files."""

    table: str = field(repr=False)
    """The file of the table."""

    names: tuple[str, ...] = ()
    """Of the values."""

    boxes: bool = False
    """Values are those of objects."""

    labelled: bool = False
    """The first value of an object is its label."""

    normalized: bool = False
    """Boxes are fractions of the image."""

    frame: str | None = None
    """``stored`` or ``upright`` where the user says it."""

    image: str | None = None
    """Leaf of Parquet with the images."""

    mask: str | None = None
    """Leaf of Parquet with the masks."""

    binary: bool = False
    """Masks have 0 and 255, for 0 and 1."""

    stamp: str = ""
    """Of the files in Parquet."""

    def __call__(self, item: Item) -> Raw:
        """Return the sample.

        Raises:
            SampleBroken: Its rows contradict each other, or its mask is none.
            UsageError: Nothing tells of which frame its boxes are fractions.
            OSError: Its image cannot be read.
        """
        told = json.loads(item.notes) if item.notes else {}
        if "problem" in told:
            raise SampleBroken(told["problem"])
        raw = self._image(item, told)
        stated = tuple(told["size"]) if "size" in told else None
        members: dict[str, bytes] = {}
        if "caption" in told:
            members["txt"] = told["caption"].encode()
        if "mask" in told:
            data, place = self._mask(told)
            members["mask.png"], size = stored_mask(data, place, binary=self.binary)
            stated = stated or size
        raw = raw._replace(
            members=members, stated=stated, frame=self.frame, label=told.get("label")
        )
        if "size" in told:  # also where there is nothing in the image
            is_stored(raw, read_header(raw.image), "upright")
        return raw._replace(notes=self._notes(told, raw))

    def _image(self, item: Item, told: Mapping[str, Any]) -> Raw:
        if self.image is not None:
            return Raw(read_cell(self.table, self.image, told["row"]))
        return read_file(self.root, item)

    def _mask(self, told: Mapping[str, Any]) -> tuple[bytes, str]:
        if self.mask is not None:
            row = int(told["row"])
            return read_cell(self.table, self.mask, row), f"of row {row}"
        return read_mask(self.root, told["mask"]), told["mask"]

    def _notes(self, told: Mapping[str, Any], raw: Raw) -> dict[str, Any] | None:
        notes: dict[str, Any] = {}
        if self.boxes:
            notes["objects"] = self._objects(told.get("objects", []), raw)
        elif self.names:
            notes |= zip(self.names, told["values"], strict=True)
        for name in ("group", "rows"):
            if name in told:
                notes[name] = told[name]
        return notes or None

    def _objects(self, told: list[Any], raw: Raw) -> list[dict[str, Any]]:
        across, down = self._scale(raw) if self.normalized and told else (1, 1)
        names = ("label", *self.names) if self.labelled else self.names
        return [
            {
                "bbox": [x0 * across, y0 * down, x1 * across, y1 * down],
                **dict(zip(names, values, strict=True)),
            }
            for (x0, y0, x1, y1), *values in told
        ]

    def _scale(self, raw: Raw) -> tuple[int, int]:
        """Return what fractions are multiplied by, px."""
        if raw.stated is not None:
            return raw.stated
        header = read_header(raw.image)
        stored = is_stored(Raw(raw.image), header, self.frame)
        return (header.width, header.height) if stored else header.upright
