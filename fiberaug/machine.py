"""What this machine lends to the process: memory, shared memory, CPUs, open files.

Containers lend less than the machine has: limits of control groups (versions 1 and 2)
count, and the CPUs that the scheduler allows. What cannot be found out is None.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst,
proc(5).
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fiberaug.sizes import format_bytes
from fiberaug.slots import available

__all__ = [
    "Machine",
    "check_cuda",
    "check_files",
    "check_memory",
    "check_shared",
    "check_start",
    "files_needed",
    "look",
    "memory_needed",
    "shared_needed",
]

_SHM = "dev/shm"
_BASE_FILES = 64  # libraries, sockets, pipes and logs of a process
_FILES_PER_BATCH = 8  # one for each large array that travels in shared memory
_UNLIMITED = 2**60  # version 1 writes "no limit" as a number of this order


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is for this process."""

    memory: int | None
    """Memory that may be used in all, bytes; the control group's limit counts."""

    available: int | None
    """Memory that is free now or can be freed, bytes."""

    grouped: bool
    """Whether a control group's limit is what is nearest."""

    cpus: float
    """CPUs of the affinity mask, at most the control group's quota."""

    files: tuple[int, int] | None
    """Soft and hard limit of open files of a process."""

    shm: tuple[int, int] | None
    """Size and free bytes of ``/dev/shm``."""


def look(root: str | Path = "/") -> Machine:
    """Return what this machine lends to the process; takes less than 1 ms.

    Args:
        root: Folder of ``proc`` and ``sys``.
    """
    base = Path(root)
    total, free = _meminfo(base)
    grouped = False
    for limit, left in _memory_groups(base):
        if total is None or limit < total:
            total, grouped = limit, True
        if free is None or left < free:
            free, grouped = left, True
    quotas = list(_cpu_quotas(base))
    return Machine(
        memory=total, available=free, grouped=grouped,
        cpus=min([float(_affinity()), *quotas]), files=_files(), shm=_shm(base / _SHM),
    )  # fmt: skip


def shared_needed(*, workers: int, prefetch: int, batch_bytes: int) -> int:
    """Return the bytes of ``/dev/shm`` that batches need when the loop is slowest.

    Where the system has memory without a name batches travel there, and need none.
    """
    if available():
        return 0
    return _travelling(workers, prefetch) * batch_bytes


def memory_needed(*, workers: int, prefetch: int, batch_bytes: int) -> int:
    """Return the bytes of all batches: those that travel and those in work.

    A worker holds the samples of a batch and the batch that it makes of them.
    """
    return (_travelling(workers, prefetch) + max(1, workers) * 2) * batch_bytes


def files_needed(*, workers: int, prefetch: int, open_shards: int = 128) -> int:
    """Return the files that one process of a run has open, whichever has the most.

    A shard that is open holds two: itself and its index. A worker holds its pipes.
    Each batch that travels holds one, or some where the system has no such memory.
    """
    reader = 2 * open_shards
    each = 1 if available() else _FILES_PER_BATCH
    batches = _travelling(workers, prefetch) * each
    consumer = batches + 4 * workers
    return _BASE_FILES + (max(reader, consumer) if workers else reader)


def _travelling(workers: int, prefetch: int) -> int:
    """Return how many batches there are between workers and the loop at most.

    All that were asked for, the one that the loop has, and the one that comes in.
    """
    return workers * prefetch + 2 if workers else 0


def check_shared(machine: Machine, needed: int) -> str | None:
    """Return why so many bytes do not fit into ``/dev/shm``, with the remedy."""
    if machine.shm is None or needed <= machine.shm[1]:
        return None
    size, free = machine.shm
    return (
        f"batches need up to {format_bytes(needed)} of shared memory, /dev/shm has"
        f" {format_bytes(free)} free of {format_bytes(size)}; start the container with"
        f" --shm-size={-(-5 * needed // 4 // 2**20)}m, or use fewer workers, a lower"
        " prefetch_factor or smaller batches"
    )


def check_memory(machine: Machine, needed: int) -> str | None:
    """Return why so many bytes do not fit into memory, with the remedy."""
    if machine.available is None or needed <= machine.available:
        return None
    whose = "the control group" if machine.grouped else "the machine"
    return (
        f"batches need up to {format_bytes(needed)} of memory, {whose} has"
        f" {format_bytes(machine.available)} left; use fewer workers, a lower"
        " prefetch_factor or smaller batches, or raise the limit"
    )


