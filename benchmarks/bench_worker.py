"""What a long run and a large set cost a loader: memory, resuming, the record.

Shards are hard links to a few of CIFAR-10's size, so that a hundred million samples
take no room; every link is a shard of its own to FiberAug.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

import fiberaug
from fiberaug.jobs.indexing import index_shards

HERE = Path(__file__).parent


def linked(folder, shards, samples):
    """A set of ``shards`` shards of ``samples`` tiny JPEGs each; 1 is made."""
    first = folder / "first"
    noise = np.random.default_rng(0)
    with fiberaug.ShardWriter(first, shard_size="1GB", encoding="jpeg") as writer:
        for i in range(samples):
            image = cv2.resize(noise.integers(0, 256, (8, 8, 3), np.uint8), (32, 32))
            writer.write({"__key__": f"{i:06d}", "image": image, "label": i % 10})
    (tar,) = first.glob("*.tar")
    index_shards(str(tar), decode=True)
    many = folder / "many"
    many.mkdir()
    for i in range(shards):
        os.link(tar, many / f"s-{i:06d}.tar")
        os.link(f"{tar}.idx", many / f"s-{i:06d}.tar.idx")
    return many


def asked(folder, *arguments):
    """Run this file as a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, str(folder), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def bench_memory_of_a_worker_over_50_000_samples(benchmark, tmp_path):
    shards, samples, batches = (2, 200, 3) if benchmark.disabled else (10, 10_000, 800)
    folder = linked(tmp_path, shards, samples)
    rows = benchmark.pedantic(
        asked, (folder, "grow", batches), rounds=1, warmup_rounds=0
    )
    benchmark.extra_info |= rows
    assert rows["samples"] == batches * 64
    print("\n", rows)


def bench_a_hundred_million_samples(benchmark, tmp_path):
    shards, samples = (20, 100) if benchmark.disabled else (10_000, 10_000)
    large = linked(tmp_path, shards, samples)
    small = linked(tmp_path / "small", 1, samples)
    one = asked(small, "grow", 20)
    rows = benchmark.pedantic(asked, (large, "grow", 20), rounds=1, warmup_rounds=0)
    rows["more_than_one_shard_mb"] = rows["last_mb"] - one["last_mb"]
    benchmark.extra_info |= rows
    print("\n", rows)


def bench_resuming_at_a_million(benchmark, tmp_path):
    shards, samples = (20, 100) if benchmark.disabled else (120, 10_000)
    folder = linked(tmp_path, shards, samples)
    far = 1_024 if benchmark.disabled else 1_000_000
    figures = {"at_0_s": [], f"at_{far}_s": []}

    def alternate():
        for _ in range(1 if benchmark.disabled else 7):
            for position, name in zip((0, far), figures, strict=True):
                figures[name].append(asked(folder, "resume", position)["first_s"])

    benchmark.pedantic(alternate, rounds=1)
    medians = {name: float(np.median(row)) for name, row in figures.items()}
    start, later = medians.values()
    benchmark.extra_info |= medians | {"ratio": round(later / start, 3)}
    print("\n", benchmark.extra_info)


def _loader(folder, workers):
    import albumentations as A  # noqa: PLC0415  # only in the process that is measured

    transform = A.Compose(
        [A.RandomResizedCrop((32, 32)), A.HorizontalFlip(), A.Normalize()]
    )
    data = fiberaug.StreamingDataset(folder, transform=transform)
    return fiberaug.DataLoader(data, 64, num_workers=workers, persistent_workers=True)


def _grow(folder, batches):
    """Memory of a worker after a tenth of the batches, and after all."""
    import psutil  # noqa: PLC0415

    def resident():
        children = psutil.Process().children()
        return max(c.memory_full_info().uss for c in children) / 1e6

    count, first = 0, 0.0
    with _loader(folder, 2) as loader:
        while count < batches:
            for batch in loader:
                assert len(batch["image"]) == 64 or loader.end_of_dataloader
                count += 1
                if count == max(1, batches // 10):
                    first = resident()
                if count == batches:
                    return {
                        "samples": count * 64, "first_mb": first,
                        "last_mb": resident(), "grown_mb": resident() - first,
                        "set": loader.dataset.num_samples,
                    }  # fmt: skip
    raise AssertionError


def _resume(folder, position):
    """Seconds from the state to the first batch, everything imported and open."""
    import time  # noqa: PLC0415

    with _loader(folder, 2) as loader:
        next(iter(loader))
    with _loader(folder, 2) as loader:
        state = {**loader.state_dict(), "position": position}
        started = time.perf_counter()
        loader.load_state_dict(state)
        next(iter(loader))
        return {"first_s": time.perf_counter() - started}


if __name__ == "__main__":
    place, what, number = sys.argv[1:]
    tell = {"grow": _grow, "resume": _resume}[what]
    sys.stdout.write(json.dumps(tell(place, int(number))))
