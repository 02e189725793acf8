"""What a sample costs in each stage, as CPU time of one process.

Batches are made as a worker makes them, sent as a worker sends them, and finished as
the main process does, one after the other and in one thread. CPU time stands still
while other programs run, so a busy machine does not change it much.
"""

import pickle
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from fiberaug.benching.opened import Opened, single_threaded
from fiberaug.making import Setup
from fiberaug.proven import Proven
from fiberaug.slots import NO_SLOT, open_slots
from fiberaug.transport import Request, pack, unpack

__all__ = ["StageTimes", "Stages", "measure_stages", "samples_for"]

_LEAST_PASSES = 3
_MOST_SAMPLES = 20_000
_CALM = 0.95


class Stages(NamedTuple):
    """CPU seconds of a sample in each stage; together they are the whole."""

    decode: float
    """Reading, checking the CRC-32 and decoding."""

    augment: float
    collate: float
    """The plan, keys, records, and making one batch of the samples."""

    transport: float
    """From a worker to the main process: both ends."""

    finish: float
    """In the main process: tensors, normalisation."""

    draw: float = 0.0
    """Composing mixes and drawing for batch operations, in the worker."""

    batch: float = 0.0
    """Batch operations and blends, in the main process; on a GPU what it takes to tell
    it what to do."""

    @property
    def whole(self) -> float:
        """All stages."""
        return sum(self)


class StageTimes(NamedTuple):
    """What some samples cost."""

    stages: Stages
    """Of the median pass."""

    first: Stages
    """Of the first pass, which finds out which samples decode."""

    spread: tuple[float, float]
    """Smallest and largest whole of a pass, CPU seconds of a sample."""

    received: float
    """Seconds of a sample in the main process, where workers make the batches: CPU
    seconds, and of batch operations on CPU tensors those by the clock."""

    samples: int
    """Of a pass."""

    passes: int
    failures: int
    """Broken samples of a pass."""

    out_pixels: float
    """Mean of height times width of the images that come out."""

    batch_bytes: int
    """Of the tensors of the first batch."""

    developed: float = 0.0
    """Seconds by the clock that batch operations and blends take for a sample: on a
    GPU, or on CPU tensors with all of torch's threads."""

    gpu: bool = False
    """Whether that is a GPU's time."""

    @property
    def worker(self) -> float:
        """CPU seconds of a sample in a worker."""
        main_s = self.received
        if not self.gpu:
            main_s += self.stages.batch - self.developed
        return self.stages.whole - main_s


def samples_for(opened: Opened, seconds: float) -> int:
    """Return how many samples one process makes in some seconds, at least a batch."""
    request = opened.requests(opened.batch_size)[0]
    builder = opened.builder()
    with single_threaded():
        builder.build(request)  # opens the shards
        started = time.process_time()
        made = len(builder.build(request).keys)
        each_s = max(1e-6, (time.process_time() - started) / made)
    batches = round(min(_MOST_SAMPLES, seconds / each_s) / opened.batch_size)
    return max(1, batches) * opened.batch_size


