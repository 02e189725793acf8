"""A range of positions of an epoch to one shard: the unit of work of a bake."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2

from fiberaug.baking.grouping import Groups
from fiberaug.baking.naming import baked_key
from fiberaug.baking.origins import Origins
from fiberaug.baking.packing import Packed, Packer
from fiberaug.baking.seen import Seen
from fiberaug.baking.sources import SourceShards
from fiberaug.engine import Engine
from fiberaug.errors import FiberAugError, UsageError
from fiberaug.jobs.crew import check_wanted, count
from fiberaug.jobs.describing import Describer
from fiberaug.jobs.journal import Journal
from fiberaug.jobs.stores import Store
from fiberaug.jobs.unit import Unit, Written
from fiberaug.making import Failure, Made, Setup
from fiberaug.record import PackedRecord, RecordContext
from fiberaug.shards.writer import ShardFileWriter, member_bytes

__all__ = ["Baker", "Measured", "Span"]

_FORMAT = 1  # of what a span bakes: raised when the same span gives other bytes
_MEASURED = 32


class Span(NamedTuple):
    """Positions of an epoch that become one shard."""

    name: str
    """File name of the shard."""

    epoch: int
    start: int
    stop: int


class Measured(NamedTuple):
    """What the first samples tell of all."""

    position_bytes: float
    """Bytes that a position takes in a shard, all of its views."""

    ends: tuple[int, ...]
    """Positions of each epoch."""


@dataclass(frozen=True, kw_only=True)
class Baker:
    """Makes the samples of spans and writes them; it can be sent to another machine."""

    store: Store
    """Where the shards go."""

    setup: Setup
    """What samples are made from."""

    context: RecordContext | None
    """What all records share; None: no records are kept."""

    packer: Packer
    identity: str
    """Hash of all that the shards depend on."""

    digits: int
    """Of epochs in keys."""

    keep_keys: bool = False
    """Whether samples keep their keys: each of them is baked once."""

    draws: bool = True
    """Whether the pipeline may draw; else two seeds have to give the same pixels."""

    _mine: dict[int, tuple[Engine, Groups, Origins]] = field(
        default_factory=dict, repr=False
    )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engines behind: every process makes its own."""
        return {**self.__dict__, "_mine": {}}

    def write(self, span: Span) -> Written:
        """Write a span's shard, or find it written; return what became of it.

        Raises:
            DataRefused: A sample is broken and the policy is ``raise``.
            UsageError: A sample cannot be stored.
            StoreError: The store is full or gone; nothing half-written is left.
        """
        # The journal and the stores ask a unit for its name, the number of its items,
        # its digest and to be written, and these a baked shard has.
        unit = cast("Unit", _BakedShard(self, span))
        return Journal(self.store).write(unit)

    def measure(self, epochs: Sequence[int]) -> Measured:
        """Return what a position takes, by the first ones of the first epoch.

        Args:
            epochs: Epochs that are to be baked.
        """
        with _quiet_opencv():
            engine, _, _ = self._tools()
            setup = self.setup
            found = setup.plan.counts is None or setup.mixture is not None
            ends = tuple(
                engine.order(epoch).reach(2**62) if found else setup.plan.n
                for epoch in epochs
            )
            total = taken = 0
            for position in range(min(_MEASURED, ends[0])):
                check_wanted()
                made = engine.deliver(epochs[0], position)
                for _, packed in self._packed(made, epochs[0]):
                    total += _tar_bytes(packed)
                taken += 1
        return Measured(total / max(1, taken), ends)

    def bake(self, span: Span, folder: Path) -> Written:
        """Write the shard of a span and its index into a folder."""
        with _quiet_opencv():
            return self._bake(span, folder)

    def _bake(self, span: Span, folder: Path) -> Written:
        engine, _, _ = self._tools()
        writer = ShardFileWriter(folder / span.name, describe=Describer())
        lines: list[dict[str, str]] = []
        seen = Seen()
        try:
            for position in range(span.start, span.stop):
                check_wanted()
                made = engine.deliver(span.epoch, position)
                lines += [_line(f, made) for f in made.failures if not f.attempt]
                if made.is_pad:
                    if not made.failures:  # its whole shard is gone
                        lines.append(_masked(made, span.epoch))
                    count(self.setup.views, 0, self.setup.views)
                    continue
                if not self.draws and not seen.samples:
                    self._check_draws(engine, made, span)
                for key, packed in self._packed(made, span.epoch):
                    writer.write(key, packed.members)
                    seen.add(packed.sources, packed.forms)
                    count(1, _tar_bytes(packed), 0)
            lines += [_line(failure, None) for failure in engine.lost.news()]
            if not writer.samples:
                writer.discard()
                return Written(None, lines, 0)
            entry = writer.publish()
            return Written(entry, [seen.to_line(), *lines], writer.samples)
        except BaseException:
            writer.discard()
            raise

    def _packed(self, made: Made, epoch: int) -> Iterator[tuple[str, Packed]]:
        """Yield key and members of each view of a sample."""
        if made.is_pad:
            return
        _, groups, origins = self._tools()
        several = self.setup.views > 1
        for view, (fields, packed) in enumerate(made.views()):
            context = self.context and self.context.at(epoch)
            text = None if context is None else context.to_json(packed)
            group = groups(packed)
            key = packed.key
            if not self.keep_keys:
                turn = view if several else None
                key = baked_key(key, epoch, packed.position, turn, self.digits)
                group = packed.key if group == "" else group
            try:
                origin = origins(packed.origin, packed.url, packed.number)
                members = self.packer(fields, group=group, record=text, origin=origin)
            except FiberAugError as error:
                raise error.located(
                    shard=packed.url, key=packed.key, stage="write"
                ) from None
            yield key, members

    def _check_draws(self, engine: Engine, made: Made, span: Span) -> None:
        """Refuse a beginning that draws after all, where a sample shows it."""
        packed, seed = made.packed, self.setup.plan.seed
        place = engine.find(packed.url, packed.key)
        if place is None:
            return
        again = engine.make(
            *place, span.epoch, packed.position, visit=packed.visit, seed=seed ^ 1
        )
        first, second = (
            self.packer(fields, group="", record=None).members
            for fields in (made.fields, again.fields)
        )
        if first != second:
            raise UsageError(
                "the beginning of the pipeline draws after all: another seed gives"
                " another sample; bake epochs instead of a prefix",
                shard=packed.url,
                key=packed.key,
            )

    def _tools(self) -> tuple[Engine, Groups, Origins]:
        """Return the engine of this process, and what finds groups and origins."""
        found = self._mine.get(os.getpid())
        if found is None:
            self._mine.clear()  # of the parent, which a fork copied
            shards = SourceShards(self.setup)
            found = Engine(self.setup), Groups(shards), Origins(shards)
            self._mine[os.getpid()] = found
        return found