def check_files(machine: Machine, needed: int) -> str | None:
    """Return why so many files cannot be open, with the remedy.

    The hard limit counts: a process may raise the soft one up to it.
    """
    if machine.files is None or needed <= machine.files[1]:
        return None
    return (
        f"a process needs up to {needed} open files, at most {machine.files[1]} are"
        f" allowed; raise the hard limit (`ulimit -Hn {needed}`, or --ulimit"
        f" nofile={needed} of the container)"
    )


def check_cuda(start_method: str | None = None) -> str | None:
    """Return why workers that start so cannot run here, with the remedy.

    Args:
        start_method: How workers start. None: the interpreter's default.
    """
    torch = sys.modules.get("torch")  # who has not loaded it has not used it
    cuda = getattr(torch, "cuda", None)
    method = start_method or multiprocessing.get_start_method()
    if cuda is None or method != "fork" or not cuda.is_initialized():
        return None
    return (
        "CUDA is in use in this process, and a forked worker cannot use it; give"
        ' multiprocessing_context="forkserver", or start CUDA after the workers'
    )


def check_start(
    *,
    workers: int,
    prefetch: int,
    batch_bytes: int = 0,
    open_shards: int = 128,
    start_method: str | None = None,
) -> list[str]:
    """Return what would go wrong with so many workers here, each with its remedy.

    Takes less than 1 ms.

    Args:
        workers: Processes that make batches.
        prefetch: Batches that each makes ahead.
        batch_bytes: Bytes of a batch; 0: not known, and memory is not checked.
        open_shards: Shards that a process keeps open.
        start_method: How workers start. None: the interpreter's default.
    """
    there = look()
    sizes = {"workers": workers, "prefetch": prefetch}
    found = [
        check_shared(there, shared_needed(**sizes, batch_bytes=batch_bytes)),
        check_memory(there, memory_needed(**sizes, batch_bytes=batch_bytes)),
        check_files(there, files_needed(**sizes, open_shards=open_shards)),
        check_cuda(start_method) if workers else None,
    ]
    return [text for text in found if text is not None]


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _files() -> tuple[int, int] | None:
    try:
        import resource  # noqa: PLC0415  # there is none on Windows
    except ImportError:
        return None
    most = sys.maxsize
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft < 0 else soft, most if hard < 0 else hard


def _shm(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError, AttributeError):
        found = os.statvfs(folder)
        return found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail
    return None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii")
    return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _meminfo(base: Path) -> tuple[int | None, int | None]:
    rows = (line.split() for line in _text(base / "proc/meminfo").splitlines())
    found = {row[0]: int(row[1]) * 1024 for row in rows if len(row) > 1}
    return found.get("MemTotal:"), found.get("MemAvailable:")


def _groups(base: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process's control groups up to the root's.

    Each with whether it is version 2. In a container the path can be that of the host,
    which is not there: the mounted root is then the container's own.
    """
    mount = base / "sys/fs/cgroup"
    for line in _text(base / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        unified = number == "0"
        if not unified and controller not in controllers.split(","):
            continue
        top = mount if unified else mount / controller
        folder = top / path.strip("/")
        while folder != top:
            yield folder, unified
            folder = folder.parent
        yield top, unified


def _memory_groups(base: Path) -> Iterator[tuple[int, int]]:
    """Yield (limit, bytes left) of the groups that have a limit."""
    for folder, unified in _groups(base, "memory"):
        names = ("memory.max", "memory.current", "inactive_file")
        if not unified:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes",
                     "total_inactive_file")  # fmt: skip
        limit = _number(_text(folder / names[0]))
        used = _number(_text(folder / names[1]))
        if limit is None or used is None or limit >= _UNLIMITED:
            continue
        # The file cache counts as used, and gives way.
        rows = (line.split() for line in _text(folder / "memory.stat").splitlines())
        cache = next((int(r[1]) for r in rows if len(r) > 1 and r[0] == names[2]), 0)
        yield limit, max(0, limit - used + cache)


def _cpu_quotas(base: Path) -> Iterator[float]:
    for folder, unified in _groups(base, "cpu"):
        words = _text(folder / "cpu.max").split()
        if not unified:
            words = [_text(folder / f"cpu.cfs_{n}_us") for n in ("quota", "period")]
        if len(words) > 1 and (quota := _number(words[0])) and (p := _number(words[1])):
            yield quota / p
