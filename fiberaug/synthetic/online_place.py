"""The folder of an online generator: what lies where, and whose it is."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from fiberaug.errors import StoreError, UsageError
from fiberaug.synthetic.online_files import PART, write_whole

__all__ = ["Place", "Task", "Trouble"]

_VERSION = 1
_TROUBLE_BYTES, _MOST_WHY = 2**16, 10_000  # 6 bytes a character at most
_IN_USE_S = 1.0  # a process that only looks holds the lock for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an online generator has to do."""

    factory: Callable[[], Any] | str
    """Makes the generator, in its own process; or ``module:function``."""

    folder: Path
    """Where the buffer lies."""

    classes: tuple[str, ...]
    """Class names by label."""

    seed: int
    """Seed of the run."""

    ahead: int
    """Samples of each class that are made in advance."""

    most_bytes: int
    """Bound of the buffer."""

    batch_size: int
    """Samples that the generator makes at once."""

    encoding: str
    """``png``, ``jpeg`` or ``webp``."""

    hang: float
    """Seconds without progress after which the generator's process is ended."""

    name: str
    """What the source is called."""

    keep: Path | None
    """Pool of the samples that were delivered."""

    def whose(self) -> dict[str, Any]:
        """Return what the bytes of the samples depend on, beside the generator."""
        return {
            "v": _VERSION, "seed": self.seed, "classes": list(self.classes),
            "encoding": self.encoding,
        }  # fmt: skip


class Trouble(NamedTuple):
    """What went wrong with the generator last."""

    why: str
    """One or more lines."""

    final: bool
    """Whether it is not started again."""


class Place:
    """The files of an online generator.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ready = root / "ready"
        self._before = root / "before"  # samples of which it is open who made them
        self.takers = root / "takers"
        self.totals = root / "totals.json"
        self.words = root / "generator"
        self.stack = root / "stack.txt"
        self.kept = root / "kept"
        self.again = root / "again"
        self._whose = root / "online.json"
        self._maker = root / "maker.json"
        self._trouble = root / "trouble.json"

    def sample(self, label: int, index: int) -> Path:
        """Return where a sample of the buffer lies."""
        return self.ready / str(label) / str(index)

    def kept_sample(self, label: int, index: int) -> Path:
        """Return where a sample lies that was delivered."""
        return self.kept / str(label) / str(index)

    def lock(self) -> FileLock:
        """Return the lock that the generator's process holds."""
        return FileLock(self.root / "generator.lock", thread_local=False)

    def in_use(self) -> bool:
        """Whether a generator's process is at work."""
        lock = self.lock()
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        return False

    def is_of(self, task: Task) -> bool:
        """Return whether the folder is this task's."""
        return _read(self._whose) == task.whose()

    def claim(self, task: Task) -> None:
        """Make the folder this task's; samples of another one are dropped.

        No sample is taken before the generator has said that it made it.

        Raises:
            UsageError: Another task is at work, or has samples here to keep.
            StoreError: The folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {self.root}: {error.strerror}") from error
        lock = self.lock()
        try:
            lock.acquire(timeout=_IN_USE_S)
        except Timeout:
            self.check(task, "is at work there")
            return
        try:
            if any(self.again.glob("*")) or any(self.kept.glob("*/*")):
                self.check(task, "left samples there to keep: collect() them first")
            write_whole(self._trouble, b" " * _TROUBLE_BYTES)
            self.clean()
            if self.ready.exists():
                shutil.rmtree(self._before, ignore_errors=True)
                self.ready.rename(self._before)
            if (there := _read(self._whose)) == task.whose():
                return
            if there:
                shutil.rmtree(self._before, ignore_errors=True)
                shutil.rmtree(self.takers, ignore_errors=True)
                for path in (self.totals, self.words, self._maker):
                    path.unlink(missing_ok=True)
            write_whole(self._whose, json.dumps(task.whose()).encode())
        finally:
            lock.release()

    def clean(self) -> None:
        """Remove what a killed process was writing; for whoever holds the lock."""
        pattern = f".*{PART}"
        samples = [*self.ready.rglob(pattern), *self._before.rglob(pattern)]
        for path in [*self.root.glob(pattern), *samples]:
            path.unlink(missing_ok=True)

    def clean_behind(self) -> None:
        """Do that where no generator's process is at work."""
        with suppress(Timeout), self.lock().acquire(blocking=False):
            self.clean()

    def check(self, task: Task, what: str) -> None:
        """Refuse a folder that is another task's.

        Raises:
            UsageError: It is; ``what`` says what the other one does there.
        """
        theirs, own = _read(self._whose), task.whose()
        differing = [name for name in own if theirs and theirs.get(name) != own[name]]
        if differing:
            told = [
                f"{n} {theirs.get(n)!r:.80} and not {own[n]!r:.80}" for n in differing
            ]
            raise UsageError(
                f"{self.root}: an online generator with {', '.join(told)} {what};"
                " choose another folder"
            )

    @property
    def maker(self) -> dict[str, Any]:
        """What the generator says of itself; empty where none has begun."""
        return _read(self._maker)

    def made_by(self, about: Mapping[str, Any]) -> None:
        """Let samples be taken that this generator has made before; drop others.

        Args:
            about: ``generator``, what it says of itself, and ``source_type``.

        Raises:
            UsageError: Samples of another generator are there to keep.
        """
        if self.maker == (own := json.loads(json.dumps(about))):
            if self._before.exists() and not self.ready.exists():
                self._before.rename(self.ready)
            return
        if self.maker and (any(self.again.glob("*")) or any(self.kept.glob("*/*"))):
            raise UsageError(
                f"{self.root}: samples of another generator are there to keep:"
                " collect() them with that one, or choose another folder"
            )
        for folder in (self.ready, self._before):
            shutil.rmtree(folder, ignore_errors=True)
        write_whole(self._maker, json.dumps(own).encode())

    def tell(self, trouble: Trouble | None) -> None:
        """Write down what went wrong last; None: it goes on, unless that was final.

        It is written over what :meth:`claim` has put there: a full disk may be why.
        """
        if trouble is None and self.trouble.final:
            return
        said = trouble._asdict() if trouble is not None else {}
        if trouble is not None:
            said["why"] = trouble.why[-_MOST_WHY:]
        text = json.dumps(said).encode()
        # An error here: the folder was removed.
        with suppress(OSError), self._trouble.open("r+b") as file:
            file.write(text.ljust(_TROUBLE_BYTES))

    @property
    def trouble(self) -> Trouble:
        """What went wrong last; an empty one where nothing did."""
        said = _read(self._trouble)
        return Trouble(str(said.get("why", "")), bool(said.get("final")))


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
