"""Threads of one process or worker processes: the same epoch by the same engines.

Photos to normalised batches of 64, with the recipes of the other benchmarks: crop and
flip, and the heavy one. Without workers; in 1, 2 and 4 threads, each with an engine of
its own, whose batches the main thread finishes; in 1, 2 and 4 worker processes. Turns
alternate; every entrant's first epoch is compared bit by bit with the first entrant's.

How much of a sample's time holds the interpreter's lock is looked at from outside: a
process that builds batches in one thread is looked at two thousand times, at random
moments: has its thread the lock? From 1 / share threads on it is never free.
"""

import argparse
import ctypes
import queue
import random
import select
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
import zlib
from collections import deque
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path

import albumentations as A
import cv2

import fiberaug
from fiberaug.batching import BatchFinisher
from fiberaug.parity.timing import cpu_seconds
from fiberaug.transport import Builder, Request

BATCH = 64
RUNTIME_BYTES = 4096
AHEAD = 2  # batches of each thread or worker
TURNS = 5
LOOKS = 2000
MANY = (1, 2, 4)
ENTRANTS = (
    ("no workers", 0),
    *(("threads", n) for n in MANY),
    *(("processes", n) for n in MANY),
)


def pipeline(work):
    heavy = [
        A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
        A.GaussianBlur(sigma_limit=(0.1, 2.0), p=0.5),
        A.ToGray(p=0.2),
    ]
    extra = heavy if work == "heavy" else []
    first = [A.RandomResizedCrop((224, 224)), A.HorizontalFlip(p=0.5)]
    return A.Compose([*first, *extra, A.Normalize()])


def opened(shards, work):
    return fiberaug.StreamingDataset(str(shards), transform=pipeline(work))


def builder(dataset):
    collate = dataset.collate(mode="stack", pad_to=32)
    return Builder(dataset.setup, collate, None, None)


def finisher(dataset, ahead):
    return BatchFinisher(
        dataset, targets="list", output=None, device=None, pin_memory=False, pads=True,
        ahead=ahead,
    )  # fmt: skip


