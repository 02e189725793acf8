"""What a loader is asked for, and one pass over the data, which fails for good."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from fiberaug.batching import TARGETS
from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.transport import Message, Request

if TYPE_CHECKING:
    from fiberaug.loader import DataLoader

__all__ = ["EpochSetter", "LoaderPass", "batches", "check_loader"]


def batches(request: Request, end: int | None) -> Iterator[Request]:
    """Yield the requests of the global batches from ``request`` on.

    Args:
        request: The first.
        end: Samples of the epoch; None: not known.
    """
    while end is None or request.first < end:
        yield request
        request = request._replace(first=request.first + request.global_batch)


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
        self._messages: Iterator[Message] | None = None
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
