"""The class of a record's sample, from the index of its shard."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import FiberAugError
from fiberaug.mix import REAL
from fiberaug.shards.opening import read_index

__all__ = ["LabelReader"]


class LabelReader:
    """Looks up classes; an index is read when its first record comes.

    Args:
        dataset: The data set of a run; None: nothing is known.
    """

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401  # a data set
        self._cache = None if dataset is None else dataset.setup.cache
        refs = () if dataset is None else dataset.setup.refs
        mixture = None if dataset is None else dataset.mixture
        self._law = None if mixture is None else mixture.law
        self._relabel: dict[str, Mapping[int, int]] = {}
        origins = [REAL] * len(refs)
        if mixture is not None:
            for source in mixture.sources:
                self._relabel[source.name] = source.relabel or {}
                for shard in mixture.shards_of(source.name):
                    origins[shard] = source.name
        places = [(origin, r.name) for origin, r in zip(origins, refs, strict=True)]
        times = Counter(places)
        self._refs = {
            place: ref
            for place, ref in zip(places, refs, strict=True)
            if times[place] == 1
        }
        self._labels: dict[tuple[str, str], NDArray[Any] | None] = {}

    def __call__(self, record: Mapping[str, Any]) -> int | None:
        """Return the class of a record's sample; None: it has none that is known."""
        origin, url, index = record["origin"], record["url"], record["index"]
        place = origin, url
        if origin == url and self._law is not None:  # made while the run went on
            return self._law.live_sample(index)[0]  # type: ignore[no-any-return]
        if place not in self._labels:
            self._labels[place] = self._read(place)
        labels = self._labels[place]
        if labels is None or index >= len(labels) or labels[index] < 0:
            return None
        label = int(labels[index])
        return self._relabel.get(origin, {}).get(label, label)

    def _read(self, place: tuple[str, str]) -> NDArray[Any] | None:
        ref = self._refs.get(place)
        if ref is None:
            return None
        try:
            return np.array(read_index(ref, self._cache).columns["label"])
        except FiberAugError:
            return None  # shards without an index have no classes that are known
