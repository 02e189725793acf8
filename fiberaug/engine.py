"""From a position of an epoch to a finished sample: read, decode, augment, record.

One engine lives in each process. It holds no random state and no position, so any
process can build any sample at any time and gets the same pixels.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fiberaug.decode.image import DECODER
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import (
    DataRefused,
    FiberAugError,
    SampleBroken,
    ShardDamaged,
    UsageError,
)
from fiberaug.order import DiscoveredOrder, EpochOrder, Plan, open_order
from fiberaug.record import PackedRecord
from fiberaug.seeding import ShardUids, key
from fiberaug.shards.reader import ShardPool, ShardRef

if TYPE_CHECKING:
    import albumentations as A

    from fiberaug.augment import cpu

__all__ = [
    "ATTEMPTS",
    "POLICIES",
    "SOURCE",
    "Engine",
    "Failure",
    "Made",
    "Setup",
    "first_visit_of_stand_in",
]

SOURCE = "real"
ATTEMPTS = 16
POLICIES = ("replace", "mask", "raise")
OnError = str | Callable[[FiberAugError], str]


def first_visit_of_stand_in(position: int, attempt: int) -> int:
    """Return the visit of a stand-in, apart from all visits that a plan deals."""
    return 2**40 + ATTEMPTS * position + attempt


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that an engine needs; it is sent to workers once."""

    refs: tuple[ShardRef, ...]
    """The shards."""

    plan: Plan
    """The order."""

    decoder: SampleDecoder
    """Field mapping and decoders."""

    compose: "A.Compose | None"
    """The user's pipeline."""

    on_error: OnError
    """``replace``, ``mask``, ``raise`` or a function of the error that names one."""

    decode: Mapping[str, Any] = field(default_factory=lambda: {"decoder": DECODER})
    """What records say of decoding."""


class Failure(NamedTuple):
    """A sample that could not be made: one line of the quarantine log."""

    shard: str
    key: str | None
    offset: int | None
    stage: str | None
    reason: str
    uid: int
    epoch: int
    position: int
    attempt: int


class Made(NamedTuple):
    """A sample ready to be collated."""

    fields: dict[str, Any]
    """Fields; image uint8 or float32 [H, W, C]."""

    packed: PackedRecord
    url: str
    is_pad: bool
    failures: tuple[Failure, ...] = ()


