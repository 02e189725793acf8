"""What keyed randomness and the record cost a sample, packed as a worker sends it.

The same pipeline object runs on the same image without and with FiberAug's engine: the
difference holds the key, the reseeding, the log of every leaf, the packed record and
its share of the pickled message.
"""

import gc
import pickle
import statistics
import time
from functools import partial

import albumentations as A
import numpy as np

import fiberaug
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.record import PackedRecord, RecordContext, Records
from fiberaug.seeding import ShardUids, key

SAMPLES = 2000
BATCH = 64
ROUNDS = 7

LEAVES = (
    A.HorizontalFlip(p=1),
    A.RandomBrightnessContrast(p=1),
    A.VerticalFlip(p=1),
    A.RandomGamma(p=1),
    A.Transpose(p=1),
    A.InvertImg(p=1),
    A.Solarize(p=1),
    A.Posterize(p=1),
)


def _plain(compose, image):
    for _ in range(SAMPLES):
        compose(image=image)


def _recorded(engine, image):
    uids, fields = ShardUids("real", "a.tar"), {"image": image}
    messages = []
    for first in range(0, SAMPLES, BATCH):
        packed = []
        for i in range(first, min(first + BATCH, SAMPLES)):
            uid = uids(i)
            operations = engine(fields, partial(key, 0, 0, uid, 0, 0)).operations
            packed.append(
                ("k", "a.tar", i, uid, i, 0, 0, (16, 16, 3), 1, operations, "")
            )
        messages.append(pickle.dumps(packed))
    return messages


def _us(function, *args):
    started = time.process_time()
    function(*args)
    return (time.process_time() - started) / SAMPLES * 1e6


def _cost(leaves):
    image = np.zeros((16, 16, 3), np.uint8)
    compose = A.Compose(list(leaves))
    engine = CpuEngine(as_pipeline(compose), ["image"])
    _plain(compose, image)
    _recorded(engine, image)
    gc.collect()
    gc.freeze()  # as a worker does
    pairs = [
        (_us(_plain, compose, image), _us(_recorded, engine, image))
        for _ in range(ROUNDS)
    ]
    return statistics.median(b - a for a, b in pairs), engine, image


def _context(engine):
    return RecordContext(
        epoch=0, seed=0, origin="real", decoder={}, unit=16, recipe="", environment="",
        replayable=True, leaves=tuple(engine.leaves),
    )  # fmt: skip


def _bench(benchmark, leaves):
    cost, engine, image = benchmark.pedantic(_cost, args=(leaves,), rounds=1)
    batches = _recorded(engine, image)
    packed = [p for batch in batches for p in pickle.loads(batch)]  # noqa: S301
    context = _context(engine)
    started = time.process_time()
    texts = Records(packed, context).texts()
    text = (time.process_time() - started) / SAMPLES * 1e6
    assert len(packed) == SAMPLES
    assert all(len(PackedRecord(*p).operations) == len(leaves) for p in packed)
    assert texts[0].count('"name"') == len(leaves)
    benchmark.extra_info["operations"] = len(leaves)
    benchmark.extra_info["packed_us_per_sample"] = round(cost, 2)
    benchmark.extra_info["text_us_per_sample"] = round(cost + text, 2)
    print(
        f"\n{len(leaves)} operations: {cost:.1f} us packed,"
        f" {cost + text:.1f} us as text"
    )


def bench_record_of_1_operation(benchmark):
    _bench(benchmark, LEAVES[:1])


def bench_record_of_4_operations(benchmark):
    _bench(benchmark, LEAVES[:4])


def bench_record_of_8_operations(benchmark):
    _bench(benchmark, LEAVES)


def bench_share_of_an_epoch(benchmark, shards):
    """What key, log and record are of a whole epoch, from shard to batch."""
    leaves = (A.RandomResizedCrop((224, 224)), A.HorizontalFlip(), A.Normalize())
    data = fiberaug.StreamingDataset(shards, transform=A.Compose(list(leaves)))

    def epoch():
        with fiberaug.DataLoader(data, BATCH) as loader:
            return sum(len(batch["image"]) for batch in loader)

    def ours():
        started = time.process_time()
        count = epoch()
        return (time.process_time() - started) / count * 1e6

    cost, _, _ = _cost((A.RandomCrop(8, 8), A.HorizontalFlip(p=0.5)))
    epoch()  # from now on it is known that the photos decode
    whole = benchmark.pedantic(
        lambda: statistics.median(ours() for _ in range(ROUNDS)), rounds=1
    )
    benchmark.extra_info["cost_us_per_sample"] = round(cost, 2)
    benchmark.extra_info["whole_us_per_sample"] = round(whole, 1)
    benchmark.extra_info["on_over_off"] = round(whole / (whole - cost), 3)
    print(f"\n{cost:.1f} of {whole:.0f} us: {whole / (whole - cost):.3f} times")
