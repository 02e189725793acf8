"""The set under measurement, and the rows of it that are looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import cv2
import torch

from fiberaug.benching.options import BenchOptions
from fiberaug.benching.timed import TimedFinisher, TimedStage
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import UsageError
from fiberaug.loader import DataLoader
from fiberaug.making import Setup
from fiberaug.record import RecordContext
from fiberaug.resolving import context_with, resolve_stage
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.pool import ShardPool
from fiberaug.staging import BatchStage
from fiberaug.transport import Builder, Request

__all__ = [
    "Opened",
    "Photo",
    "default_device",
    "open_set",
    "single_threaded",
    "with_form",
]

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

    stage: BatchStage | None = None
    """Mixes and batch operations, where the recipe has them."""

    device: str | None = None
    """Where tensors of a batch are put. None: they stay in memory."""

    @property
    def context(self) -> RecordContext | None:
        """What records share, where it is not the data set's."""
        return context_with(self.dataset, self.stage) if self.stage else None

    @property
    def rows(self) -> int | None:
        """Samples of an epoch; None: not known without an index."""
        counted = self.dataset.plan.counts is not None
        return self.dataset.positions(0) if counted else None

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

    def builder(
        self, setup: Setup | None = None, stage: BatchStage | None = None
    ) -> Builder:
        """Return what makes batches, as the loader has it.

        Args:
            setup: What to make them from; None: what the set says.
            stage: Instead of the set's own.
        """
        stage = stage or self.stage
        collate = self.dataset.collate(mode=self.mode, pad_to=_PAD_TO)
        return Builder(setup or self.dataset.setup, collate, None, None, stage)

    def finisher(self) -> TimedFinisher:
        """Return the consumer's half, as the loader has it, with a clock."""
        return TimedFinisher(
            self.dataset, targets="list", output=None, device=self.device,
            pin_memory=False, pads=True, ahead=_PREFETCH, stage=self.stage,
            context=self.context,
        )  # fmt: skip

    def timed(self) -> TimedStage | None:
        """Return the stage of the worker's half with a clock, or None for none."""
        return None if self.stage is None else TimedStage.of(self.stage)

    def loader(self, workers: int) -> DataLoader:
        """Return a loader; its passes are begun by the caller."""
        options: dict[str, Any] = {"persistent_workers": True} if workers else {}
        return DataLoader(
            self.dataset, self.batch_size, num_workers=workers, collate=self.mode,
            pad_to=_PAD_TO, device=self.device, **options,
        )  # fmt: skip


def default_device() -> str:
    """Return where batch operations run unless somebody says otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _index(pool: ShardPool, shard: int) -> ShardIndex:
    return pool[shard].index


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let OpenCV and torch work in this thread alone, as they do in workers."""
    before, of_torch = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
        torch.set_num_threads(of_torch)


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
    stage, device = None, options.device
    if dataset.sections:
        stage = resolve_stage(dataset, None, None, stacks=True)
        device = device or default_device()
    mode = "list" if stage is None else "stack"
    opened = Opened(
        dataset, options.batch_size, mode, Engine(dataset.setup), stage, device
    )
    if opened.rows == 0:
        raise UsageError(f"there is no sample in {options.shards!r:.120}")
    return opened


def with_form(opened: Opened) -> Opened:
    """Return the set with the form of its batches known, from a first one.

    Raises:
        UsageError: There is no sample, or its images do not suit batch operations.
        StoreError: A shard cannot be read.
        DataRefused: None of the samples can be made.
    """
    with single_threaded():
        message = opened.builder().build(opened.requests(opened.batch_size)[0])
    if not message.keys:
        raise UsageError("there is no sample in these shards")
    if opened.stage is not None:
        return opened
    sizes = {None if i is None else i.shape for i in message.data["image"]}
    mode = "stack" if len(sizes) == 1 and None not in sizes else "list"
    return replace(opened, mode=mode)
