"""What 10 billion samples in a million shards cost a rank, a worker and a node.

The real code opens a real ``dataset.json``; only the shards behind the first are not
there, since nothing reads them. Traffic is the real order asked where every sample of
a node lies: over a whole epoch for one node, over a stretch of it for others, and the
page (docs/scale.md) shows that a stretch extrapolates.

    python benchmarks/simulate_scale.py --json out.json
    python benchmarks/simulate_scale.py --shards 500 --samples 300 --ranks 64 --whole 1
"""

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import psutil

import fiberaug
from fiberaug.engine import Engine
from fiberaug.making import Setup
from fiberaug.order import EpochOrder
from fiberaug.plan import Plan
from fiberaug.shards.manifest import FILE, Manifest, ShardEntry
from fiberaug.sharing import rank_range, steps

RANKS_PER_NODE = 8
Figures = dict[str, Any]


def uss_mib() -> float:
    """Return the memory that this process alone has, MiB."""
    return psutil.Process().memory_full_info().uss / 2**20


class Cost:
    """CPU seconds and MiB of a block."""

    def __enter__(self) -> Self:
        self._mib, self._s = uss_mib(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.s = round(time.process_time() - self._s, 4)
        self.mib = round(uss_mib() - self._mib, 1)


def describe_set(folder: Path, shards: int, samples: int, shard_bytes: int) -> None:
    """Write one shard of 8 samples, and a ``dataset.json`` that lists ``shards``."""
    image = np.zeros((8, 8, 3), np.uint8)
    few = ({"__key__": f"k{i}", "image": image, "label": 0} for i in range(8))
    fiberaug.convert(few, folder, progress=False)
    written = Manifest.read(folder)
    rest = (
        ShardEntry(
            name=f"s-{i:07d}.tar", bytes=shard_bytes, samples=samples,
            sha256=hashlib.sha256(b"%d" % i).hexdigest(), index_crc32=f"{i:08x}",
            counts={"0": samples},
        )
        for i in range(1, shards)
    )  # fmt: skip
    listed = replace(written, shards=(*written.shards, *rest))
    (folder / FILE).write_bytes(listed.to_bytes())


def main_process(dataset: fiberaug.StreamingDataset) -> Figures:
    """Return what the main process of a rank pays after opening."""
    with Cost() as first:
        state = dataset.state(3, dataset.plan.n // 2)
    with Cost() as next_one:
        dataset.state(3, dataset.plan.n // 2)
    with Cost() as pickling:
        data = pickle.dumps(dataset.setup)
    with Cost() as unpickling:
        pickle.loads(data)  # noqa: S301  # written one line above
    return {
        "state_bytes": len(json.dumps(state)),
        "first_state_ms": round(1e3 * first.s, 1),
        "next_state_ms": round(1e3 * next_one.s, 1),
        "to_workers_mib": round(len(data) / 2**20, 1),
        "pickle_s": pickling.s,
        "unpickle_s": unpickling.s,
    }


def _worker(setup: Setup, middle: int, rows: int, answer: Any) -> None:
    # No collection before: it copies every page that a forked child shares.
    with Cost() as order:
        engine = Engine(setup)
        epoch = engine.order(0)
    with Cost() as seek:
        for position in range(middle, middle + rows):
            epoch.locate(position)
    alone = uss_mib()
    gc.collect()
    answer.send({
        "order_s": order.s, "order_mib": order.mib, "seek_ms": round(1e3 * seek.s, 2),
        "uss_mib": round(alone, 1), "uss_collected_mib": round(uss_mib(), 1),
    })  # fmt: skip


def worker_process(setup: Setup, method: str, rows: int) -> Figures:
    """Return what a worker pays until the first batch in the middle is located."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_worker, args=(setup, setup.plan.dealt // 2, rows, theirs)
    )
    started = time.perf_counter()
    process.start()
    theirs.close()  # else a worker that fails is waited for
    answer = ours.recv()
    process.join()
    return {"start_to_located_s": round(time.perf_counter() - started, 2), **answer}


class Traffic:
    """Which shards the ranks of a node touch.

    Args:
        order: The order of an epoch.
        ranks: Ranks of the cluster, R.
        batch: Rows of a rank's batch.
    """

    def __init__(self, order: EpochOrder, plan: Plan, ranks: int, batch: int) -> None:
        self._order, self._plan, self._ranks = order, plan, ranks
        self._size = batch * ranks
        self.steps = steps(plan.dealt, self._size, drop_last=False)

    def shards(self, node: int, first: int, count: int) -> tuple[int, int, int]:
        """Return what a node touches in ``count`` global batches.

        Returns:
            Distinct shards of the first half of the batches, of all, and samples.
        """
        ranks = range(node * RANKS_PER_NODE, (node + 1) * RANKS_PER_NODE)
        touched = np.zeros(len(self._plan.counts or ()), bool)
        samples = half = 0
        for k in range(first, min(first + count, self.steps)):
            if k == first + count // 2:
                half = int(touched.sum())
            for rank in ranks:
                here, _ = rank_range(self._plan.dealt, self._size, k, rank, self._ranks)
                samples += len(here)
                for position in here:
                    touched[self._order.locate(position)[0]] = True
        return half, int(touched.sum()), samples

    def batches(self, windows: int) -> int:
        """Return in how many global batches a lane goes on by so many windows."""
        places = windows * self._plan.window * (self._plan.lanes or 1)
        return max(2, min(self.steps // 2, places // self._size))

    def lanes(self, node: int) -> int:
        """Return how many lanes a node reads in one global batch in the middle."""
        read = set()
        for rank in range(node * RANKS_PER_NODE, (node + 1) * RANKS_PER_NODE):
            here, _ = rank_range(
                self._plan.dealt, self._size, self.steps // 2, rank, self._ranks
            )
            read |= {p // self._plan.unit % (self._plan.lanes or 1) for p in here}
        return len(read)

    def skew(self) -> Figures:
        """Return rows and padding of the ranks over an epoch."""
        last = [
            rank_range(self._plan.dealt, self._size, self.steps - 1, r, self._ranks)
            for r in range(self._ranks)
        ]
        whole = (self.steps - 1) * (self._size // self._ranks)
        rows = [whole + len(positions) for positions, _ in last]
        return {
            "steps_of_every_rank": self.steps,
            "samples_of_a_rank": [min(rows), max(rows)],
            "padding_rows_in_all": sum(pads for _, pads in last),
            "distinct_steps": len({len(p) + pads for p, pads in last}),
        }


def traffic(
    plan: Plan, *, ranks: int, batch: int, nodes: list[int], windows: int, whole: int
) -> Figures:
    """Return shards that nodes touch, in a stretch and in a whole epoch."""
    with Cost() as cost:
        order = EpochOrder(plan, 0)
    asked = Traffic(order, plan, ranks, batch)
    shards = len(plan.counts or ())
    first, stretch = asked.steps // 3, asked.batches(windows)
    sampled: list[Figures] = []
    for node in nodes:
        half, touched, samples = asked.shards(node, first, stretch)
        # Both counts have the same shards too many at their ends, so the difference
        # is the rate.
        rate = (touched - half) / (stretch - stretch // 2)
        sampled.append({
            "node": node, "lanes": asked.lanes(node), "samples": samples,
            "shards": touched,
            "shards_of_an_epoch": round(min(shards, rate * asked.steps)),
        })  # fmt: skip
    exact: list[Figures] = []
    for node in nodes[:whole]:
        started = time.process_time()
        _, touched, samples = asked.shards(node, 0, asked.steps)
        exact.append({
            "node": node, "samples": samples, "shards": touched,
            "cpu_s": round(time.process_time() - started, 1),
        })  # fmt: skip
    most = max(1, ranks // RANKS_PER_NODE)
    mean = float(np.mean([row["shards_of_an_epoch"] for row in sampled]))
    return {
        "lanes": plan.lanes,
        "order_s": cost.s,
        "order_mib": cost.mib,
        "sampled": sampled,
        "whole_epoch": exact,
        "times_a_shard_is_fetched_by_the_cluster": round(mean * most / shards, 2),
        **asked.skew(),
    }


def arguments() -> argparse.Namespace:
    """Return what was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=10_000, help="of a shard")
    parser.add_argument("--shard-bytes", type=int, default=1_000_000_000)
    parser.add_argument("--ranks", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64, help="rows of a rank")
    parser.add_argument("--nodes", type=int, default=4, help="how many are sampled")
    parser.add_argument("--windows", type=int, default=32, help="of a lane, sampled")
    parser.add_argument("--whole", type=int, default=0, help="nodes over a whole epoch")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write JSON."""
    asked = arguments()
    wide = asked.batch * asked.ranks // 16
    rng = np.random.default_rng(0)
    nodes = max(1, asked.ranks // RANKS_PER_NODE)
    chosen = sorted(rng.choice(nodes, min(asked.nodes, nodes), replace=False).tolist())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        describe_set(folder, asked.shards, asked.samples, asked.shard_bytes)
        size = (folder / FILE).stat().st_size
        fiberaug.StreamingDataset  # noqa: B018  # its imports are not what is measured
        gc.collect()
        with Cost() as opening:
            dataset = fiberaug.StreamingDataset(str(folder))
            gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures: Figures = {
            "asked": {k: str(v) if k == "json" else v for k, v in vars(asked).items()},
            "samples": dataset.plan.n,
            "dataset_json_mib": round(size / 2**20, 1),
            "open_s": opening.s,
            "open_mib": opening.mib,
            "peak_mib": round(peak),
            **main_process(dataset),
        }
    for method in ("fork", "spawn"):
        figures[f"worker_{method}"] = worker_process(dataset.setup, method, asked.batch)
    for lanes in (dataset.plan.lanes, wide):
        figures[f"traffic_{lanes}_lanes"] = traffic(
            replace(dataset.plan, lanes=lanes), ranks=asked.ranks, batch=asked.batch,
            nodes=chosen, windows=asked.windows, whole=asked.whole,
        )  # fmt: skip
    figures["versions"] = {p: version(p) for p in ("fiberaug", "numpy", "torch")}
    text = json.dumps(figures, indent=1)
    print(text)
    if asked.json is not None:
        asked.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
