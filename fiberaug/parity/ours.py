"""Our side: the keys and labels of a set, and any image of it as decoded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.jobs.describing import Describer
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.naming import escape_stem
from fiberaug.shards.reader import ShardRef, build_index, map_file

__all__ = ["Ours"]


class Ours:
    """A set, by key.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        index_dir: Folder of the side-cars.
    """

    def __init__(self, shards: Any, *, index_dir: str | Path | None = None) -> None:  # noqa: ANN401  # as there
        self.dataset = StreamingDataset(
            shards, index_dir=index_dir, train=False, record="none", split="all"
        )
        self.classes = self.dataset.classes
        self._engine = Engine(self.dataset.setup)
        self.labels: dict[str, int | None] = {}
        """Class id by key; None where there is none."""

        self.copies = 0
        """Samples whose key stands in the set more than once."""

        self._places: dict[str, tuple[int, int]] = {}
        for shard, ref in enumerate(self.dataset.shard_set.refs):
            index = _open(ref)
            for i, label in enumerate(index.columns["label"].tolist()):
                key = index.key(i)
                self.copies += key in self._places
                self._places[key] = shard, i
                self.labels[key] = label if label >= 0 else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._places) + self.copies

    def find(self, text: str) -> str | None:
        """Return the key that a text means: a key, or the path of the file it was.

        A path is compared from its end: ``/data/train/cat/017.jpg`` is ``cat/017``.
        """
        if text in self._places:
            return text
        steps = text.replace("\\", "/").split("/")
        stem, dot, extension = steps[-1].rpartition(".")
        stems = {steps[-1]}
        if dot and len(extension) <= 5:
            stems |= {stem, escape_stem(stem)}
        for first in range(len(steps)):
            for last in stems:
                key = "/".join([*steps[first:-1], last])
                if key in self._places:
                    return key
        return None

    def image(self, key: str) -> np.ndarray:
        """Return the image of a key as decoded, uint8 [H, W, C], upright, RGB.

        Raises:
            DataRefused: The sample is broken.
        """
        shard, index = self._places[key]
        image: np.ndarray = self._engine.make(shard, index, 0, 0).fields["image"]
        return image

    def class_name(self, label: int) -> str:
        """Return the name of a class with its id."""
        if 0 <= label < len(self.classes):
            return f"{label} ({self.classes[label]})"
        return str(label)

    def class_id(self, label: int | str, names: Mapping[str, int]) -> int | None:
        """Return the id that a label has, given as an id or a name."""
        if isinstance(label, int):
            return label
        return names.get(label)


def _open(ref: ShardRef) -> ShardIndex:
    if ref.index is not None:
        return ShardIndex.open(Path(ref.index), shard=ref.name)
    data = map_file(Path(ref.path), shard=ref.name)
    return build_index(data, shard=ref.name, describe=Describer())
