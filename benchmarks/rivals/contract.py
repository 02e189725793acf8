"""What all rivals are measured by: one loop, the CPU-seconds of every process, facts.

A rival is a script beside this file. It hands :func:`main` a function that opens its
loader; the rest is here, so that nobody measures himself. It runs in an environment of
its own, so this file needs nothing but NumPy.

    python benchmarks/rivals/run_webdataset.py rrc .bench/inputs/clothing

warms up for a whole epoch, times further ones, and prints JSON. Every batch of the
timed part is looked at for shape, type and layout; of every fourth one a thumbnail is
kept, and judged by :mod:`checks` in the driver.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import probes

__all__ = ["TASKS", "Absent", "Facts", "Job", "Loader", "main", "read_samples"]

WORKERS = 2
TASKS = {"rrc": 64, "heavy": 64, "detection": 16}
"""Rows of a batch by kind of work; other tasks are one of these on another input."""

SIDES = {"rrc": 224, "heavy": 224, "detection": 640}
_TICKS = os.sysconf("SC_CLK_TCK")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans of ours stay in our tree


class Absent(Exception):
    """The rival cannot do this work here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is asked of a rival."""

    work: str
    """``rrc``, ``heavy`` or ``detection``."""

    input: Path
    """Folder with ``shards/*.tar`` and ``folder/<label>/*.jpg``."""

    form: str = ""
    """Which of several forms of one rival; empty: its only one."""

    workers: int = WORKERS
    """Processes or threads that make batches."""

    @property
    def batch(self) -> int:
        """Rows of a batch."""
        return TASKS[self.work]

    @property
    def side(self) -> int:
        """Height and width of what is delivered, px."""
        return SIDES[self.work]

    @property
    def shards(self) -> list[str]:
        """Paths of the tar shards."""
        return sorted(str(path) for path in (self.input / "shards").glob("*.tar"))

    @property
    def photos(self) -> int:
        """Photos of an epoch."""
        return self.about["photos"]

    @property
    def about(self) -> dict[str, Any]:
        """What the driver noted of the input."""
        return json.loads((self.input / "input.json").read_text())

    def converted(self, name: str) -> Path:
        """Folder for this input in a format of a rival's own."""
        return self.input / name


class Loader(Protocol):
    """An open loader; its processes or threads stay from epoch to epoch."""

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        """Yield an epoch's batches: ``image``, ``label``; or ``bboxes``, ``mask``."""

    def close(self) -> None:
        """End what the loader started."""


def read_samples(shards: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key and members by extension, in the order of the shards."""
    for shard in shards:
        with tarfile.open(shard) as tar:
            key, members = "", {}
            for entry in tar:
                stem, _, extension = entry.name.partition(".")
                if stem != key and members:
                    yield key, members
                    members = {}
                key = stem
                members[extension] = tar.extractfile(entry).read()
            if members:
                yield key, members


def tree_cpu_s() -> float:
    """Return user and system seconds of this process and of all that it started."""
    parents: dict[int, list[int]] = {}
    used: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except OSError:
            continue  # it ended meanwhile; its parent has its seconds
        words = text.rpartition(")")[2].split()  # the name may hold spaces
        parents.setdefault(int(words[1]), []).append(int(folder.name))
        used[int(folder.name)] = (
            sum(map(int, words[11:13])),
            sum(map(int, words[13:15])),
        )
    ticks, left = 0, [os.getpid()]
    while left:
        pid = left.pop()
        ticks += sum(used.get(pid, (0, 0)))
        left += parents.get(pid, [])
    return ticks / _TICKS


class Facts:
    """What was delivered, for the check after the timing."""

    def __init__(self, work: str) -> None:
        self.images = 0
        self.layouts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self._work, self._thumbnails, self._batches = work, [], 0

    def see(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Look at a batch: what the timed loop does, and little of it."""
        image = _array(batch["image"])
        flat = "" if image.flags.c_contiguous else " strided"
        self.layouts[f"{image.dtype} {list(image.shape[1:])}{flat}"] += len(image)
        self.images += len(image)
        if self._batches % 4 == 0:
            self._thumbnails.append(image[:, :, ::16, ::16].astype(np.float32))
        self._batches += 1
        return image

    def study(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Look closer, outside of the timing."""
        image = self.see(batch)
        if self._work != "detection":
            labels = _array(batch["label"])
            if len(labels) != len(image):
                raise ValueError(f"{len(image)} images, {len(labels)} labels")
            self.labels.update(str(int(label)) for label in labels)
        return image

    def __call__(self) -> dict[str, Any]:
        """Return the facts as JSON takes them."""
        sides = {thumbnail.shape[1:] for thumbnail in self._thumbnails}
        facts = {"images": self.images, "layouts": dict(self.layouts)}
        if len(sides) == 1:
            pixels = np.concatenate(self._thumbnails)
            facts["mean"] = [round(float(v), 4) for v in pixels.mean((0, 2, 3))]
            facts["std"] = [round(float(v), 4) for v in pixels.std((0, 2, 3))]
        return facts | ({"labels": dict(self.labels)} if self.labels else {})


def _array(values: Any) -> np.ndarray:
    return values.numpy() if hasattr(values, "numpy") else np.asarray(values)


def _time(loader: Loader, job: Job, images: int, warmup: int) -> dict[str, Any]:
    first, textures = Facts(job.work), []
    while first.images < warmup:
        before = first.images
        for batch in loader.epoch():
            image = first.study(batch)
            if sum(map(len, textures)) < 1024:
                textures.append(probes.texture(image))
        if first.images == before:
            raise ValueError("an epoch without a batch")
    timed = Facts(job.work)
    gc.collect()
    cpu, wall = tree_cpu_s(), time.perf_counter()
    while timed.images < images:
        for batch in loader.epoch():
            timed.see(batch)
    wall, cpu = time.perf_counter() - wall, tree_cpu_s() - cpu
    return {
        "images": timed.images, "cpu_s": round(cpu, 3), "wall_s": round(wall, 4),
        "timed": timed(), "warmup": first(), "texture": probes.summary(textures),
    }  # fmt: skip


def _probe(loader: Loader, job: Job) -> dict[str, Any]:
    facts, rows = Facts(job.work), []
    for batch in loader.epoch():
        rows += probes.measure(facts.study(batch), batch, job.about["probe"])
    return {"probe": rows, "warmup": facts()}


def _environment() -> dict[str, Any]:
    packages = {d.metadata["Name"].lower(): d.version for d in distributions()}
    return {
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items())),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=TASKS)
    parser.add_argument("input", type=Path)
    parser.add_argument("--form", default="", help="one of several forms of the rival")
    parser.add_argument("--images", type=int, default=3000, help="to time, at least")
    parser.add_argument("--warmup", type=int, default=512, help="images, at least")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--prepare", action="store_true", help="convert, untimed")
    parser.add_argument("--probe", action="store_true", help="deliver one epoch")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    return parser.parse_args()


def main(
    open_loader: Callable[[Job], Loader], prepare: Callable[[Job], None] | None = None
) -> None:
    """Do what the command line asks of the rival, and write JSON.

    Args:
        open_loader: Opens the rival's loader; raises :class:`Absent` if it cannot.
        prepare: Converts the input to the rival's own format, once and untimed.
    """
    args = _arguments()
    job = Job(work=args.work, input=args.input, form=args.form, workers=args.workers)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    result: dict[str, Any] = {}
    try:
        if args.prepare:
            if prepare is not None:
                prepare(job)
        else:
            loader = open_loader(job)
            try:
                result = (
                    _probe(loader, job)
                    if args.probe
                    else _time(loader, job, args.images, args.warmup)
                )
            finally:
                loader.close()
    except Absent as error:
        result = {"absent": str(error)}
    text = json.dumps(result | {"environment": _environment()})
    if args.out is None:
        print(text)
    else:
        args.out.write_text(text, encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # what a rival leaves running ends with it, and at once
