"""One epoch of photos to normalised batches, against a plain webdataset DataLoader.

The same shards and the same work for both: RandomResizedCrop 224, flip, Normalize,
batches of 64, 2 workers. The rivals alternate; medians of CPU-seconds (user and system
of the process and its workers) and of wall time are reported. FiberAug also checks
CRC-32, keys every draw and keeps a record; the rival does none of that.
"""

import resource
import statistics
import time

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

import fiberaug

WORKERS = 2
BATCH = 64


def pipeline():
    return A.Compose(
        [A.RandomResizedCrop((224, 224)), A.HorizontalFlip(), A.Normalize()]
    )


def ours(shards):
    dataset = fiberaug.StreamingDataset(str(shards), transform=pipeline())
    with fiberaug.DataLoader(dataset, BATCH, num_workers=WORKERS) as loader:
        return sum(len(batch["image"]) for batch in loader if _sound(batch["image"]))


def _work(sample):
    image = cv2.imdecode(np.frombuffer(sample["jpg"], np.uint8), cv2.IMREAD_COLOR_RGB)
    image = _work.compose(image=image)["image"]
    return torch.from_numpy(image.transpose(2, 0, 1).copy()), int(sample["cls"])


def _threads(_worker):
    cv2.setNumThreads(0)
    _work.compose = pipeline()


def plain_webdataset(shards):
    import webdataset as wds  # noqa: PLC0415

    dataset = wds.WebDataset(
        sorted(map(str, shards.glob("*.tar"))),
        shardshuffle=100,
        empty_check=False,
        seed=0,
    )
    dataset = dataset.shuffle(1000).map(_work)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, num_workers=WORKERS, worker_init_fn=_threads
    )
    return sum(len(image) for image, _ in loader if _sound(image))


def _sound(image):
    assert image.dtype == torch.float32
    assert image.shape[1:] == (3, 224, 224)
    return True


def _cpu_s():
    usage = [
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _measure(function, shards):
    cpu, wall = _cpu_s(), time.perf_counter()
    count = function(shards)
    return count, count / (_cpu_s() - cpu), count / (time.perf_counter() - wall)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def bench_against_plain_webdataset(benchmark, shards):
    rivals = {"fiberaug": ours, "webdataset": plain_webdataset}
    rounds = 1 if benchmark.disabled else 5
    figures = {name: [] for name in rivals}

    def alternate():
        for _ in range(rounds):
            for name, function in rivals.items():
                figures[name].append(_measure(function, shards))

    benchmark.pedantic(alternate, rounds=1)
    counts = {name: {count for count, _, _ in rows} for name, rows in figures.items()}
    assert counts["fiberaug"] == counts["webdataset"]
    for name, rows in figures.items():
        per_cpu = statistics.median(row[1] for row in rows)
        per_wall = statistics.median(row[2] for row in rows)
        benchmark.extra_info[f"{name}_images_per_cpu_s"] = round(per_cpu, 1)
        benchmark.extra_info[f"{name}_images_per_s"] = round(per_wall, 1)
        print(
            f"\n{name}: {per_cpu:.0f} images per CPU-second, {per_wall:.0f} per second"
        )
    ratios = [
        a[1] / b[1]
        for a, b in zip(figures["fiberaug"], figures["webdataset"], strict=True)
    ]
    benchmark.extra_info["ratio_cpu_median"] = round(statistics.median(ratios), 3)
    print(
        f"ratio per CPU-second: {statistics.median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f})"
    )
