"""What it costs to mix a pool in, against one set of the same size.

The pool is a copy of the set, so both streams decode and augment images of one kind,
and the difference is the mixing itself: the table of the epoch, finding who has a
position, the identity by key. Rounds alternate; times are CPU time of this process.
"""

import statistics
import time

import albumentations as A
import numpy as np

import fiberaug
from fiberaug.engine import Engine

ROUNDS = 7
POSITIONS = 1500


def _small(folder, samples):
    with fiberaug.ShardWriter(folder, encoding="jpeg", shard_size="4MB") as writer:
        for i in range(samples):
            image = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
            writer.write({"__key__": f"{i:06d}", "image": image, "label": i % 10})
    return folder


def _seconds(dataset, positions, epoch):
    engine = Engine(dataset.setup)
    started = time.process_time()
    for position in range(positions):
        engine.deliver(epoch, position)
    return time.process_time() - started


def _cost(folder, transform, positions):
    plain = fiberaug.StreamingDataset(str(folder), transform=transform)
    mixed = fiberaug.StreamingDataset(
        str(folder), transform=transform, mix=fiberaug.Mix(str(folder), ratio=0.25)
    )
    positions = min(positions, plain.num_samples)
    for dataset in (plain, mixed):
        # That an image decodes is learnt in the first epochs, and of a pool, of which
        # an epoch has but a part, later: here it is known of all from the start.
        for shard, ref in enumerate(dataset.setup.refs):
            for index in range(ref.samples):
                dataset.setup.proven.add(shard, index)
        _seconds(dataset, min(100, positions), 0)
    ratios = []
    for epoch in range(ROUNDS):
        pair = [plain, mixed][:: 1 if epoch % 2 else -1]
        taken = {id(one): _seconds(one, positions, epoch) for one in pair}
        ratios.append(taken[id(mixed)] / taken[id(plain)])
    return statistics.median(ratios), mixed


def _bench(benchmark, folder, transform, positions):
    ratio, mixed = benchmark.pedantic(
        _cost, args=(folder, transform, positions), rounds=1
    )
    engine = Engine(mixed.setup)
    origins = [engine.order(0).deal(k).source for k in range(400) if k < mixed.plan.n]
    asked = mixed.mixture.asked(0, 0, len(origins))["synthetic"]
    assert abs(sum(o is not None for o in origins) - asked) < 1
    benchmark.extra_info["cost_of_mixing_percent"] = round(100 * (ratio - 1), 2)
    benchmark.extra_info["rounds"] = ROUNDS


def bench_photos_cropped_and_flipped(benchmark, shards):
    transform = A.Compose(
        [A.RandomResizedCrop((224, 224)), A.HorizontalFlip(), A.Normalize()]
    )
    _bench(benchmark, shards, transform, POSITIONS)


def bench_thumbnails_as_they_are(benchmark, tmp_path, request):
    smoke = request.config.getoption("--benchmark-disable")
    folder = _small(tmp_path / "small", 300 if smoke else 20_000)
    _bench(benchmark, folder, None, 20_000)