class Engine:
    """Makes samples.

    Args:
        setup: What to make them from.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._pool = ShardPool(setup.refs, most=max(128, 2 * (setup.plan.lanes or 1)))
        self._orders: dict[int, EpochOrder | DiscoveredOrder] = {}
        self._uids: dict[int, ShardUids] = {}
        self._augment: cpu.CpuEngine | None = None
        self.decode_s = 0.0
        self.augment_s = 0.0
        if setup.compose is not None:
            from fiberaug.augment.cpu import CpuEngine  # noqa: PLC0415  # 1.7 s of import

            names = [spec.name for spec in setup.decoder.specs]
            self._augment = CpuEngine(setup.compose, names)

    @property
    def augment(self) -> "cpu.CpuEngine | None":
        """The pipeline as it runs here."""
        return self._augment

    def order(self, epoch: int) -> EpochOrder | DiscoveredOrder:
        """Return the order of an epoch; the two most recent are kept."""
        found = self._orders.get(epoch)
        if found is None:
            while len(self._orders) > 1:
                self._orders.pop(next(iter(self._orders)))
            found = open_order(
                self.setup.plan, epoch, len(self.setup.refs), self._pool.count
            )
            self._orders[epoch] = found
        return found

    def deliver(self, epoch: int, position: int, *, pad: bool = False) -> Made:
        """Return the sample at a position, or its stand-in where it is broken.

        Args:
            epoch: Epoch, from 0.
            position: Position in the epoch.
            pad: The row only fills up a batch.

        Raises:
            DataRefused: The sample is broken and the policy is ``raise``; or none of 16
                stand-ins can be made.
            ShardDamaged: The shard itself is broken.
        """
        order = self.order(epoch)
        shard, index = order.locate(position)
        failures: list[Failure] = []
        broken: PackedRecord | None = None
        policy = "replace"
        for attempt in range(ATTEMPTS + 1):
            visit = 0
            if attempt:
                shard, index = order.stand_in(position, attempt - 1)
                visit = first_visit_of_stand_in(position, attempt - 1)
            try:
                made = self.make(shard, index, epoch, position, visit=visit)
            except ShardDamaged:
                raise
            except DataRefused as error:
                if not attempt:
                    policy = self._policy(error)
                    broken = self._bare(shard, index, position)
                if policy == "raise":
                    raise
                failures.append(
                    self._failure(error, shard, index, epoch, position, attempt)
                )
                continue
            if failures and policy == "mask" and broken is not None:
                return made._replace(
                    packed=broken, is_pad=True, failures=tuple(failures)
                )
            return made._replace(is_pad=pad, failures=tuple(failures))
        raise SampleBroken(
            f"position {position} of epoch {epoch} and {ATTEMPTS} stand-ins are broken;"
            f" the last: {failures[-1].reason}",
            shard=failures[0].shard,
            key=failures[0].key,
            stage=failures[0].stage,
        )

    def make(
        self,
        shard: int,
        index: int,
        epoch: int,
        position: int,
        *,
        visit: int = 0,
        view: int = 0,
        seed: int | None = None,
    ) -> Made:
        """Return one sample; everything about it follows from the arguments.

        ``seed`` is the plan's where it is None.

        Raises:
            DataRefused: The sample is broken.
        """
        file = self._pool[shard]
        name = file.index.key(index)
        uid = self.uid(shard, index)
        try:
            started = time.perf_counter()
            fields, header = self.setup.decoder(file.read(index))
            decoded = time.perf_counter()
            shape = fields["image"].shape
            operations: list[tuple[int, dict[str, Any]]] = []
            if self._augment is not None:
                seed = self.setup.plan.seed if seed is None else seed
                draw = key(seed, epoch, uid, visit, view, "cpu")
                changed, operations = self._augment(fields, draw)
                fields.update(changed)
            self.decode_s += decoded - started
            self.augment_s += time.perf_counter() - decoded
        except FiberAugError as error:
            raise error.located(shard=file.ref.name, key=name) from None
        except Exception as error:
            error.add_note(
                f"while making sample {name!r} of shard {file.ref.name} (epoch {epoch},"
                f" position {position}): the program is at fault, not the data"
            )
            raise
        packed = PackedRecord(
            name, file.ref.name, index, uid, position, visit, view, shape,
            header.orientation, operations,
        )  # fmt: skip
        return Made(fields, packed, file.ref.path, is_pad=False)

    def uid(self, shard: int, index: int) -> int:
        """Return the identity of a sample."""
        uids = self._uids.get(shard)
        if uids is None:
            uids = self._uids[shard] = ShardUids(SOURCE, self.setup.refs[shard].name)
        return uids(index)

    def find(self, shard_name: str, key: str) -> tuple[int, int] | None:
        """Return (shard, index) of a key in a shard, or None."""
        for shard, ref in enumerate(self.setup.refs):
            if ref.name == shard_name:
                index = self._pool[shard].index.find(key)
                return None if index is None else (shard, index)
        return None

    def _policy(self, error: DataRefused) -> str:
        policy = self.setup.on_error
        if not isinstance(policy, str):
            policy = policy(error)
        if policy not in POLICIES:
            raise UsageError(f"on_error must give one of {POLICIES}, got {policy!r}")
        return policy

    def _bare(self, shard: int, index: int, position: int) -> PackedRecord:
        file = self._pool[shard]
        return PackedRecord(
            file.index.key(index), file.ref.name, index, self.uid(shard, index),
            position, 0, 0, (), 0, (),
        )  # fmt: skip

    def _failure(
        self,
        error: DataRefused,
        shard: int,
        index: int,
        epoch: int,
        position: int,
        attempt: int,
    ) -> Failure:
        return Failure(
            shard=error.shard or self.setup.refs[shard].name,
            key=error.key,
            offset=error.offset,
            stage=error.stage,
            reason=f"{type(error).__name__}: {error.message}",
            uid=self.uid(shard, index),
            epoch=epoch,
            position=position,
            attempt=attempt,
        )
