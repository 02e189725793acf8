"""From a position of an epoch to a finished sample, or to its stand-in.

One engine lives in each process. It holds no random state and no position, so any
process can build any sample at any time and gets the same pixels.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from fiberaug.errors import (
    DataRefused,
    SampleBroken,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.losing import LostShards
from fiberaug.making import Failure, Made, Maker, Setup
from fiberaug.mixing import Deal, MixedOrder
from fiberaug.mixture import NotInTime
from fiberaug.order import Order, open_order
from fiberaug.record import PackedRecord
from fiberaug.rows import Place
from fiberaug.shards.readahead import ReadAhead

__all__ = ["ATTEMPTS", "POLICIES", "Engine", "first_visit_of_stand_in", "skips"]

ATTEMPTS = 16
DRAWS = 4096
"""Stand-ins drawn for one position: those in damaged shards are no attempts."""

_FOUND_IN_A_ROW = 256  # opening a shard in vain can cost a time-out each
POLICIES = ("replace", "mask", "raise")


def skips(on_shard_error: str) -> bool:
    """Return whether damaged shards are skipped.

    Raises:
        UsageError: ``on_shard_error`` is not one of ``raise`` and ``skip``.
    """
    if on_shard_error not in {"raise", "skip"}:
        raise UsageError(
            f"on_shard_error must be 'raise' or 'skip', got {on_shard_error!r}"
        )
    return on_shard_error == "skip"


def first_visit_of_stand_in(position: int, attempt: int) -> int:
    """Return the visit of a stand-in, apart from all visits that a plan deals."""
    return 2**40 + ATTEMPTS * position + attempt


class Engine(Maker):
    """Makes samples of positions.

    Args:
        setup: What to make them from.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._orders: dict[int, Order | MixedOrder] = {}
        self.late = 0
        """Samples that an online generator had not made in time."""
        self.lost = LostShards(setup.refs)
        """The damaged shards that were found, with ``skip_shards``."""
        self._ahead: ReadAhead | None = None
        own = setup.refs if setup.mixture is None else setup.refs[: setup.mixture.first]
        if setup.cache is not None and any(ref.remote for ref in own):
            shards, windows = len(own), setup.windows
            self._ahead = ReadAhead(self._pool, setup.plan, shards, windows=windows)

    def order(self, epoch: int) -> Order | MixedOrder:
        """Return the order of an epoch; the two most recent are kept."""
        found = self._orders.get(epoch)
        if found is None:
            while len(self._orders) > 1:
                self._orders.pop(next(iter(self._orders)))
            ahead = self._ahead
            count = self._pool.count if ahead is None else ahead.counter(epoch)
            count = self._counter(epoch, count)
            own = open_order(self.setup.plan, epoch, len(self.setup.refs), count)
            mixture = self.setup.mixture
            found = own if mixture is None else mixture.order(epoch, own)
            self._orders[epoch] = found
        return found

    def _place(self, epoch: int, shard: int, row: int) -> Place:
        rows, mixture = self.setup.rows, self.setup.mixture
        if rows is None or (mixture is not None and shard >= mixture.first):
            return Place(row)
        return rows.place(epoch, shard, row, lambda: self._pool[shard].index)

    def deliver(self, epoch: int, position: int, *, pad: bool = False) -> Made:
        """Return the sample at a position, or its stand-in where it is broken.

        Args:
            epoch: Epoch, from 0.
            position: Position in the epoch.
            pad: The row only fills up a batch.

        Where damaged shards are skipped, their samples are as broken ones, without a
        key. The draws 0, 1, ... that fall on damaged shards are passed over, so that
        the 16 attempts are samples of sound shards.

        Raises:
            DataRefused: The sample is broken and the policy is ``raise``; or none of 16
                stand-ins can be made.
            ShardDamaged: The shard itself is broken, or all of them are.
            StoreError: The shard cannot be read.
        """
        order = self.order(epoch)
        if self._ahead is not None and not pad:
            self._note(self._ahead, epoch, order, position)
        failures: list[Failure] = []
        bare: PackedRecord | None = None
        policy, attempt = "replace", 0
        for deal in self._deals(order, epoch, position):
            made, shard = self._attempt(epoch, position, deal, attempt), deal.shard
            if isinstance(made, Made):
                return _delivered(made, failures, bare, pad=pad)
            if made is None:  # not there in time: the next deal is a real sample
                self.late += not pad
                continue
            if not attempt:
                policy = self._policy(made.error)
                bare = self._bare(made, shard, position) if policy == "mask" else None
            if policy == "raise" or (made.whole and not self.setup.skip_shards):
                raise made.error
            if made.whole:
                self._lose(epoch, position, shard, made.error)
                if attempt:
                    continue  # a draw that falls on a damaged shard is not an attempt
            else:
                failures.append(self._failure(made, shard, epoch, position, attempt))
            attempt += 1
            if attempt > ATTEMPTS:
                break
        raise SampleBroken(
            f"position {position} of epoch {epoch} and {ATTEMPTS} stand-ins are broken;"
            f" the last: {failures[-1].reason}",
            shard=failures[0].shard,
            key=failures[0].key,
            stage=failures[0].stage,
        )

    def _deals(
        self, order: Order | MixedOrder, epoch: int, position: int
    ) -> Iterator[Deal]:
        """Yield what the plan deals, then stand-ins.

        Raises:
            ShardDamaged: Too many of them are in damaged shards.
        """
        if isinstance(order, MixedOrder):
            first = order.deal(position)
            yield first
            if first.shard in self._live:
                yield order.instead(position)
        else:
            yield Deal(None, *order.locate(position), order.visit(position))
        lost = self.lost.count(epoch)
        for draw in range(DRAWS):
            if self.lost.count(epoch) - lost > _FOUND_IN_A_ROW:
                break
            if isinstance(order, MixedOrder):
                yield order.stand_in(position, draw)
            else:
                yield Deal(None, *order.stand_in(position, draw), 0)
        raise ShardDamaged(
            f"{self.lost.count(epoch)} of {len(self.setup.refs)} shards are damaged,"
            f" and no stand-in for position {position} of epoch {epoch} was found in"
            " the others; restore the shards",
            stage="read",
        )

    def _attempt(
        self, epoch: int, position: int, deal: Deal, attempt: int
    ) -> "Made | _Broken | None":
        """Return the sample of a row, or why there is none; None: it is late."""
        _, shard, row, visit = deal
        lost = self.lost.get(epoch, shard)
        if lost is not None:
            return _Broken(lost, whole=True, number=row, visit=visit)
        self.progress.sample(position, shard, row, self._reading)
        try:
            self.open(shard)
        except (DataRefused, StoreError) as error:
            return _Broken(error, whole=True, number=row, visit=visit)
        index = row
        try:
            index, again, tile = self._place(epoch, shard, row)
            visit += again
            if attempt:
                visit = first_visit_of_stand_in(position, attempt - 1)
            return self._views(shard, index, epoch, position, visit, tile)
        except NotInTime as error:
            if self._mixture is not None and self._mixture.late == "raise":
                raise StoreError(
                    f"an online generator has not made {error}; give it more time with"
                    ' wait=, or late="real" to the mix',
                    stage="read",
                ) from None
            return None
        except (ShardDamaged, StoreError) as error:
            return _Broken(error, whole=True, number=index, visit=visit)
        except DataRefused as error:
            key = self.open(shard).index.key(index)
            return _Broken(error, whole=False, number=index, visit=visit, key=key)

    def _note(
        self, ahead: ReadAhead, epoch: int, order: Order | MixedOrder, position: int
    ) -> None:
        """Let the shards behind a position be fetched; those of a mix are not."""
        if isinstance(order, MixedOrder):
            place = order.real(position)
            if place is not None:
                ahead.at(epoch, order.base, place)
        else:
            ahead.at(epoch, order, position)

    def _lose(
        self, epoch: int, position: int, shard: int, error: DataRefused | StoreError
    ) -> None:
        self.lost.add(epoch, position, shard, error, uid=self.uid(shard, 0))

    def _counter(self, epoch: int, count: Callable[[int], int]) -> Callable[[int], int]:
        """Return ``count``, for which a damaged shard has no sample."""

        def counted(shard: int) -> int:
            try:
                return count(shard)
            except (DataRefused, StoreError) as error:
                self._lose(epoch, 0, shard, error)
                return 0

        return counted if self.setup.skip_shards else count

    def _policy(self, error: DataRefused | StoreError) -> str:
        policy = self.setup.on_error
        if not isinstance(policy, str):
            policy = policy(error)
        if policy not in POLICIES:
            raise UsageError(f"on_error must give one of {POLICIES}, got {policy!r}")
        return policy

    def _bare(self, broken: "_Broken", shard: int, position: int) -> PackedRecord:
        """Return the record of a row that is masked: which sample it is, no more."""
        source = None if self._mixture is None else self._mixture.source_of(shard)
        return PackedRecord(
            broken.key or "", self.setup.refs[shard].name, broken.number,
            self.uid(shard, broken.number), position, broken.visit, 0, (), 0, (),
            origin="" if source is None else source.name,
        )  # fmt: skip

    def _failure(
        self, broken: "_Broken", shard: int, epoch: int, position: int, attempt: int
    ) -> Failure:
        error = broken.error
        return Failure(
            shard=error.shard or self.setup.refs[shard].name,
            key=error.key or broken.key,
            offset=error.offset,
            stage=error.stage,
            reason=f"{type(error).__name__}: {error.message}",
            uid=self.uid(shard, broken.number),
            epoch=epoch,
            position=position,
            attempt=attempt,
        )


class _Broken(NamedTuple):
    """Why a sample cannot be made, and which one it is."""

    error: DataRefused | StoreError
    whole: bool
    """The whole shard cannot be used."""

    number: int
    """Of the sample in its shard."""

    visit: int
    key: str | None = None


def _delivered(
    made: Made, failures: list[Failure], bare: PackedRecord | None, *, pad: bool
) -> Made:
    if bare is None:
        return made._replace(is_pad=pad, failures=tuple(failures))
    return made._replace(
        packed=bare,
        is_pad=True,
        failures=tuple(failures),
        more=tuple((fields, bare) for fields, _ in made.more),
    )
