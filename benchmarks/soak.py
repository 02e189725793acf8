"""Two ranks read millions of tiny samples while processes are killed at random.

    python benchmarks/soak.py --samples 2000000 --plot docs/soak.png --json out.json
    python benchmarks/soak.py --samples 100000 --kills 2 --http

Every few seconds the memory (USS), descriptors and threads of all processes are noted.
Workers and main processes are killed during the first half; as a launcher would, the
rest of the group is then ended and all ranks start again from the last state that all
of them have. At the end the accepted chunks hold every sample exactly once, or the run
fails. ``--http`` puts a web server between, which is away every few seconds, and a
cache that is smaller than the set.
"""

import argparse
import json
import multiprocessing
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from soak_plot import most, plot, table
from soak_rank import read

import fiberaug

RANKS = 2
_HERE = Path(__file__).parent


def write_set(folder: Path, samples: int) -> None:
    """Write the samples: images of 8 x 8 pixels, about 1,000 to a shard."""

    def rows() -> Iterator[dict[str, Any]]:
        for i in range(samples):
            pixels = np.frombuffer(i.to_bytes(4, "little") * 48, np.uint8)
            yield {"__key__": f"k{i:08d}", "image": pixels.reshape(8, 8, 3)}

    fiberaug.convert(rows(), folder, shard_size="1MB", progress=False)


