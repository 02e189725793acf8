"""What the mix of a run asks for: of windows of positions, and of classes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fiberaug.mix import REAL
from fiberaug.order import open_order
from fiberaug.timeline import Timeline

if TYPE_CHECKING:
    from fiberaug.mixture import Mixture

__all__ = ["MixAsking", "asking_of", "why_unknown"]


def asking_of(dataset: Any, said: Mapping[str, Any] | None) -> "MixAsking | None":  # noqa: ANN401
    """Return what the mix of a data set asks for; None: it has none, or another.

    Args:
        dataset: The data set, opened again.
        said: What the manifest says of its mix. Sources that made their samples while
            the run went on are not there again where these were not kept.
    """
    mixture = None if dataset is None else dataset.mixture
    if (
        mixture is None
        or said is None
        or [one["name"] for one in said["sources"]] != [*mixture.names[1:]]
    ):
        return None
    return MixAsking(dataset)


def why_unknown(dataset: Any, said: Mapping[str, Any]) -> str:  # noqa: ANN401
    """Return which sources of a mix are not there again, and why.

    Args:
        dataset: The data set, opened again.
        said: What the manifest says of its mix.
    """
    there = () if dataset.mixture is None else dataset.mixture.names
    texts = []
    for one in said["sources"]:
        places = [one.get("keep"), *one.get("shards", ())]
        place = next((place for place in places if place), None)
        if one["name"] in there:
            continue
        if place is None:
            texts.append(
                f"source {one['name']!r} made its samples while the run went on, and"
                " kept none"
            )
        else:
            texts.append(f"source {one['name']!r} is not where it was: {place}")
    return "; ".join(texts) or "the sources that are there are others"


class MixAsking:
    """What a mixture asks for.

    Args:
        dataset: A data set that has one.
    """

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401  # a data set
        mixture: Mixture = dataset.mixture
        self._mixture, self._plan, self._law = mixture, dataset.plan, mixture.law
        self._length = dataset.positions
        self._classes: tuple[int, Any] = -1, None
        self.names = mixture.names
        """Sources as records name them, ``real`` first."""
        self.mode = mixture.mode
        """``replace``, ``append`` or ``unit``."""
        self.allowed = 1.0 if len(self.names) == 2 else 2.0
        """How far a window of positions may be off, samples."""
        self.has_windows = self._law.per_class is None or self.mode == "append"
        """Whether windows have a law: shares that are exact by class have none."""
        self.falls_back = (
            self._law.dry == REAL
            or self._law.reuse is not None
            or any(source.live is not None for source in mixture.sources)
        )
        """Whether a real sample may stand in the place of one that is not there."""

    def asked(self, epoch: int, start: int, stop: int) -> Mapping[str, float]:
        """Return how many samples of each source positions [start, stop) should have.

        Args:
            epoch: Epoch, from 0.
            start: First position.
            stop: Behind the last one.
        """
        return self._mixture.asked(epoch, start, stop)

    def length(self, epoch: int) -> int | None:
        """Return the positions of an epoch; None: not known."""
        return int(self._length(epoch))

    def mixed_of_class(self, epoch: int, label: int, stop: int) -> float | None:
        """Return how many mixed-in samples of a class the first positions should have.

        What is delivered is within one of it. None: no law says so.

        Args:
            epoch: Epoch, from 0.
            label: Class.
            stop: Positions from the begin of the epoch.
        """
        law = self._law
        if self.mode == "append":
            spread, labels = law.appended(epoch)
            if labels is None or stop < spread.n:
                return None  # the order of the appended is drawn
            return float((labels == label).sum())
        labels = self._labels(epoch)
        if labels is None or stop < len(labels):
            return None  # which of its places come first is drawn
        own = int((labels == label).sum())
        schedule = (law.per_class or {}).get(label, law.schedule)
        span = Timeline(schedule, max(1, own), append=False).epoch(epoch)
        return span.asked(0, own) if own else 0.0

    def _labels(self, epoch: int) -> Any:  # noqa: ANN401  # int64 [N]
        """Return the class of each position of the data set's own order."""
        if self._classes[0] != epoch:
            counts = self._plan.counts or ()
            own: Any = open_order(self._plan, epoch, len(counts), counts.__getitem__)
            real = self._mixture.labels
            self._classes = epoch, None if real is None else real(epoch, own)
        return self._classes[1]