class Threads:
    """Batches built in threads of this process, in order; one engine each."""

    def __init__(self, dataset, threads):
        self._dataset = dataset
        self._asked = queue.SimpleQueue()
        self._finish = finisher(dataset, AHEAD * threads)
        self._ahead = AHEAD * threads
        self._builders = [builder(dataset) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(one,)) for one in self._builders
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, one):
        while (asked := self._asked.get()) is not None:
            request, answer = asked
            answer.put(one[request])

    def epoch(self, number):
        """Yield the batches of an epoch."""
        rows = self._dataset.num_samples
        firsts = iter(range(0, rows, BATCH))
        waiting = deque()
        finish = self._builders[0].engine.finish
        while True:
            for first in islice(firsts, self._ahead - len(waiting)):
                answer = queue.SimpleQueue()
                request = Request(number, first, BATCH, 0, 1, drop_last=False)
                self._asked.put((request, answer))
                waiting.append(answer)
            if not waiting:
                return
            message = waiting.popleft().get()
            assert message.error is None, message.error
            records = self._finish.records(message, number)
            yield self._finish(message, records, finish)

    def close(self):
        """End the threads."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()
        self._finish.close()


class Loader:
    """The loader, without workers or with worker processes."""

    def __init__(self, dataset, workers):
        kept = {"prefetch_factor": AHEAD, "persistent_workers": True}
        self._loader = fiberaug.DataLoader(
            dataset, BATCH, num_workers=workers, **(kept if workers else {})
        )

    def epoch(self, number):
        """Yield the batches of an epoch."""
        self._loader.set_epoch(number)
        yield from self._loader

    def close(self):
        """End the processes."""
        self._loader.close()


def entrant(dataset, kind, number):
    return (Threads if kind == "threads" else Loader)(dataset, number)


def whole(batches):
    """What came, bit by bit."""
    return [
        (zlib.crc32(batch["image"].numpy()), *batch["__key__"]) for batch in batches
    ]


def timed(batches):
    """(images, CPU seconds, seconds) of an epoch, and a little of every image."""
    cpu, wall, seen = cpu_seconds(), time.perf_counter(), []
    images = 0
    for batch in batches:
        images += len(batch["image"])
        seen.append(batch["image"][:, :, 100, 100].numpy().tobytes())
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return images, cpu, wall, zlib.crc32(b"".join(seen))


def race(shards, work, turns):
    """Figures of each entrant; medians of alternating turns."""
    dataset = opened(shards, work)
    rows = {one: [] for one in ENTRANTS}
    with ExitStack() as stack:
        # Processes first: they are forked before there are threads. Who has no turn
        # waits, and costs no CPU time.
        made, known = {}, None
        for one in sorted(ENTRANTS, key=lambda one: one[0] == "threads"):
            made[one] = stack.enter_context(closing(entrant(dataset, *one)))
            found = whole(made[one].epoch(0))
            known = known or found
            assert found == known, f"{one} gives other batches"
        for _ in range(turns):
            for one in ENTRANTS:
                rows[one].append(timed(made[one].epoch(1)))
    assert len({row[3] for found in rows.values() for row in found}) == 1
    assert {row[0] for found in rows.values() for row in found} == {dataset.num_samples}
    return {
        f"{kind} {number}".removesuffix(" 0"): {
            "images_per_cpu_s": figures([row[0] / row[1] for row in found]),
            "images_per_s": figures([row[0] / row[2] for row in found]),
            "cpus": figures([row[1] / row[2] for row in found]),
        }
        for (kind, number), found in rows.items()
    }


def figures(values):
    names = ("median", "low", "high")
    return {
        name: float(f"{of(values):.4g}")
        for name, of in zip(names, (statistics.median, min, max), strict=True)
    }


def bench_threads_or_processes(benchmark, shards):
    turns, looks = (1, 50) if benchmark.disabled else (TURNS, LOOKS)
    found = {}

    def run():
        for work in ("rrc", "heavy"):
            found[work] = race(shards, work, turns)
            found[work]["lock"] = lock_share(shards, work, looks)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        benchmark.pedantic(run, rounds=1)
    finally:
        cv2.setNumThreads(threads)
    benchmark.extra_info |= found
    benchmark.extra_info["free_threaded"] = bool(
        sysconfig.get_config_var("Py_GIL_DISABLED")
    )
    for work, rows in found.items():
        lock = rows["lock"]
        print(f"\n{work}: share of the time that holds the lock: {lock}")
        for name, row in rows.items():
            if name != "lock":
                per_cpu, per_s = row["images_per_cpu_s"], row["images_per_s"]
                print(
                    f"{name:<12} {per_cpu['median']:>6.0f} images per CPU-second"
                    f" ({per_cpu['low']:.0f} to {per_cpu['high']:.0f}),"
                    f" {per_s['median']:>6.0f} a second"
                )


# Who has the lock: CPython 3.11 keeps the thread that has it at one place of the
# runtime's state (gilstate.tstate_current), and nothing there while nobody has it.


def lock_share(shards, work, looks):
    """Share of looks at which a process that builds batches had its lock; or None."""
    if sys.version_info[:2] != (3, 11) or not Path("/proc/self/mem").exists():
        return None
    command = [sys.executable, __file__, str(shards), work]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        start, thread = map(int, child.stdout.readline().split())
        with Path(f"/proc/{child.pid}/mem").open("rb", buffering=0) as memory:

            def names(at):
                memory.seek(at)
                return int.from_bytes(memory.read(8), sys.byteorder) == thread

            places = range(start, start + RUNTIME_BYTES, 8)
            # The child waits for a line: nobody has the lock.
            time.sleep(0.2)
            others = {at for at in places if names(at)}
            child.stdin.write("hold the lock\n")
            child.stdout.readline()
            (place,) = (
                at
                for at in places
                if at not in others and sum(names(at) for _ in range(50)) > 25
            )
            child.stdin.write("build\n")
            child.stdout.readline()
            seen = 0
            for _ in range(looks):
                time.sleep(random.uniform(0.0005, 0.0035))
                seen += names(place)
        child.kill()
    return {"share": round(seen / looks, 3), "looks": looks}


def build_for_ever(shards, work):
    """Build batches in one thread, as a thread of the race does."""
    cv2.setNumThreads(0)
    dataset = opened(shards, work)
    one, finish = builder(dataset), finisher(dataset, AHEAD)
    runtime = ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")
    current = ctypes.pythonapi.PyThreadState_Get
    current.restype = ctypes.c_void_p
    print(ctypes.addressof(runtime), current(), flush=True)
    sys.stdin.readline()
    print("has the lock", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        sum(range(100_000))
    sys.stdin.readline()
    for turn in count():
        if turn == 1:  # what decodes is known, as in every later epoch
            print("builds", flush=True)
        for first in range(0, dataset.num_samples, BATCH):
            message = one[Request(1, first, BATCH, 0, 1, drop_last=False)]
            finish(message, finish.records(message, 1), one.engine.finish)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards")
    parser.add_argument("work", choices=("rrc", "heavy"))
    given = parser.parse_args()
    build_for_ever(given.shards, given.work)
