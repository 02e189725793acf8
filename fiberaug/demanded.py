"""Online generators of a mix, at the loader's side: started, told of what was used."""

import logging
from typing import Any

from fiberaug.mixture import Mixture, reason_of
from fiberaug.record import PackedRecord
from fiberaug.transport import Message

__all__ = ["OnDemand"]

_log = logging.getLogger("fiberaug")


class OnDemand:
    """The sources of a mix that make samples while the loader runs.

    Args:
        mixture: What is mixed in; None: nothing.
    """

    def __init__(self, mixture: Mixture | None) -> None:
        self._mixture = mixture
        sources = () if mixture is None else mixture.sources
        self._sources = {one.name: one for one in sources if one.live is not None}
        self._own: list[Any] = []  # generators that were not at work before
        self._told = False

    def start(self, epoch: int, position: int) -> None:
        """Have the generators at work, from a position of an epoch on.

        Args:
            epoch: Epoch, from 0.
            position: The first position that will be asked for.

        Raises:
            UsageError: See ``OnlineGenerator.start``.
            StoreError: A buffer cannot be written.
        """
        if not self._sources or self._mixture is None:
            return
        order = self._mixture.at(epoch)
        ahead = order.upcoming(position)
        for number, source in enumerate(self._mixture.sources):
            live = source.live
            if live is None:
                continue
            if live.pid is None:
                self._own.append(live)
            live.start()
            next_ = {source.own_label(k): n for k, n in ahead.get(number, {}).items()}
            live.seek(next_)

    def confirm(self, message: Message) -> None:
        """Tell the generators which of their samples were delivered."""
        if not self._sources or self._mixture is None:
            return
        for at, pad in enumerate(message.is_pad):
            packed = PackedRecord(*message.packed[at * message.views])
            source = self._sources.get(packed.origin)
            if source is None or source.live is None or pad:
                continue
            label, number = self._mixture.law.live_sample(packed.number)
            source.live.confirm(source.own_label(label), number)
        if message.late and not self._told:
            self._told = True
            reasons = {n: reason_of(s.live) for n, s in self._sources.items() if s.live}
            said = "; ".join(f"{n}: {why}" for n, why in reasons.items() if why)
            _log.warning(
                "real samples stand in for synthetic ones that were not made in time%s"
                " (stats()['late'] counts them)",
                f": {said}" if said else "",
            )

    def close(self) -> None:
        """End the generators that were not at work before."""
        own, self._own = self._own, []
        for live in own:
            live.close()
