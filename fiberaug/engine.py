"""From a position of an epoch to a finished sample, or to its stand-in.

One engine lives in each process. It holds no random state and no position, so any
process can build any sample at any time and gets the same pixels.
"""

from fiberaug.errors import DataRefused, SampleBroken, ShardDamaged, UsageError
from fiberaug.making import Failure, Made, Maker, Setup
from fiberaug.order import Order, open_order
from fiberaug.record import PackedRecord
from fiberaug.shards.readahead import ReadAhead

__all__ = ["ATTEMPTS", "POLICIES", "Engine", "first_visit_of_stand_in"]

ATTEMPTS = 16
POLICIES = ("replace", "mask", "raise")


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
        self._orders: dict[int, Order] = {}
        self._ahead: ReadAhead | None = None
        if setup.cache is not None:
            shards, windows = len(setup.refs), setup.windows
            self._ahead = ReadAhead(self._pool, setup.plan, shards, windows=windows)

    def order(self, epoch: int) -> Order:
        """Return the order of an epoch; the two most recent are kept."""
        found = self._orders.get(epoch)
        if found is None:
            while len(self._orders) > 1:
                self._orders.pop(next(iter(self._orders)))
            ahead = self._ahead
            count = self._pool.count if ahead is None else ahead.counter(epoch)
            found = open_order(self.setup.plan, epoch, len(self.setup.refs), count)
            self._orders[epoch] = found
        return found

    def locate(self, epoch: int, position: int) -> tuple[int, int, int]:
        """Return (shard, index in the shard, visit) of a position.

        Raises:
            IndexError: The position is not in the epoch.
        """
        order = self.order(epoch)
        shard, row = order.locate(position)
        index, again = self._place(epoch, shard, row)
        return shard, index, order.visit(position) + again

    def _place(self, epoch: int, shard: int, row: int) -> tuple[int, int]:
        rows = self.setup.rows
        if rows is None:
            return row, 0
        return rows.place(epoch, shard, row, lambda: self._pool[shard].index)

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
        if self._ahead is not None and not pad:
            self._ahead.at(epoch, order, position)
        shard, index, visit = self.locate(epoch, position)
        failures: list[Failure] = []
        broken: PackedRecord | None = None
        policy = "replace"
        for attempt in range(ATTEMPTS + 1):
            if attempt:
                shard, row = order.stand_in(position, attempt - 1)
                index, _ = self._place(epoch, shard, row)
                visit = first_visit_of_stand_in(position, attempt - 1)
            try:
                made = self._views(shard, index, epoch, position, visit)
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
                    packed=broken,
                    is_pad=True,
                    failures=tuple(failures),
                    more=tuple((fields, broken) for fields, _ in made.more),
                )
            return made._replace(is_pad=pad, failures=tuple(failures))
        raise SampleBroken(
            f"position {position} of epoch {epoch} and {ATTEMPTS} stand-ins are broken;"
            f" the last: {failures[-1].reason}",
            shard=failures[0].shard,
            key=failures[0].key,
            stage=failures[0].stage,
        )

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
