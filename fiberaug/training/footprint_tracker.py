"""Counts the bytes of tensors while a computation runs, also one that only pretends."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fiberaug.training.footprint_heap import Heap, Piece, heap_of
from fiberaug.training.footprint_workspace import workspace

__all__ = ["Tracker"]


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what tensors take, of one kind of device, while it is entered.

    Tensors that were there before count from the first operation that reads them.

    Args:
        device: ``cpu``, ``cuda``: what is counted; of a CPU also tensors without
            storage, of device ``meta``.
        at_once: See :func:`fiberaug.training.footprint_heap.heap_of`.
    """

    def __init__(self, device: str = "cpu", *, at_once: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.live = 0
        """Bytes in use now."""

        self.most = 0
        """Most bytes that were in use, with workspaces."""

        self.worst = ""
        """The operation at which most were, with the shapes that it read."""

        self.heap: Heap = heap_of(device, at_once=at_once)
        self._known: dict[int, tuple[int, Piece]] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  # torch's own type has no name
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Make an operation and count what it takes."""
        del types
        kwargs = kwargs or {}
        for one in _tensors((args, kwargs)):
            self._count(one)
        made = func(*args, **kwargs)
        results = _tensors(made)
        new = [one for one in results if not self._knows(one)]
        took = workspace(func.name().partition(".")[0], args, results) if new else None
        if took is None:
            return made
        size = sum(one.untyped_storage().nbytes() for one in _apart(new))
        most = self.live + took.above(size)
        if most > self.most:
            self.most = most
            shapes = [list(one.shape) for one in _tensors((args, kwargs))]
            self.worst = f"{func.name()} of {shapes}"
        first = [self.heap.take(one) for one in took.first]
        beside = [self.heap.take(one) for one in took.beside]
        for piece in first:
            self.heap.give(piece)
        for one in new:
            self._count(one)
        for piece in beside:
            self.heap.give(piece)
        return made

    def _knows(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._known  # noqa: SLF001  # its id

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001  # its id
        counted = tensor.device.type
        if counted == "meta":
            counted = self.device
        if key in self._known or counted != self.device:
            return
        self._known[key] = size, self.heap.take(size)
        self.live += size
        weakref.finalize(storage, _gone(self, key))

    def forget(self, key: int) -> None:
        """Count a storage no more: it is gone."""
        size, piece = self._known.pop(key)
        self.live -= size
        self.heap.give(piece)


def _gone(tracker: Tracker, key: int) -> Callable[[], None]:
    """Return what forgets a storage, and does not keep the tracker."""
    held = weakref.ref(tracker)

    def forget() -> None:
        there = held()
        if there is not None:
            there.forget(key)

    return forget


def _tensors(tree: object) -> list[torch.Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def _apart(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return one tensor for each storage."""
    found = {one.untyped_storage()._cdata: one for one in tensors}  # noqa: SLF001
    return list(found.values())