class Group:
    """The ranks of one start, and what was noted of their processes."""

    def __init__(self, shards: str, journal: Path, options: dict[str, Any]) -> None:
        self.start = accepted(journal)
        context = multiprocessing.get_context("spawn")
        self._ranks = [
            context.Process(
                target=read, args=(shards, journal, rank, RANKS, self.start, options)
            )
            for rank in range(RANKS)
        ]
        for process in self._ranks:
            process.start()

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Return (``main 0`` or ``worker 0``, process) of all that run."""
        found = []
        for rank, process in enumerate(self._ranks):
            try:
                main = psutil.Process(process.pid)
                found.append((f"main {rank}", main))
                found += [(f"worker {rank}", child) for child in main.children()]
            except psutil.Error:
                continue
        return found

    def codes(self) -> list[int | None]:
        """Return the exit code of each rank, None while it runs."""
        return [process.exitcode for process in self._ranks]

    def end(self) -> None:
        """Kill what is left of the group."""
        alive = self.processes()
        for process in self._ranks:
            process.kill()
            process.join()
        _, left = psutil.wait_procs([process for _, process in alive], timeout=10)
        assert not left, f"processes outlive their main process: {left}"


def accepted(journal: Path) -> int:
    """Return the last position that all ranks have; remove what lies after it."""
    states = [re.fullmatch(r"(\d+)-(\d+)\.json", p.name) for p in journal.iterdir()]
    reached = [
        {int(match[2]) for match in states if match and int(match[1]) == rank}
        for rank in range(RANKS)
    ]
    position = max(set.intersection(*reached), default=0)
    for path in journal.iterdir():
        match = re.fullmatch(r"\d+-(\d+)\.(npy|json)", path.name)
        if match is None or int(match[1]) > position:
            path.unlink()
    return position


def note(group: Group, started: float, cache: Path | None) -> list[dict[str, Any]]:
    """Return one row for each process."""
    rows = []
    cached = 0 if cache is None else sum(p.stat().st_size for p in _objects(cache))
    for name, process in group.processes():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            rows.append({
                "s": round(time.monotonic() - started, 1), "name": name,
                "pid": process.pid, "start": group.start,
                "uss_mib": round(process.memory_full_info().uss / 2**20, 2),
                "descriptors": process.num_fds(), "threads": process.num_threads(),
                "cache_mib": round(cached / 2**20, 1),
            })  # fmt: skip
        except psutil.Error:
            continue
    return rows


def _objects(cache: Path) -> Iterator[Path]:
    for path in cache.rglob("*.data"):
        if path.exists():
            yield path


def soak(shards: str, journal: Path, asked: argparse.Namespace, cache: Path | None):
    """Read the epoch to its end; return the rows noted and the kills."""
    rng, rows, kills = random.Random(asked.seed), [], []
    options = {name: getattr(asked, name) for name in ("workers", "every", "method")}
    if cache is not None:
        options |= {"cache_dir": str(cache), "cache_limit": asked.cache}
    started = time.monotonic()
    group = Group(shards, journal, options)
    due = [asked.samples * (k + 1) / (2 * asked.kills) for k in range(asked.kills)]
    try:
        while any(code is None for code in group.codes()):
            time.sleep(asked.sample_s)
            rows += note(group, started, cache)
            position = max(
                [int(p.stem.split("-")[1]) for p in journal.glob("0-*.json")] or [0]
            )
            victims = group.processes()
            if due and victims and position >= max(due[0], group.start + 1):
                due.pop(0)
                name, process = rng.choice(victims)
                process.kill()
                kills.append({"s": round(time.monotonic() - started, 1), "name": name})
            if any(code not in {None, 0} for code in group.codes()):
                codes = group.codes()
                group.end()
                assert len(kills) > sum(k.get("codes") is not None for k in kills), (
                    f"a rank failed and nobody was killed: {codes}"
                )
                kills[-1]["codes"] = codes
                group = Group(shards, journal, options)
    finally:
        group.end()
    return rows, kills, time.monotonic() - started


def check(journal: Path, samples: int) -> None:
    """Fail unless the accepted chunks hold every sample exactly once."""
    chunks = [np.load(path) for path in sorted(journal.glob("*.npy"))]
    times = np.bincount(np.concatenate(chunks), minlength=samples)
    assert len(times) == samples, f"{len(times)} sample numbers, not {samples}"
    wrong = np.flatnonzero(times != 1)
    assert not len(wrong), f"{len(wrong)} samples lost or repeated, as {wrong[:5]}"


def arguments() -> argparse.Namespace:
    """Return what was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2_000_000)
    parser.add_argument("--workers", type=int, default=2, help="of a rank")
    parser.add_argument("--method", default="fork", help="of starting workers")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--every", type=int, default=100, help="batches of a chunk")
    parser.add_argument("--sample-s", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--cache", default="150MB", help="its limit")
    parser.add_argument("--folder", type=Path, help="keep and reuse the shards here")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Soak, check, print the table, write JSON and plot."""
    asked = arguments()
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    shards = (asked.folder or work) / f"tiny-{asked.samples}"
    server = None
    try:
        if not (shards / "dataset.json").exists():
            shutil.rmtree(shards, ignore_errors=True)
            write_set(shards, asked.samples)
        (work / "journal").mkdir()
        source, cache = str(shards), None
        if asked.http:
            server = subprocess.Popen(
                [sys.executable, _HERE / "flapping.py", shards],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert server.stdout is not None
            source = f"http://127.0.0.1:{int(server.stdout.readline())}/"
            cache = work / "cache"
        rows, kills, wall_s = soak(source, work / "journal", asked, cache)
        check(work / "journal", asked.samples)
        tars = shards.glob("*.tar")
        figures = {
            "asked": {k: str(v) if isinstance(v, Path) else v
                      for k, v in vars(asked).items()},
            "wall_s": round(wall_s, 1), "kills": kills,
            "sent_mib": _sent(shards) if asked.http else None,
            "set_mib": round(sum(p.stat().st_size for p in tars) / 2**20, 1),
            "most": most(rows), "table": table(rows, asked.samples),
        }  # fmt: skip
        text = json.dumps(figures, indent=1)
        print(text)
        if asked.json is not None:
            asked.json.write_text(text + "\n")
        if asked.plot is not None:
            plot(rows, kills, asked.plot)
    finally:
        if server is not None:
            server.send_signal(signal.SIGKILL)
            server.wait()
        shutil.rmtree(work, ignore_errors=True)


def _sent(shards: Path) -> float:
    return round(int((shards / ".sent").read_text()) / 2**20, 1)


if __name__ == "__main__":
    main()
