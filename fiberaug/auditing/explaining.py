"""Why nothing stands at a position: what a run's quarantine says."""

from pathlib import Path
from typing import Any

from fiberaug.order import open_order
from fiberaug.quarantining import read_quarantine
from fiberaug.shards.opening import read_index

__all__ = ["Explainer"]

_PARTNERS = 3


class Explainer:
    """Says whether a position was masked: its sample was broken.

    Args:
        folder: The run folder.
        manifest: Its manifest.
        dataset: The data set of the run; None: not known.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        dataset: Any,  # noqa: ANN401  # a data set
    ) -> None:
        self.folder = folder
        entries = read_quarantine(folder)
        self._broken = {(e.shard, e.key, n) for e in entries for n in e.epochs}
        self._room = len(self._broken)
        times = sum(entry.times for entry in entries)
        self.broken = _PARTNERS * times * int(manifest.get("views", 1))
        """Rows at most whose partner in a mix was broken."""
        knows = dataset is not None and dataset.mixture is None
        knows = knows and dataset.plan.to_json() == manifest["plan"]
        self._dataset = dataset if knows and dataset.plan.counts is not None else None
        self._orders: dict[int, Any] = {}

    def __call__(self, epoch: int, position: int) -> bool:
        """Return whether the sample of a position is in the quarantine of its epoch."""
        if not self._broken:
            return False
        if self._dataset is None:  # as many as there are may be it
            self._room -= 1
            return self._room >= 0
        setup = self._dataset.setup
        if epoch not in self._orders:
            plan = setup.plan
            self._orders[epoch] = open_order(plan, epoch, len(setup.refs), plan.counts)
        order = self._orders[epoch]
        if position >= order.reach(position + 1):
            return False
        shard, index = order.locate(position)
        ref = setup.refs[shard]
        if (ref.name, None, epoch) in self._broken:
            return True
        if setup.plan.tile is not None:  # tiles are not looked up
            return any(e == epoch for _, _, e in self._broken)
        key = read_index(ref, setup.cache).key(index)
        return (ref.name, key, epoch) in self._broken
