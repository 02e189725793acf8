"""What the order of samples depends on, beside the epoch; it stands in the state."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from fiberaug.dealing import Balance
from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed

__all__ = ["MOST_LANES", "VERSION", "Plan", "default_lanes", "lane_start"]

VERSION = 1
MOST_LANES = 64


def default_lanes(samples: int, window: int = 4096) -> int:
    """Return V: as many lanes as there are full windows, at least 1, at most 64.

    A lane shorter than a window would leave a small, class-sorted set unshuffled.
    """
    return max(1, min(MOST_LANES, samples // window))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the order depends on, beside the epoch."""

    counts: tuple[int, ...] | None
    """Samples of each shard, in the data set's order. None: not known (no index)."""

    seed: int = 0
    """Seed of the order, in [0, 2**64)."""

    shuffle: bool = True
    """False: positions are the samples in the data set's order."""

    lanes: int | None = None
    """V, places of the set that are read side by side. None: :func:`default_lanes`."""

    unit: int = 16
    """b0, positions dealt in a row from one lane."""

    window: int = 4096
    """Samples of a lane that are shuffled among themselves."""

    version: int = VERSION
    """Version of the law of order."""

    epoch_size: int | None = None
    """Positions of an epoch, where it is not the whole set once. With a balance they
    are what it deals."""

    balance: Balance | None = None
    """How often each group is dealt; None: every sample once."""

    subset: str | None = None
    """What names the part of the set that ``counts`` counts."""

    balanced_by: str | None = None
    """What names the balance."""

    tile: str | None = None
    """How photos are cut; ``counts`` are then tiles."""

    mix: str | None = None
    """What names all that is mixed in."""

    def __post_init__(self) -> None:
        """Check the values and fill in the lanes.

        Raises:
            UsageError: A value is out of range.
        """
        check_seed(self.seed)
        if self.version != VERSION:
            raise UsageError(f"plan version must be {VERSION}, got {self.version}")
        for name in ("unit", "window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.counts is not None and any(count < 0 for count in self.counts):
            raise UsageError(f"samples of a shard must be >= 0, got {min(self.counts)}")
        if self.counts is None and self.lanes not in (None, 1):
            raise UsageError(
                f"lanes must be 1 where the shards have no index, got {self.lanes};"
                " run `fiberaug index` to use more"
            )
        if self.epoch_size is not None and self.epoch_size < 1:
            raise UsageError(f"epoch_size must be >= 1, got {self.epoch_size}")
        if self.lanes is None:
            lanes = 1
            if self.counts is not None:
                lanes = default_lanes(self.dealt, self.window)
            object.__setattr__(self, "lanes", lanes)
        elif self.lanes < 1:
            raise UsageError(f"lanes must be >= 1, got {self.lanes}")

    @property
    def n(self) -> int:
        """Positions of an epoch: the samples of the set, where nothing else is asked.

        Raises:
            TypeError: The set has no index.
        """
        whole = self.epoch_size is None or self.balance is not None
        return self.dealt if whole else self.epoch_size  # type: ignore[return-value]

    @property
    def dealt(self) -> int:
        """Positions after which every sample had its turn."""
        return self.samples if self.balance is None else self.balance.total

    @cached_property
    def samples(self) -> int:
        """Samples of the set.

        Raises:
            TypeError: The set has no index.
        """
        if self.counts is None:
            raise TypeError(
                "the number of samples is not known: the shards have no index;"
                " run `fiberaug index SHARDS`"
            )
        return sum(self.counts)

    @cached_property
    def _counts_digest(self) -> str | None:
        if self.counts is None:
            return None
        data = np.asarray(self.counts, "<i8").tobytes()
        return blake2b(data, digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as it stands in a state: under 800 bytes, counts hashed."""
        found = {
            "version": self.version,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "lanes": self.lanes,
            "unit": self.unit,
            "window": self.window,
            "shards": None if self.counts is None else len(self.counts),
            "samples": None if self.counts is None else self.samples,
            "counts": self._counts_digest,
            "epoch_size": self.epoch_size,
            "subset": self.subset,
            "balance": self.balanced_by,
            "tile": self.tile,
        }
        return found if self.mix is None else found | {"mix": self.mix}


def lane_start(plan: Plan, lane: int) -> int:
    """Return the first sample of ``lane`` in the row of shards laid end to end.

    Lanes are cut in whole units. The one short unit, if there is one, belongs to the
    lane that is dealt last, (U - 1) mod V, so that only the last unit of an epoch is
    short.
    """
    lanes = plan.lanes or 1
    units, short = -(-plan.dealt // plan.unit), -plan.dealt % plan.unit
    whole, rest = divmod(units, lanes)
    last = (units - 1) % lanes
    return plan.unit * (lane * whole + min(lane, rest)) - (short if lane > last else 0)
