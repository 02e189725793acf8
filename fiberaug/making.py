"""From a place in a shard to a finished sample: read, decode, augment, record."""

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from fiberaug.augment.normalize import Finish
from fiberaug.decode.pending import PendingImage
from fiberaug.decode.sample import Decoded
from fiberaug.errors import FiberAugError
from fiberaug.mix import REAL
from fiberaug.progress import AUGMENT, DECODE, FETCH, READ, Progress
from fiberaug.record import PackedRecord
from fiberaug.seeding import KeyUids, ShardUids, key
from fiberaug.setups import Failure, Made, OnError, Setup
from fiberaug.shards.index import DECODES
from fiberaug.shards.pool import ShardPool
from fiberaug.shards.reader import ShardFile
from fiberaug.tilereading import TileReader
from fiberaug.tiling import Tile

if TYPE_CHECKING:
    from fiberaug.augment import cpu
    from fiberaug.matching import Matcher
    from fiberaug.mixture import LiveShard, Source

__all__ = ["Failure", "Made", "Maker", "OnError", "Setup", "pixel_hash"]

_UNIT = 2.0**-32  # of half of a key's first 8 bytes


class _Deal(NamedTuple):
    """How the plan deals a sample."""

    epoch: int
    position: int
    visit: int
    view: int


class _Read(NamedTuple):
    """A sample that was read and decoded."""

    shard: str
    path: str
    key: str
    number: int
    uid: int
    fields: dict[str, Any]
    orientation: int
    tile: Tile | None = None
    image: PendingImage | None = None
    """What the field ``image`` stands for, where it is not decoded yet."""

    origin: str = ""
    """Source of the mix; empty: the data set itself."""


