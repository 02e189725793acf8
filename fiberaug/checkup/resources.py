"""What the run needs of the machine, against what the machine lends."""

import importlib.metadata
import os
from collections.abc import Iterator
from typing import NamedTuple

from fiberaug.checkup.contents import Contents
from fiberaug.checkup.epoch import Run
from fiberaug.checkup.findings import Finding, note, ok, problem
from fiberaug.machine import (
    Machine,
    check_cuda,
    check_files,
    check_memory,
    check_shared,
    files_needed,
    look,
    memory_needed,
    shared_needed,
)
from fiberaug.sizes import format_bytes

__all__ = ["Width", "check_machine", "check_settings", "mean_width"]

_SETTINGS = {
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "torch.load runs code of the files it reads",
    "KMP_DUPLICATE_LIB_OK": "two OpenMP libraries in one process give wrong results",
    "PYTHONHTTPSVERIFY": "with 0, certificates of servers are not checked",
}
_OFF = {"", "0", "false", "no"}


class Width(NamedTuple):
    """Bytes of a sample in a batch, and how they are known."""

    bytes: int
    source: str


def mean_width(contents: Contents) -> Width | None:
    """Return the bytes of a mean image as it is decoded, uint8 [H, W, 3]."""
    if not contents.known:
        return None
    return Width(int(3 * contents.mean_pixels), "the index's mean size, no recipe")


def check_machine(run: Run, width: Width | None, shards: int) -> Iterator[Finding]:
    """Yield what the batches of this machine's ranks need.

    Args:
        run: The run.
        width: Bytes of a sample. None: not known, memory is not checked.
        shards: Number of shards.
    """
    there = look()
    if width is not None:
        yield from _memory(run, width, there)
    else:
        text = "not known: no index says how large the images are"
        yield note("memory", text, "run `fiberaug index`, or give --recipe")
    if there.files is not None:
        needed = files_needed(
            workers=run.workers, prefetch=run.prefetch, open_shards=min(shards, 128)
        )
        soft, hard = there.files
        text = f"a process opens up to {needed}, {soft} are allowed"
        text += "" if soft >= needed else f" and raised up to {hard} at the start"
        figures = {"needed": needed, "soft": soft, "hard": hard}
        yield _judged("files", check_files(there, needed), text, figures)
    cuda = check_cuda() if run.workers else None
    if cuda is not None:
        yield _judged("cuda", cuda, "", None)
    yield _cpus(run, there)


def _judged(topic: str, wrong: str | None, text: str, figures: object) -> Finding:
    if wrong is None:
        return ok(topic, text, figures)
    found, _, remedy = wrong.partition("; ")
    return problem(topic, found, remedy, figures)


def _memory(run: Run, width: Width, there: Machine) -> Iterator[Finding]:
    workers = run.workers * run.local_ranks  # all ranks of a machine share what it has
    batch = width.bytes * run.batch_size
    sizes = {"workers": workers, "prefetch": run.prefetch, "batch_bytes": batch}
    needed, shared = memory_needed(**sizes), shared_needed(**sizes)
    has = (
        "an unknown amount"
        if there.available is None
        else (format_bytes(there.available))
    )
    text = (
        f"{format_bytes(batch)} a batch of {run.batch_size} ({width.source}),"
        f" {workers} workers x {run.prefetch} batches and those in work:"
        f" {format_bytes(needed)} of {has} free"
    )
    figures = {"batch_bytes": batch, "needed": needed, "there": there.available}
    yield _judged("memory", check_memory(there, needed), text, figures)
    if there.shm is not None and workers:
        free = there.shm[1]
        text = f"batches {format_bytes(shared)}, /dev/shm has {format_bytes(free)} free"
        if not shared:
            text = "batches travel in memory without a name, not in /dev/shm"
        figures = {"needed": shared, "there": free}
        yield _judged("shm", check_shared(there, shared), text, figures)


def _cpus(run: Run, there: Machine) -> Finding:
    busy = run.local_ranks * max(1, run.workers)
    text = f"{busy} processes make batches on {there.cpus:g} CPUs"
    text += f" ({run.local_ranks} x {run.workers} workers)"
    figures = {"cpus": there.cpus, "workers": run.workers, "ranks": run.local_ranks}
    if busy <= there.cpus:
        return ok("cpus", text, figures)
    most = max(1, int(there.cpus // run.local_ranks))
    return note("cpus", text, f"--workers {most} keeps them busy", figures)


def check_settings() -> Iterator[Finding]:
    """Yield settings of the environment and installed packages that do harm."""
    for name, harm in _SETTINGS.items():
        value = os.environ.get(name, "")
        off = value.lower() in _OFF
        if value and off == (name == "PYTHONHTTPSVERIFY"):
            text = f"{name}={value}: {harm}"
            yield problem("settings", text, f"unset {name}", {name: value})
    given = [name for name in ("RANK", "WORLD_SIZE") if os.environ.get(name)]
    if len(given) == 1:
        text = f"only {given[0]} is set: the ranks cannot be told apart"
        yield problem("settings", text, "set both, or neither")
    if _version("albumentationsx"):
        yield problem(
            "packages",
            "albumentationsx (AGPL) is installed, under the import name of"
            " albumentations",
            "pip uninstall albumentationsx albumentations, then pip install"
            " 'albumentations>=2.0.8,<2.1'",
        )
    found = _version("albumentations")
    if found and not found.startswith("2.0."):
        text = f"albumentations {found}; recipes are checked against 2.0"
        yield problem("packages", text, "pip install 'albumentations>=2.0.8,<2.1'")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
