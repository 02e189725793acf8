"""One pass over the data: it begins with its first batch, and fails for good."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from fiberaug.errors import UsageError
from fiberaug.transport import Message, Request

if TYPE_CHECKING:
    from fiberaug.loader import DataLoader

__all__ = ["LoaderPass", "batches"]


def batches(request: Request, end: int | None) -> Iterator[Request]:
    """Yield the requests of the global batches from ``request`` on.

    Args:
        request: The first.
        end: Samples of the epoch; None: not known.
    """
    while end is None or request.first < end:
        yield request
        request = request._replace(first=request.first + request.global_batch)


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

    @property
    def running(self) -> bool:
        """Whether the pass has begun and is not over."""
        return self._messages is not None

    def stop(self) -> None:
        """Let go of the workers; the pass cannot go on."""
        self._messages, self._loader = None, None
