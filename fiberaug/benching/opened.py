"""The set under measurement, and the rows of it that are looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import cv2

from fiberaug.batching import BatchFinisher
from fiberaug.benching.options import BenchOptions
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import UsageError
from fiberaug.loader import DataLoader
from fiberaug.making import Setup
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.pool import ShardPool
from fiberaug.transport import Builder, Request

__all__ = ["Opened", "Photo", "open_set", "single_threaded", "with_form"]

_PREFETCH = 2
_PAD_TO = 32


class Photo(NamedTuple):
    """A sample of the set, by its place."""

    shard: int
    number: int
    """Of the sample in its shard."""


@dataclass(frozen=True)
class Opened:
    """A set, opened as a training run would."""

    dataset: StreamingDataset
    batch_size: int
    mode: str
    """``stack``, or ``list`` where images come out in several sizes."""

    engine: Engine
    """Makes samples in this process."""

    @property
    def rows(self) -> int | None:
        """Samples of an epoch; None: not known without an index."""
        plan = self.dataset.plan
        return None if plan.counts is None else plan.n

    def requests(self, rows: int) -> list[Request]:
        """Return the requests of the rows that are looked at.

        They are the last of the first epoch, so that a loader which is resumed there
        delivers them and no others; where the end is not known, the first.

        Args:
            rows: How many, at most.
        """
        first, end = self.span(rows)
        return [
            Request(0, at, min(self.batch_size, end - at), 0, 1, drop_last=False)
            for at in range(first, end, self.batch_size)
        ]

    def span(self, rows: int) -> tuple[int, int]:
        """Return the first of so many positions, and the one after the last."""
        known = self.rows
        if known is None:
            return 0, self.engine.order(0).reach(rows)
        return max(0, known - rows), known

    def photos(self, rows: int) -> list[Photo]:
        """Return the samples that the rows are made of, each once, in their order."""
        order, setup = self.engine.order(0), self.dataset.setup
        pool, found = self.pool(), dict[Photo, None]()
        for position in range(*self.span(rows)):
            shard, row = order.locate(position)
            if setup.rows is not None:
                index_of = partial(_index, pool, shard)
                row = setup.rows.place(0, shard, row, index_of).number
            found[Photo(shard, row)] = None
        return list(found)

    def pool(self) -> ShardPool:
        """Return the shards, none of them open yet."""
        return ShardPool(self.dataset.setup.refs, cache=self.dataset.setup.cache)

    def builder(self, setup: Setup | None = None) -> Builder:
        """Return what makes batches, as the loader has it.

        Args:
            setup: What to make them from; None: what the set says.
        """
        collate = self.dataset.collate(mode=self.mode, pad_to=_PAD_TO)
        return Builder(setup or self.dataset.setup, collate, None, None)

    def finisher(self) -> BatchFinisher:
        """Return the consumer's half, as the loader has it."""
        return BatchFinisher(
            self.dataset, targets="list", output=None, device=None, pin_memory=False,
            pads=True, ahead=_PREFETCH,
        )  # fmt: skip

    def loader(self, workers: int) -> DataLoader:
        """Return a loader; its passes are begun by the caller."""
        options: dict[str, Any] = {"persistent_workers": True} if workers else {}
        return DataLoader(
            self.dataset, self.batch_size, num_workers=workers, collate=self.mode,
            pad_to=_PAD_TO, **options,
        )  # fmt: skip


def _index(pool: ShardPool, shard: int) -> ShardIndex:
    return pool[shard].index


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let OpenCV work in this thread alone, as it does in workers."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def open_set(options: BenchOptions) -> Opened:
    """Return the set, opened; no sample of it is read yet.

    Raises:
        UsageError: An argument, the recipe or the split is refused, or the set is
            empty.
        StoreError: A shard or the recipe cannot be read.
        DataRefused: The set is damaged.
    """
    given: dict[str, Any] = {}
    if options.decode != "exact":
        given["decode"] = options.decode
    if options.tile is not None:
        given["tile"] = options.tile
    dataset = StreamingDataset(
        options.shards, transform=options.recipe, fields=options.fields,
        split=options.split, index_dir=options.index_dir,
        cache_dir=options.cache_dir, max_errors=1.0, rank=0, world_size=1, **given,
    )  # fmt: skip
    opened = Opened(dataset, options.batch_size, "list", Engine(dataset.setup))
    if opened.rows == 0:
        raise UsageError(f"there is no sample in {options.shards!r:.120}")
    return opened


def with_form(opened: Opened) -> Opened:
    """Return the set with the form of its batches known, from a first one.

    Raises:
        UsageError: There is no sample.
        StoreError: A shard cannot be read.
        DataRefused: None of the samples can be made.
    """
    with single_threaded():
        message = opened.builder().build(opened.requests(opened.batch_size)[0])
    if not message.keys:
        raise UsageError("there is no sample in these shards")
    sizes = {None if i is None else i.shape for i in message.data["image"]}
    mode = "stack" if len(sizes) == 1 and None not in sizes else "list"
    return replace(opened, mode=mode)