@dataclass(frozen=True)
class _BakedShard:
    """What the journal and the stores see of a span."""

    baker: Baker
    span: Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def items(self) -> range:
        return range((self.span.stop - self.span.start) * self.baker.setup.views)

    def digest(self) -> str:
        parts = (_FORMAT, self.baker.identity, tuple(self.span))
        return sha256(repr(parts).encode()).hexdigest()[:32]

    def write(self, folder: Path) -> Written:
        return self.baker.bake(self.span, folder)


def _tar_bytes(packed: Packed) -> int:
    return sum(member_bytes(len(data)) for data in packed.members.values())


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Run OpenCV in this thread alone: processes are the parallelism here.

    Its threads do not survive a fork, and who asks for them then waits for ever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        if parent_process() is None:
            cv2.setNumThreads(threads)


def _line(failure: Failure, made: Made | None) -> dict[str, str]:
    """Return a broken sample, or a damaged shard, as a line of the report."""
    stood_in = made is not None and not made.is_pad
    fields: Mapping[str, Any] = {
        "key": failure.key or "", "path": failure.shard,
        "outcome": "replaced" if stood_in else "left out", "reason": failure.reason,
        "stage": failure.stage or "", "epoch": failure.epoch,
        "position": failure.position, "uid": f"{failure.uid:016x}",
    }  # fmt: skip
    found = {name: str(value) for name, value in fields.items()}
    if made is None:
        del found["position"]  # that of whoever met the shard first
        found["samples"] = "" if failure.samples is None else str(failure.samples)
    return found


def _masked(made: Made, epoch: int) -> dict[str, str]:
    packed: PackedRecord = made.packed
    return {
        "key": packed.key, "path": packed.url, "outcome": "left out",
        "reason": "its shard is damaged", "stage": "read", "epoch": str(epoch),
        "position": str(packed.position), "uid": f"{packed.uid:016x}",
    }  # fmt: skip