def measure_stages(
    opened: Opened,
    samples: int,
    seconds: float,
    *,
    setup: Setup | None = None,
) -> StageTimes:
    """Return what samples cost, measured for some seconds and in three passes at least.

    Args:
        opened: The set.
        samples: How many different samples.
        seconds: How long, s.
        setup: What to make them from; None: what the set says.

    Raises:
        DataRefused: A sample is broken, and no stand-in is found.
    """
    requests = opened.requests(samples)
    setup = setup or opened.dataset.setup
    # The first pass shall be that of a first epoch, whatever was decoded before.
    proven = Proven.of([ref.samples for ref in setup.refs])
    run = _Run(opened, replace(setup, proven=proven))
    passes: list[list[_Cost]] = []
    ends = time.perf_counter() + seconds
    with single_threaded():
        # The first pass is no measure of the later ones: it opens, and it proves.
        while len(passes) <= _LEAST_PASSES or time.perf_counter() < ends:
            passes.append(list(run(requests)))
    developed = run.developed(requests, seconds / 4)
    run.close()
    first, *later = (_stages(costs) for costs in passes)
    order = sorted(range(len(later)), key=lambda i: later[i].whole)
    median = order[len(order) // 2]
    costs = passes[1 + median]
    made = sum(cost.samples for cost in costs)
    received = sum(cost.received for cost in costs) / made
    if not run.gpu:
        received += developed - later[median].batch
    return StageTimes(
        stages=later[median], first=first,
        spread=(later[order[0]].whole, later[order[-1]].whole),
        received=received,
        samples=made, passes=len(later), failures=sum(c.failures for c in costs),
        out_pixels=sum(cost.pixels for cost in costs) / made,
        batch_bytes=costs[0].bytes, developed=developed, gpu=run.gpu,
    )  # fmt: skip


class _Cost(NamedTuple):
    """What a batch cost: CPU seconds, where nothing else is said."""

    build: float
    transport: float
    finish: float
    draw: float
    batch: float
    received: float
    decode_wall: float
    augment_wall: float
    build_wall: float
    samples: int
    failures: int
    pixels: float
    bytes: int

    @property
    def undisturbed(self) -> float:
        """Share of the time in which no other program had the CPU."""
        return min(1.0, self.build / max(self.build_wall, 1e-9))


def _stages(costs: Sequence[_Cost]) -> Stages:
    """Return the stages of a pass.

    Building has its stages in wall time; how it parts is taken from the batches that
    other programs disturbed least.
    """
    made = sum(cost.samples for cost in costs)
    build, transport, finish, draw, batch = (
        sum(values) / made for values in zip(*(c[:5] for c in costs), strict=True)
    )
    calm = [cost for cost in costs if cost.undisturbed > _CALM]
    if not calm:
        calm = sorted(costs, key=lambda c: -c.undisturbed)[: -(-len(costs) // 2)]
    wall = max(sum(cost.build_wall for cost in calm), 1e-9)
    decode = build * sum(cost.decode_wall for cost in calm) / wall
    augment = build * sum(cost.augment_wall for cost in calm) / wall
    collate = max(0.0, build - decode - augment - draw)
    return Stages(decode, augment, collate, transport, finish, draw, batch)


class _Run:
    """Makes batches in this process, by way of shared memory."""

    def __init__(self, opened: Opened, setup: Setup) -> None:
        self._stage = opened.timed()
        self._builder = opened.builder(setup, self._stage)
        self._finish = opened.finisher()
        self._slots = open_slots(1)
        self.gpu = self._finish.stream.beside
        """Whether batch operations run on a GPU."""

    def __call__(self, requests: Sequence[Request]) -> Iterator[_Cost]:
        for request in requests:
            yield self._cost(request)

    def _cost(self, request: Request) -> _Cost:
        clock, slots = time.process_time, self._slots
        slot = NO_SLOT if slots is None else 0
        self._read_clocks()
        wall_s, started = time.perf_counter(), clock()
        message = self._builder.build(request)
        built, wall_s = clock(), time.perf_counter() - wall_s
        failures, rows = len(message.failures), len(message.keys)
        decode_s, augment_s = message.decode_s, message.augment_s
        message = pack(message, slots, slot)
        sent = ForkingPickler.dumps(message)
        packed = clock()
        message = unpack(pickle.loads(sent), slots)  # noqa: S301  # written above
        unpacked = clock()
        finish = self._builder.engine.finish
        records = self._finish.records(message, request.epoch)
        with self._finish.stream():
            batch = self._finish(message, records, finish)
        done = clock()
        drawn, (launched, waited, _) = self._read_clocks()
        done -= waited
        return _Cost(
            build=built - started, transport=unpacked - built,
            finish=done - unpacked - launched, draw=drawn, batch=launched,
            received=done - packed, decode_wall=decode_s, augment_wall=augment_s,
            build_wall=wall_s, samples=rows, failures=failures,
            pixels=_pixels(batch["image"]), bytes=_bytes(batch),
        )  # fmt: skip

    def _read_clocks(self) -> tuple[float, tuple[float, float, float]]:
        drawn = 0.0 if self._stage is None else self._stage.clock.read()[0]
        return drawn, self._finish.clock.read()

    def developed(self, requests: Sequence[Request], seconds: float) -> float:
        """Return the seconds by the clock of batch operations and blends, of a sample.

        Args:
            requests: Of the batches to look at.
            seconds: How long, s; one batch is looked at in any case.
        """
        if self._stage is None:
            return 0.0
        found: list[float] = []
        ends = time.perf_counter() + seconds
        while not found or time.perf_counter() < ends:
            request = requests[len(found) % len(requests)]
            message = self._builder.build(request)
            records = self._finish.records(message, request.epoch)
            self._finish.clock.read()
            with self._finish.stream():
                self._finish(message, records, self._builder.engine.finish)
            found.append(self._finish.clock.read()[2] / len(message.keys))
        return statistics.median(found)

    def close(self) -> None:
        self._finish.close()
        if self._slots is not None:
            self._slots.close()


def _pixels(images: Any) -> float:  # noqa: ANN401  # a tensor or a list of them
    """Return height times width of all images of a batch."""
    if hasattr(images, "shape"):
        return float(images.shape[0] * images.shape[-1] * images.shape[-2])
    shapes = (image.shape for image in images if image is not None)
    return float(sum(shape[-1] * shape[-2] for shape in shapes))


def _bytes(value: Any) -> int:  # noqa: ANN401  # tensors, and what holds them
    if hasattr(value, "nbytes"):
        return int(value.nbytes)
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    return 0
