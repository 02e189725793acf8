"""Synthetic samples made while they are trained on, by a process beside the loader.

A sample is a function of the generator, the seed, its class and its index. The buffer
on disk only makes that it is there in time: a run is the same again whatever is made
first, dropped, made twice or interrupted. What was not there in time is counted.
"""

import math
import multiprocessing
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.seeding import check_seed
from fiberaug.sizes import parse_bytes
from fiberaug.synthetic.imagefile import check_encoding
from fiberaug.synthetic.online_board import Taker, counted
from fiberaug.synthetic.online_collecting import check_pool, collect
from fiberaug.synthetic.online_files import read_sample
from fiberaug.synthetic.online_keeping import confirm
from fiberaug.synthetic.online_place import Place, Task
from fiberaug.synthetic.online_told import read_told
from fiberaug.synthetic.online_watch import Supervisor

__all__ = ["OnlineGenerator"]

_MOST_INDEX = 2**40
_FORGOTTEN_S = 2.0  # for a batch, when nobody has this object any more
_SLEEP_S = (0.001, 0.02)  # first and longest between two looks for a sample


class OnlineGenerator:
    """Gives synthetic samples by class and index, made by a process beside the loader.

    :meth:`start` it in the main process; :meth:`take` works in any process of this
    machine that has this object, forked or spawned, or one made with the same folder,
    classes and seed. One process makes the samples of a folder, however many ranks and
    loaders start it.

    Samples are bit for bit those of ``Pool.write`` with the same generator, seed and
    encoding, as long as the generator's images do not depend on their batch.

    Args:
        factory: Makes the :class:`~fiberaug.synthetic.generator.ImageGenerator`; it is
            called in the generator's process, so it must be a function of a module, or
            ``"module:function"``.
        folder: For the buffer; on a disk of this machine. What an interrupted run left
            there is used again.
        classes: Class names by label.
        seed: Seed of the samples, in [0, 2**64).
        ahead: Samples of each class that are made in advance of the last one taken.
        most_bytes: Bound of the buffer, as 10**9 or ``"1GB"``. Samples that nobody is
            about to take are dropped for others.
        wait: Seconds that :meth:`take` waits.
        batch_size: Samples that the generator makes at once; fewer where its memory is
            short.
        encoding: ``png`` or ``webp``, without loss, or ``jpeg``.
        keep: Folder for a pool of the samples that were confirmed.
        restarts: How often in a row, without a sample in between, the process is
            started again after it failed.
        hang: Seconds without progress after which the process is ended and started
            again; loading the generator and the longest batch take less.
        name: What the source is called.

    Raises:
        UsageError: An argument is out of range, or the factory cannot be sent to
            another process.

    >>> from fiberaug.synthetic.online import OnlineGenerator
    >>> online = OnlineGenerator("my.code:make", "buffer/", classes=["cat", "dog"])
    >>> online.name
    'online'
    """

    def __init__(
        self,
        factory: Callable[[], Any] | str,
        folder: str | Path,
        *,
        classes: Sequence[str],
        seed: int = 0,
        ahead: int = 64,
        most_bytes: int | str = "1GB",
        wait: float = 30.0,
        batch_size: int = 8,
        encoding: str = "png",
        keep: str | Path | None = None,
        restarts: int = 3,
        hang: float = 300.0,
        name: str = "online",
    ) -> None:
        _check_factory(factory)
        names = (classes,) if isinstance(classes, str) else tuple(classes)
        if isinstance(classes, str) or not names or len(set(names)) < len(names):
            raise UsageError(f"classes must be different names, got {classes!r}")
        for what, number, least in (
            ("ahead", ahead, 0),
            ("batch_size", batch_size, 1),
            ("restarts", restarts, 0),
        ):
            if type(number) is not int or number < least:
                raise UsageError(
                    f"{what} must be an integer >= {least}, got {number!r}"
                )
        if not hang >= 0.1:
            raise UsageError(f"hang must be at least 0.1 s, got {hang!r}")
        self._task = Task(
            factory=factory, folder=Path(folder).absolute(), classes=names,
            seed=check_seed(seed), ahead=ahead,
            most_bytes=parse_bytes(most_bytes, name="most_bytes"),
            batch_size=batch_size, encoding=check_encoding(encoding), hang=float(hang),
            name=name, keep=None if keep is None else Path(keep).absolute(),
        )  # fmt: skip
        self._wait = _check_wait(wait)
        self._restarts, self._was_started = restarts, False
        self._begin()

    def _begin(self) -> None:
        self._place = Place(self._task.folder)
        self._supervisor: Supervisor | None = None
        self._local = threading.local()

    @property
    def name(self) -> str:
        """What the source is called."""
        return self._task.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label."""
        return self._task.classes

    @property
    def folder(self) -> Path:
        """Where the buffer is."""
        return self._task.folder

    @property
    def keep(self) -> Path | None:
        """Folder of the pool of what was confirmed, if any."""
        return self._task.keep

    @property
    def encoding(self) -> str:
        """How images are stored."""
        return self._task.encoding

    @property
    def identity(self) -> str:
        """What its samples follow from, beside the generator's weights."""
        factory = self._task.factory
        name = getattr(factory, "__qualname__", "")
        if isinstance(factory, str):
            name = factory
        return f"{name} {self._task.whose()}"

    @property
    def pid(self) -> int | None:
        """Number of the generator's process that this object has started, if any."""
        return None if self._supervisor is None else self._supervisor.pid

    def start(self) -> Self:
        """Have a generator's process for the folder; it loads while this returns.

        Call it in the main process, before the first sample is taken. Nothing happens
        when it was called before.

        Raises:
            UsageError: This is a worker of a loader, the folder is used by an online
                generator of other samples, or ``keep`` holds something else.
            StoreError: The folder cannot be written.
        """
        if multiprocessing.current_process().daemon:
            raise UsageError(
                "start() belongs into the main process, before the loader's workers"
            )
        if self._supervisor is None:
            check_pool(self._place, self._task)
            self._place.claim(self._task)
            supervisor = Supervisor(self._task, self._restarts)
            weakref.finalize(self, supervisor.stop, _FORGOTTEN_S).atexit = False
            self._supervisor = supervisor
        return self

    def close(self, timeout: float = 10.0) -> None:
        """End the generator's process, and put what was confirmed into the pool.

        Samples that are made stay in the folder. It may be started again.

        Args:
            timeout: Seconds that it gets to finish a batch; then it is killed.

        Raises:
            StoreError: The pool cannot be written.
        """
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None and supervisor.stop(timeout):
            self.collect()

    def collect(self) -> int:
        """Put what was confirmed into the pool ``keep``; return the number of samples.

        :meth:`close` does it. After a kill it can be done by hand, or by the next run:
        what was confirmed is in the folder.

        Raises:
            StoreError: The pool cannot be written.
        """
        return collect(self._place, self._task)

    def take(
        self, label: int, index: int, *, wait: float | None = None
    ) -> dict[str, bytes] | None:
        """Return the members of a sample; None where it was not there in time.

        It is returned at once when the generator has failed for good; :meth:`why` says
        what happened.

        Args:
            label: Its class.
            index: Its number in its class, from 0.
            wait: Seconds to wait at most. None: as this object was told.

        Returns:
            ``png`` (or ``webp``, ``jpg``), the image file with its mark; ``cls``, the
            label in decimal digits; ``json``, with the entry ``provenance``.

        Raises:
            UsageError: There is no such class or index.
            StoreError: The disk is full or gone.
        """
        self._check(label, index)
        taker = self._taker()
        taker.at(label, index)
        members = read_sample(self._place.sample(label, index))
        if members is None:
            most = self._wait if wait is None else _check_wait(wait)
            members, taker = self._wait_for(label, index, most, taker)
        if members is not None:
            taker.settled()
        taker.count(taken=members is not None)
        return members

    def confirm(self, label: int, index: int) -> None:
        """Tell that a sample was taken and delivered: it comes into the pool ``keep``.

        It may be told in another process than it was taken in, and more than once.

        Raises:
            UsageError: There is no such class or index.
            StoreError: The disk is full or gone.
        """
        self._check(label, index)
        if self._task.keep is not None:
            confirm(self._place, label, index)

    def seek(self, positions: Mapping[int, int]) -> None:
        """Tell where a run goes on, so that nothing else is made before.

        Call it at once after :meth:`start`, in the process and thread that started it.

        Args:
            positions: By class, the index that is taken next.

        Raises:
            UsageError: There is no such class or index.
            StoreError: The disk is full or gone.
        """
        taker = self._taker()
        for label, index in positions.items():
            self._check(label, index)
            taker.at(label, index - 1)

    def why(self) -> str:
        """Return why samples are late, where it is known; empty: nothing is wrong."""
        trouble = self._place.trouble
        if trouble.why:
            return trouble.why
        if not self._place.in_use():
            if self._supervisor is not None or self._was_started:
                return f"the generator is not ready: it loads, in {self._place.root}"
            return f"no generator is at work in {self._place.root}: start() it"
        return ""

    @property
    def started(self) -> bool:
        """Whether somebody has started it in its folder, now or earlier."""
        return self._place.is_of(self._task)

    def failed(self) -> bool:
        """Return whether the generator has failed for good."""
        return self._place.trouble.final

    def stats(self) -> dict[str, float]:
        """Return what happened in the folder so far, over all processes and runs.

        Returns:
            ``made`` samples, those made again included; ``taken`` samples;
            ``waited_s``, seconds that takers waited, added up; ``late`` samples, not
            there in time; ``restarts`` after failures; ``buffer_bytes``;
            ``made_per_s``, samples a second of the generator's work;
            ``heartbeat_age_s``, seconds since it made progress.
        """
        told = read_told(self._place.words)
        counts = counted(self._place.takers, self._place.totals, len(self.classes))
        return {
            "made": told.made,
            "taken": counts.taken,
            "waited_s": counts.waited_us / 1e6,
            "late": counts.late,
            "restarts": told.restarts,
            "buffer_bytes": told.buffer_bytes,
            "made_per_s": told.made / told.busy_s if told.busy_s else 0.0,
            "heartbeat_age_s": max(0.0, time.time() - (told.beat_s or math.inf)),
        }

    def _taker(self) -> Taker:
        """Return the words of this thread."""
        taker: Taker | None = getattr(self._local, "taker", None)
        if taker is None or not taker.usable:
            taker = Taker(self._place.takers, len(self.classes))
            self._local.taker = taker
        return taker

    def _wait_for(
        self, label: int, index: int, most_s: float, taker: Taker
    ) -> tuple[dict[str, bytes] | None, Taker]:
        path = self._place.sample(label, index)
        began, sleep_s, members = time.monotonic(), _SLEEP_S[0], None
        taker.wait_for(label, index)
        while members is None:
            left_s = most_s - (time.monotonic() - began)
            if left_s <= 0 or self._place.trouble.final:
                break
            time.sleep(min(sleep_s, left_s))
            sleep_s = min(1.3 * sleep_s, _SLEEP_S[1])
            if not taker.usable:  # somebody has emptied the folder
                taker = self._taker()
                taker.at(label, index)
                taker.wait_for(label, index)
            members = read_sample(path)
        taker.waited(time.monotonic() - began)
        return members, taker

    def _check(self, label: int, index: int) -> None:
        if type(label) is not int or not 0 <= label < len(self.classes):
            raise UsageError(
                f"label must be an integer in [0, {len(self.classes)}), got {label!r}"
            )
        if type(index) is not int or not 0 <= index < _MOST_INDEX:
            raise UsageError(f"index must be an integer in [0, 2**40), got {index!r}")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the process and the counts of this one behind."""
        return {
            "_task": self._task, "_wait": self._wait, "_restarts": self._restarts,
            "_was_started": self._supervisor is not None or self._was_started,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew in another process."""
        self.__dict__.update(state)
        self._begin()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _check_wait(wait: float) -> float:
    if not 0 <= wait <= threading.TIMEOUT_MAX:
        raise UsageError(f"wait must be seconds >= 0, got {wait!r}")
    return float(wait)


def _check_factory(factory: object) -> None:
    if isinstance(factory, str):
        module, colon, function = factory.partition(":")
        if not (module and colon and function):
            raise UsageError(f"factory must be module:function, got {factory!r}")
        return
    if not callable(factory):
        raise UsageError(f"factory must be a function, got {type(factory).__name__}")
    try:
        pickle.dumps(factory)
    except Exception as error:
        raise UsageError(
            f"the factory {factory!r:.80} cannot be sent to another process: {error};"
            ' use a function of a module, or "module:function"'
        ) from error
