"""What a network takes while it runs, found without its weights and without running it.

It is made on torch's device ``meta``, whose tensors have shapes and no numbers, and the
bytes of those that are in use at the same time are counted.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["traced_bytes"]

_ALONE = 32 * 2**20  # bytes, from which on glibc gives a piece back by itself
_HOLES = 1.4  # bytes of its heap per byte in use; found in UNets and VAEs: 1.3 to 1.5
_RESERVED = 1.15  # bytes of torch's blocks of a GPU per byte in use; not measured here


def traced_bytes(run: Callable[[], object], *, cpu: bool) -> int:
    """Return the most bytes of tensors that a computation makes and has at a time.

    Args:
        run: Computes on tensors of the device ``meta``; those that were there before,
            such as weights, do not count.
        cpu: Whether it is to run on a CPU, where oneDNN copies what a convolution reads
            and makes into a layout of its own.
    """
    counter = _Counter(cpu=cpu)
    with _Flash(), counter, torch.no_grad():
        run()
    return counter.most


class _Flash(TorchFunctionMode):
    """Stands for attention that never has all scores at a time."""

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401  # torch's own type has no name
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        if func is functional.scaled_dot_product_attention:
            told = dict(zip(("query", "key", "value"), args, strict=False))
            told |= kwargs or {}
            shape = (*told["query"].shape[:-1], told["value"].shape[-1])
            return told["query"].new_empty(shape)
        return func(*args, **(kwargs or {}))


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, *, cpu: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cpu = cpu
        self._live, self.most = 0.0, 0
        self._known: dict[int, float] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        before = {_key(one) for one in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for one in _tensors(made):
            if _key(one) not in before:
                self._count(one)
        copies = 0.0
        if self._cpu and func.name().startswith("aten::convolution"):
            copies = sum(self._taken(_size(one)) for one in (args[0], args[1], made))
        self.most = max(self.most, round(self._live + copies))
        return made

    def _taken(self, size: int) -> float:
        if not self._cpu:
            return size * _RESERVED
        return size if size >= _ALONE else size * _HOLES

    def _count(self, tensor: torch.Tensor) -> None:
        key = _key(tensor)
        if key in self._known:
            return
        storage = tensor.untyped_storage()
        self._known[key] = self._taken(storage.nbytes())
        self._live += self._known[key]
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._live -= self._known.pop(key, 0)


def _tensors(tree: object) -> list[torch.Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # its id


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
