"""Batches: Kornia's operations one by one, and the same in fused steps.

RandomResizedCrop, flip, ColorJiggle and Normalize on uint8 batches [B, 3, 224, 224],
parameters given: 256 images on a CUDA device, 32 on a CPU (``FIBERAUG_GPU_BATCH``). Of
the units of 16 rows each was drawn by itself, with its own order of colours: Kornia
runs ColorJiggle unit by unit, and once more with one order for the whole batch, which
is the best case for it. Turns alternate; on a device each waits for it inside. A CPU
works in one thread: workers have the others.

The floor of a device is reading uint8 and writing what comes out once, at the speed
at which it copies memory.
"""

import importlib.util
import os
import statistics
import time

import torch
from kornia import augmentation as K

from fiberaug.gpu.fused import fuse, send
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.operation import Part

CUDA = torch.cuda.is_available()
KERNEL = CUDA and importlib.util.find_spec("triton") is not None
DEVICE = torch.device("cuda" if CUDA else "cpu")
BATCH = int(os.environ.get("FIBERAUG_GPU_BATCH", "256" if CUDA else "32"))
UNIT = 16
SIDE = 224
TURNS = 15
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def operations(side):
    return [
        KorniaOperation(module)
        for module in (
            K.RandomResizedCrop((side, side)),
            K.RandomHorizontalFlip(),
            K.ColorJiggle(0.4, 0.4, 0.4, 0.1),
            K.Normalize(MEAN, STD),
        )
    ]


def drawn(each, rows, unit, side):
    """For each operation (rows, parameters) of what can run together."""
    found = []
    starts = range(0, rows, unit)
    for operation in each:
        parts = [Part(unit, operation.draw((unit, 3, side, side))) for _ in starts]
        joined = operation.join(parts)
        if len(joined) == 1:
            found.append([(None, joined[0].params)])
        else:
            places = [list(range(start, start + unit)) for start in starts]
            found.append(
                [(p, one.params) for p, one in zip(places, joined, strict=True)]
            )
    return found


def one_by_one(each, parts, image):
    """Kornia, eager: what each operation gives, unit by unit where it has to be."""
    x = image.float() / 255
    for operation, some in zip(each, parts, strict=True):
        if some[0][0] is None:
            x = operation.run(x, some[0][1])
        else:
            pieces = [operation.run(x[p[0] : p[-1] + 1], one) for p, one in some]
            x = torch.cat(pieces)
    return x


def timed(run):
    """(seconds, CPU seconds) of a run, the device's work inside."""
    if CUDA:
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def copied_bytes_per_s():
    """How fast the device copies memory, read and written bytes together."""
    source = torch.empty(1 << 28, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    best = min(timed(lambda: target.copy_(source))[0] for _ in range(5))
    return 2 * source.nbytes / best


def measured(rows, unit, side, turns):
    each = operations(side)
    torch.manual_seed(0)
    parts = drawn(each, rows, unit, side)
    image = torch.randint(0, 256, (rows, 3, side, side), dtype=torch.uint8)
    (step,) = fuse(each)
    prepare = [
        timed(lambda: step.prepare(parts, tuple(image.shape)))[0] for _ in range(5)
    ]
    prepared = step.prepare(parts, tuple(image.shape))
    on_device = image.to(DEVICE)
    (sent,) = send([prepared], DEVICE)
    entrants = {
        "kornia": lambda: one_by_one(each, parts, on_device),
        "fused": lambda: step.run(on_device, prepared, sent),
        "fused bf16": lambda: step.run(
            on_device, prepared, sent, dtype=torch.bfloat16,
            memory_format=torch.channels_last,
        ),
    }  # fmt: skip
    if KERNEL:
        entrants["kernel bf16"] = lambda: step.run(
            on_device, prepared, sent, dtype=torch.bfloat16,
            memory_format=torch.channels_last, kernel=True,
        )  # fmt: skip
    times = {name: [] for name in entrants}
    for turn in range(turns + 1):
        for name, run in entrants.items():
            took = timed(run)
            if turn:  # the first is for the caches
                times[name].append(took)
    found = {
        name: {
            "ms": [round(pick([t[0] for t in some]) * 1e3, 3) for pick in SPREAD],
            "cpu_ms": round(statistics.median(t[1] for t in some) * 1e3, 3),
            "images_per_s": round(rows / statistics.median(t[0] for t in some)),
        }
        for name, some in times.items()
    }
    for name in list(entrants)[1:]:
        pairs = zip(times["kornia"], times[name], strict=True)
        found[name]["ratio"] = round(
            statistics.median(k[0] / f[0] for k, f in pairs), 2
        )
    found["prepare_us_a_row"] = round(statistics.median(prepare) / rows * 1e6, 1)
    found["sent_bytes_a_row"] = sum(v.nbytes for v in prepared.values()) // rows
    if CUDA:
        rate = copied_bytes_per_s()
        for name in list(entrants)[1:]:
            size = 4 if name == "fused" else 2
            floor = image.numel() * (1 + size) / rate
            found[name]["floor_ms"] = round(floor * 1e3, 3)
    return found, entrants


SPREAD = (statistics.median, min, max)


def bench_fused_batches_against_kornia(benchmark):
    smoke = benchmark.disabled
    rows, side = -(-BATCH // UNIT) * UNIT, SIDE
    if smoke:
        rows, side = 2 * UNIT, 64
    found, checks = {}, []

    def run():
        for name, unit in (("units of 16", UNIT), ("one order", rows)):
            found[name], entrants = measured(rows, unit, side, 1 if smoke else TURNS)
            checks.append(entrants)

    threads = torch.get_num_threads()
    torch.set_num_threads(threads if CUDA else 1)
    try:
        benchmark.pedantic(run, rounds=1)
    finally:
        torch.set_num_threads(threads)
    for entrants in checks:
        wanted, fused = entrants["kornia"](), entrants["fused"]()
        # places to 1e-3 px on noise, colours and the deviations of Normalize behind
        torch.testing.assert_close(fused, wanted, atol=5e-3, rtol=0)
        for name in list(entrants)[2:]:
            rounded = entrants[name]()
            torch.testing.assert_close(rounded, fused.bfloat16(), atol=4e-2, rtol=0)
    benchmark.extra_info |= found
    benchmark.extra_info |= {
        "device": torch.cuda.get_device_name() if CUDA else "cpu",
        "threads": threads if CUDA else 1,
        "batch": rows,
    }
    for name, entrants in found.items():
        print(f"\n{name}, {rows} images on {DEVICE}:")
        for entrant, figures in entrants.items():
            print(f"  {entrant}: {figures}")
