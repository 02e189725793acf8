"""A command under a cap on memory: what it took, and its end where it wants more.

The kernel refuses a process more than the cap of memory of its own (RLIMIT_DATA: what
it may write; files that are only looked at need no memory of their own, the kernel
takes it back when it likes). Nobody adds up processes but a control group, which not
every user may make: so all processes of the command are looked at several times a
second, and it is ended when they hold more than the cap together.

Sources: getrlimit(2), proc(5).
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Taken", "folder_bytes", "run_capped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a command took."""

    exit_code: int
    """0: all is well; below 0: the signal that ended it."""

    capped: bool
    """Whether it was ended because its processes held more than the cap."""

    seconds: float
    """From its start to its end."""

    cpu_s: float
    """User and system seconds of all its processes."""

    peak_tree_bytes: int
    """Most memory that all its processes held at once, anonymous and shared, each
    shared page counted once; files of the page cache are not in it."""

    peak_with_files_bytes: int
    """The same with the pages of files that were mapped."""

    peak_process_bytes: int
    """Most that was resident of the largest process, with mapped files (VmHWM)."""

    processes: int
    """Most at once."""


@dataclass(slots=True)
class _Seen:
    """The most of each that was seen."""

    held: int = 0
    with_files: int = 0
    process: int = 0
    count: int = 0

    def look(self, session: int) -> int:
        """Look at all processes of a session; return the bytes that they hold."""
        held = with_files = count = 0
        for pid in _members(session):
            rows = _rows(pid, "smaps_rollup")
            if "Pss" not in rows:
                continue
            count += 1
            held += rows["Pss_Anon"] + rows["Pss_Shmem"]
            with_files += rows["Pss"]
            self.process = max(self.process, _rows(pid, "status").get("VmHWM", 0))
        self.held = max(self.held, held)
        self.with_files = max(self.with_files, with_files)
        self.count = max(self.count, count)
        return held


def run_capped(
    command: Sequence[str],
    *,
    cap: int,
    log: Path,
    env: Mapping[str, str] | None = None,
    every_s: float = 0.1,
) -> Taken:
    """Run a command in a session of its own and return what it took.

    Args:
        command: Program and arguments.
        cap: Bytes that each process, and all of them together, may hold.
        log: File that what it says is appended to.
        env: Its environment; None: that of this process.
        every_s: Seconds between two looks.
    """
    seen, capped = _Seen(), False
    begun = time.monotonic()
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=env,
            start_new_session=True,
        )  # fmt: skip
        try:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (cap, cap))
            while True:
                ended, status, used = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                if seen.look(process.pid) > cap and not capped:
                    capped = True
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(every_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(
        exit_code=process.returncode,
        capped=capped,
        seconds=round(time.monotonic() - begun, 2),
        cpu_s=round(used.ru_utime + used.ru_stime, 2),
        peak_tree_bytes=seen.held,
        peak_with_files_bytes=seen.with_files,
        peak_process_bytes=max(seen.process, used.ru_maxrss * 1024),
        processes=seen.count,
    )


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    if not folder.is_dir():
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _members(session: int) -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208  # names, many times a second
        try:
            if name.isdecimal() and os.getsid(int(name)) == session:
                yield int(name)
        except ProcessLookupError:
            continue


def _rows(pid: int, name: str) -> dict[str, int]:
    """Return the rows in kB of a file of ``/proc``, in bytes; nothing if it ended."""
    try:
        text = Path(f"/proc/{pid}/{name}").read_text(encoding="ascii")
    except OSError:
        return {}
    parts = (line.split() for line in text.splitlines())
    return {p[0][:-1]: int(p[1]) * 1024 for p in parts if len(p) == 3 and p[2] == "kB"}
