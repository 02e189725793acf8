"""One shard of a conversion: the unit of work, of failure and of going on again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.jobs.crew import check_wanted, count
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.items import Item, Items, Raw
from fiberaug.jobs.preparing import Options, Prepared, json_member, prepare
from fiberaug.jobs.restarting import State, mark_members
from fiberaug.jobs.tile_members import cut_members, tile_key
from fiberaug.shards.manifest import ShardEntry
from fiberaug.shards.writer import ShardFileWriter, check_size

__all__ = ["NOT_SEEKABLE", "Unit", "Written"]

NOT_SEEKABLE = "not seekable"
"""What became of a JPEG that was to get restart markers and stayed as it was."""

_FORMAT = 1  # of what a unit writes: raised when the same unit gives other bytes


class Written(NamedTuple):
    """What became of a unit."""

    entry: ShardEntry | None
    """The shard's line of ``dataset.json``; None where no sample was left."""

    errors: list[dict[str, str]]
    """What was left out, and what is odd."""

    images: int
    """Samples written."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """All that writing one shard needs; it can be sent to another machine."""

    name: str
    """File name of the shard."""

    root: str
    """Where the items lie, for errors."""

    items: Items
    """Its samples."""

    reader: Callable[[Item], Raw]
    """Reads one; its ``repr`` tells it from others."""

    options: Options

    def digest(self) -> str:
        """Return a hash of everything that the shard depends on but its images."""
        parts = (_FORMAT, self.name, repr(self.reader), self.options)
        return sha256(repr(parts).encode() + self.items.digest()).hexdigest()[:32]

    def write(self, folder: Path) -> Written:
        """Write the shard and its index into a folder.

        Raises:
            DataRefused: A sample is broken and ``on_error`` is ``fail``.
            UsageError: Nothing tells the frame of a sample's annotations.
            StoreError: A file cannot be read or written.
        """
        sound: set[str] = set()
        describe = Describer(sound=sound)
        writer = ShardFileWriter(folder / self.name, describe=describe)
        errors: list[dict[str, str]] = []
        try:
            for item in self.items:
                check_wanted()
                try:
                    found = list(_samples(self, item))
                except DataRefused as error:
                    if self.options.on_error == "fail":
                        raise
                    errors.append(_line(self, item, "left out", str(error)))
                    count(1, item.size, 1)
                    continue
                for key, prepared in found:
                    members = prepared.members
                    if self.options.seekable:
                        members, left = _seekable(key, members, sound)
                        errors += [
                            _line(self, item, NOT_SEEKABLE, text) for text in left
                        ]
                    writer.write(key, members)
                    doubts = prepared.doubts
                    errors += [_line(self, item, "kept", text) for text in doubts]
                count(1, item.size, 0)
            if not writer.samples:
                writer.discard()
                return Written(None, errors, 0)
            return Written(writer.publish(), errors, writer.samples)
        except BaseException:
            writer.discard()
            raise


def _samples(unit: Unit, item: Item) -> Iterator[tuple[str, Prepared]]:
    """Yield what is written of one sample: itself, or its tiles."""
    prepared = _prepare(unit, item)
    tiling, options = unit.options.tiling, unit.options
    if tiling is None:
        yield item.key, prepared
        return
    doubts = list(prepared.doubts)
    try:
        tiles = cut_members(
            item.key, prepared.members, tiling,
            encoding=options.encode, quality=options.quality, seekable=options.seekable,
        )  # fmt: skip
        for tile in tiles:
            doubts += tile.doubts
            if tile.empty and not tiling.keep_empty:
                continue
            members = {**tile.members, "json": json_member(tile.notes)}
            yield tile_key(item.key, tile.number), Prepared(members, doubts)
            doubts = []
    except (DataRefused, UsageError) as error:
        raise error.located(key=item.key) from None


def _seekable(
    key: str, members: dict[str, bytes], sound: set[str]
) -> tuple[dict[str, bytes], list[str]]:
    """Return members with restart markers, and why some have none.

    Args:
        key: Of the sample.
        members: As they are.
        sound: Gets the key of a sample whose JPEGs are known to decode.
    """
    done, found = mark_members(members)
    if found and all(one.sound for one in found.values()):
        sound.add(key)
    return done, [
        f".{extension} gets no restart markers: {one.reason}"
        for extension, one in found.items()
        if one.state is State.LEFT
    ]


def _prepare(unit: Unit, item: Item) -> Prepared:
    """Read and prepare one sample; whatever is wrong with it is DataRefused."""
    try:
        prepared = prepare(unit.reader(item), item, unit.options.of_photo)
        for extension, data in prepared.members.items():
            check_size(len(data), extension)
    except (DataRefused, UsageError) as error:
        raise error.located(key=item.key) from None
    except OSError as error:
        where = Path(unit.root, item.place)
        reason = f"cannot read {where}: {error.strerror or error}"
        if unit.options.on_error == "fail" or not Path(unit.root).exists():
            raise StoreError(reason, key=item.key, stage="read") from error
        raise DataRefused(reason, key=item.key) from error
    return prepared


def _line(unit: Unit, item: Item, outcome: str, reason: str) -> dict[str, str]:
    path = str(Path(unit.root, item.place))
    return {"key": item.key, "path": path, "outcome": outcome, "reason": reason}