class Maker:
    """Makes samples of places in shards; it holds no random state and no position.

    Args:
        setup: What to make them from.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        most = max(128, 2 * (setup.plan.lanes or 1))
        self._pool = ShardPool(setup.refs, most=most, cache=setup.cache)
        self._uids: dict[int, ShardUids] = {}
        self._augment: cpu.CpuEngine | None = None
        self._tiles: TileReader | None = None
        self._mixture = mixture = setup.mixture
        self._mixed: list[tuple[Source | None, Matcher | None]] | None = None
        self._key_uids: dict[str, KeyUids] = {}
        if mixture is not None:
            found = [mixture.source_of(shard) for shard in range(len(setup.refs))]
            self._mixed = [(source, mixture.matcher_of(source)) for source in found]
            self._key_uids = {s.name: KeyUids(s.name) for s in mixture.sources}
        self._live = {} if setup.mixture is None else setup.mixture.live_shards()
        if setup.tiling is not None:
            mixed = setup.plan.shuffle
            self._tiles = TileReader(setup.tiling, setup.decoder, mixed=mixed)
        self.progress = Progress()
        """What this process is at."""
        self._reading = READ if setup.cache is None else FETCH
        self.decode_s = 0.0
        self.augment_s = 0.0
        if setup.pipeline is not None:
            from fiberaug.augment.cpu import CpuEngine  # noqa: PLC0415  # 1.7 s of import

            names = [spec.name for spec in setup.decoder.specs]
            self._augment = CpuEngine(
                setup.pipeline, names, ignore_index=setup.ignore_index
            )

    @property
    def finish(self) -> Finish:
        """What the consumer does with this engine's images."""
        return Finish() if self._augment is None else self._augment.finish

    def per_view(self, fields: Iterable[str]) -> list[str]:
        """Return which of a sample's fields can differ between its views."""
        specs = {spec.name for spec in self.setup.decoder.specs}
        changes = {"image"} if self._augment is None else self._augment.changes
        return [name for name in fields if name in changes or name not in specs]

    @property
    def augment(self) -> "cpu.CpuEngine | None":
        """The pipeline as it runs here."""
        return self._augment

    def make(
        self,
        shard: int,
        index: int,
        epoch: int,
        position: int,
        *,
        visit: int = 0,
        view: int = 0,
        tile: int | None = None,
        seed: int | None = None,
        step: "cpu.Step | None" = None,
    ) -> Made:
        """Return one view of a sample; everything about it follows from the arguments.

        ``tile`` is the number of the tile where photos are cut. ``seed`` is the plan's
        where it is None; ``step`` sees the fields after decoding (as operation -1) and
        after each operation.

        Raises:
            DataRefused: The sample is broken.
        """
        seed = self.setup.plan.seed if seed is None else seed
        deal = _Deal(epoch, position, visit, view)
        read = self._read(shard, index, deal, tile, seed, wait=step is None)
        if step is not None:
            step(-1, read.fields)
        fields, packed = self._augmented(read, deal, seed, step)
        return Made(fields, packed, read.path, is_pad=False)

    def _views(
        self,
        shard: int,
        index: int,
        epoch: int,
        position: int,
        visit: int,
        tile: int | None = None,
    ) -> Made:
        seed = self.setup.plan.seed
        deal = _Deal(epoch, position, visit, 0)
        read = self._read(shard, index, deal, tile, seed)
        deals = [deal]
        deals += [deal._replace(view=view) for view in range(1, self.setup.views)]
        image = read.image
        if image is not None and self._augment is not None and len(deals) > 1:
            # What goes wrong here, the run below meets too.
            with contextlib.suppress(Exception):
                reach = self._augment.reach
                image.hold(
                    reach(read.fields, _keys(read, d, seed), image) for d in deals
                )
        (fields, packed), *more = (self._augmented(read, d, seed) for d in deals)
        if image is not None and image.sound and self.setup.proven is not None:
            self.setup.proven.add(shard, index)
        return Made(fields, packed, read.path, is_pad=False, more=tuple(more))

    def _read(
        self,
        shard: int,
        index: int,
        deal: _Deal,
        number: int | None,
        seed: int,
        *,
        wait: bool = True,
    ) -> _Read:
        file = self.open(shard)
        name = file.index.key(index)
        self.progress.name(name, self._reading)
        started = time.perf_counter()
        source = None if self._mixed is None else self._mixed[shard][0]
        tile: Tile | None = None
        image: PendingImage | None = None
        if source is None:
            uid = self.uid(shard, index)
        else:
            uid = self._key_uids[source.name](name)
        try:
            if self._tiles is not None and source is None:
                shift = self._shift(seed, deal, uid) if self.setup.shift_tiles else None
                real = self._pool[shard]
                sound = self._is_sound(real, shard, index)
                tile, fields, header = self._tiles(
                    real, index, number or 0, shift, self.progress, sound=sound
                )
            else:
                wait = wait and self._augment is not None and self._augment.waits
                (fields, header), image = self._decoded(file, shard, index, wait=wait)
        except FiberAugError as error:
            raise error.located(shard=file.name, key=name) from None
        except Exception as error:
            error.add_note(_whose(name, file.name))
            raise
        self.decode_s += time.perf_counter() - started
        return _Read(
            file.name, file.location, name, index, uid, fields, header.orientation,
            tile, image, "" if source is None else source.name,
        )  # fmt: skip

    def open(self, shard: int) -> "ShardFile | LiveShard":
        """Return an open shard, or what stands for one."""
        return self._live.get(shard) or self._pool[shard]

    def _decoded(
        self, file: "ShardFile | LiveShard", shard: int, index: int, *, wait: bool
    ) -> tuple[Decoded, PendingImage | None]:
        members = file.read(index)
        self.progress.enter(DECODE)
        decoder, source, matcher = self.setup.decoder, None, None
        if self._mixed is not None:
            source, matcher = self._mixed[shard]
        if source is not None:
            decoder = source.decoder
        found: tuple[Decoded, PendingImage | None] | None = None
        if wait and matcher is None and isinstance(file, ShardFile):
            sound = self._is_sound(file, shard, index)
            ends = file.index.segment_ends(index)
            found = decoder.pending(members, sound=sound, ends=ends)
        found = found or (decoder(members), None)
        fields = found[0].fields
        if matcher is not None:
            fields["image"] = matcher(fields["image"], real=source is None)
        if source is not None:
            source.map_classes(fields)
        return found

    def _is_sound(self, file: ShardFile, shard: int, index: int) -> bool:
        """Return whether it is known that a whole image can be decoded."""
        proven = self.setup.proven
        if file.index.columns["flags"][index] & DECODES:
            return True
        return proven is not None and proven.has(shard, index)

    @staticmethod
    def _shift(seed: int, deal: _Deal, uid: int) -> tuple[float, float]:
        drawn = key(seed, deal.epoch, uid, deal.visit, 0, "tile")
        x, y = (int.from_bytes(drawn[at : at + 4], "little") for at in (0, 4))
        return x * _UNIT, y * _UNIT

    def _augmented(
        self,
        read: _Read,
        deal: _Deal,
        seed: int,
        step: "cpu.Step | None" = None,
    ) -> tuple[dict[str, Any], PackedRecord]:
        fields, image = read.fields, read.image
        operations: list[tuple[int, dict[str, Any]]] = []
        started = time.perf_counter()
        decoded_s = 0.0 if image is None else image.seconds
        if self._augment is not None:
            self.progress.enter(AUGMENT)
            keys = _keys(read, deal, seed)
            try:
                fields, operations = self._augment(
                    fields, keys, key=read.key, url=read.path, step=step, image=image
                )
            except FiberAugError as error:
                raise error.located(shard=read.shard, key=read.key) from None
            except Exception as error:
                place = f" (epoch {deal.epoch}, position {deal.position})"
                running = self._augment.running
                within = f", in {running}" if running else ""
                error.add_note(_whose(read.key, read.shard) + place + within)
                raise
        decoded_s = 0.0 if image is None else image.seconds - decoded_s
        self.augment_s += time.perf_counter() - started - decoded_s
        self.decode_s += decoded_s
        packed = PackedRecord(
            read.key, read.shard, read.number, read.uid, *deal[1:],
            read.fields["image"].shape, read.orientation, operations,
            pixel_hash(fields["image"]) if self.setup.pixel_hash else "",
            () if read.tile is None else read.tile, origin=read.origin,
        )  # fmt: skip
        return fields, packed

    def uid(self, shard: int, index: int) -> int:
        """Return the identity of a sample."""
        uids = self._uids.get(shard)
        if uids is None:
            origin = REAL
            if self._mixture is not None:
                source = self._mixture.source_of(shard)
                origin = REAL if source is None else source.name
            uids = self._uids[shard] = ShardUids(origin, self.setup.refs[shard].name)
        return uids(index)

    def find(
        self, shard_name: str, key: str, origin: str = REAL
    ) -> tuple[int, int] | None:
        """Return (shard, index) of a key in a shard, or None.

        A sample that was mixed in is found in any shard of its source: it is the same
        wherever it lies.
        """
        shards: Iterable[int] = range(len(self.setup.refs))
        if self._mixture is not None:
            shards = self._mixture.shards_of(origin)
        for shard in shards:
            if shard not in self._live and (
                origin != REAL or self.setup.refs[shard].name == shard_name
            ):
                index = self._pool[shard].index.find(key)
                if index is not None or origin == REAL:
                    return None if index is None else (shard, index)
        return None


def _keys(read: _Read, deal: _Deal, seed: int) -> Callable[[str], bytes]:
    """Return the key of each stage of a view."""
    keys = partial(key, seed, deal.epoch, read.uid, deal.visit, deal.view)
    if read.tile is None:
        return keys
    return partial(_key_of_tile, keys, read.tile.number)


def _key_of_tile(keys: Callable[[str], bytes], number: int, stage: str) -> bytes:
    """Return a key of a stage that no other tile of the photo has."""
    return keys(f"{stage}/tile {number}")


def _whose(key: str, shard: str) -> str:
    return (
        f"while making sample {key!r} of shard {shard}: the program is at fault, not"
        " the data"
    )


def pixel_hash(image: NDArray[Any]) -> str:
    """Return 16 hexadecimal digits of an image's dtype, shape and pixels."""
    digest = blake2b(f"{image.dtype}{image.shape}".encode(), digest_size=8)
    digest.update(image.tobytes())
    return digest.hexdigest()
