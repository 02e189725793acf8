"""What a loader is asked for, and one pass over the data, which fails for good."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fiberaug.batching import TARGETS
from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.transport import Message, Request

if TYPE_CHECKING:
    from fiberaug.loader import DataLoader

__all__ = ["Ahead", "EpochSetter", "Launched", "LoaderPass", "batches", "check_loader"]


def batches(request: Request, end: int | None) -> Iterator[Request]:
    """Yield the requests of the global batches from ``request`` on.

    Args:
        request: The first.
        end: Samples of the epoch; None: not known.
    """
    while end is None or request.first < end:
        yield request
        request = request._replace(first=request.first + request.global_batch)


class Launched(NamedTuple):
    """A message, and the batch that is being made of it."""

    message: Message | None
    waited_s: float = 0.0
    """Time that was spent waiting for the message."""

    made: Any = None
    """What the maker returned; None where the message brings no batch."""

    error: Exception | None = None
    """Why no batch could be made of it."""


class Ahead(Iterator[Launched]):
    """Begins to make batches before it is their turn.

    Whatever goes wrong with a batch is told in its turn, not earlier.

    Args:
        messages: What workers send.
        make: Begins to make a batch.
        depth: Batches that are begun at a time, the one whose turn it is included.
    """

    def __init__(
        self, messages: Iterator[Message], make: Callable[[Message], Any], depth: int
    ) -> None:
        self._messages, self._make, self._depth = messages, make, depth
        self._begun: deque[Launched] = deque()
        self._over = False

    def __next__(self) -> Launched:
        """Return the next message; None in it is the end."""
        while not self._over and len(self._begun) < self._depth:
            self._begun.append(self._begin())
        return self._begun.popleft() if self._begun else Launched(None)

    def _begin(self) -> Launched:
        asked = time.perf_counter()
        message = next(self._messages, None)
        waited = time.perf_counter() - asked
        if message is None or message.over or message.error is not None:
            self._over = True
            return Launched(message, waited)
        try:
            return Launched(message, waited, self._make(message))
        except Exception as error:  # noqa: BLE001  # it is raised in its turn
            self._over = True
            return Launched(message, waited, error=error)


def check_loader(
    dataset: Any,  # noqa: ANN401  # anything that a user gives
    *,
    batch_size: int,
    shuffle: bool | None,
    num_workers: int,
    of_workers: tuple[Any, ...],
    worker_restarts: int,
    watchdog: float,
    targets: str,
) -> None:
    """Check the arguments of a loader; ``of_workers`` are those that need workers.

    Raises:
        UsageError: An argument is out of range or does not fit the others.
    """
    if not isinstance(dataset, StreamingDataset):
        raise UsageError(
            f"dataset must be a StreamingDataset, got {type(dataset).__name__}"
        )
    if batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    if dataset.batch_size not in {None, batch_size}:
        raise UsageError(
            f"the data set was told batch_size={dataset.batch_size}, the loader"
            f" {batch_size}"
        )
    if num_workers < 0:
        raise UsageError(f"num_workers must be >= 0, got {num_workers}")
    if not num_workers and any(of_workers):
        raise UsageError(
            "persistent_workers, prefetch_factor, timeout and worker_restarts need"
            " num_workers >= 1"
        )
    if worker_restarts < 0 or not watchdog >= 0:
        raise UsageError(
            f"worker_restarts and watchdog must be >= 0, got {worker_restarts} and"
            f" {watchdog}"
        )
    if targets not in TARGETS:
        raise UsageError(f"targets must be one of {TARGETS}, got {targets!r}")
    if dataset.views > 1 and targets in {"torchvision", "yolo"}:
        raise UsageError(
            f"targets={targets!r} is for one view of a sample, the data set makes"
            f" {dataset.views}; give targets='list' or 'padded'"
        )
    if shuffle is not None and shuffle != dataset.plan.shuffle:
        raise UsageError(
            f"shuffle={shuffle} does not agree with the data set's"
            f" {dataset.plan.shuffle}; the order is a matter of the data set: give"
            " it there"
        )


class EpochSetter:
    """Stands where torch's loaders have a batch sampler.

    Args:
        sampler: What has ``set_epoch``.
    """

    def __init__(self, sampler: "DataLoader") -> None:
        self.sampler = sampler


class LoaderPass(Iterator[Any]):
    """One pass over the data; it begins with its first batch, and fails for good."""

    def __init__(self, loader: "DataLoader") -> None:
        self._loader: DataLoader | None = loader
        self._epoch = 0
        self._messages: Iterator[Launched] | None = None
        self._end: Exception | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:  # noqa: ANN401  # a dict, a tuple, or what collate_fn returns
        if self._end is not None:
            raise self._end
        loader = self._loader
        if loader is None:
            raise UsageError(
                "this pass is over: a newer one or load_state_dict() took its place"
            )
        try:
            if self._messages is None:
                self._epoch, self._messages = loader.begin(self)
            return loader.receive(self._epoch, self._messages)
        except StopIteration:
            # Without a traceback, whose frames would keep the loader in a cycle.
            self._end, self._messages, self._loader = StopIteration(), None, None
            raise
        except Exception as error:
            self._end = error
            self._messages = None
            loader.stop_workers()
            raise
        except BaseException:  # Ctrl-C in the middle of a batch
            self.stop()
            loader.stop_workers()
            raise

    @property
    def running(self) -> bool:
        """Whether the pass has begun and is not over."""
        return self._messages is not None

    def stop(self) -> None:
        """Let go of the workers; the pass cannot go on."""
        self._messages, self._loader = None, None
