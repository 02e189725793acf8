"""Callables that nothing is known of: guarded, keyed, and named by their source."""

import dis
import functools
import gc
import inspect
import random
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from fiberaug.seeding import torch_seed

__all__ = ["callable_name", "keyed_globals", "source_hash"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_DEPTH = 16
_legacy: Any = np.random  # two functions that its types leave out
_TWISTER = np.random.MT19937(0)  # seeded anew by every guard


@contextmanager
def keyed_globals(key: bytes) -> Iterator[None]:
    """Seed ``random``, numpy's and torch's global generators; put them back after.

    Args:
        key: 16 bytes from which the three are seeded.
    """
    python, theirs = random.getstate(), _legacy.get_bit_generator()
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002  # the global one
    generator = torch.default_generator
    tensor = generator.get_state()
    number = int.from_bytes(key, "little")
    random.seed(number)
    _legacy.set_bit_generator(_TWISTER)  # cheaper than to write a state back
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002
    generator.manual_seed(torch_seed(key))
    try:
        yield
    finally:
        random.setstate(python)
        _legacy.set_bit_generator(theirs)
        # The swap forgets half of a pair of normal numbers; and a guard in a guard used
        # the same twister.
        if state["has_gauss"] or theirs is _TWISTER:
            np.random.set_state(state)  # noqa: NPY002
        generator.set_state(tensor)


def callable_name(what: Any) -> str:  # noqa: ANN401  # any callable
    """Return the qualified name of a callable, or of its class."""
    if isinstance(what, functools.partial):
        return f"functools.partial({callable_name(what.func)})"
    named = what if hasattr(what, "__qualname__") else type(what)
    return f"{getattr(named, '__module__', '?')}.{named.__qualname__}"


def source_hash(what: Any) -> str:  # noqa: ANN401  # any callable
    """Return 16 hexadecimal digits of a callable's source and of what it holds.

    Source text where there is any, else the instructions; with them default arguments,
    variables of the enclosing function, arguments of a ``partial``, attributes of an
    object and the functions among these. The same in every process.
    """
    digest = blake2b(digest_size=8)
    for text in _describe(what, 0, {}):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _describe(value: Any, depth: int, seen: dict[int, Any]) -> Iterator[str]:  # noqa: ANN401, C901, PLR0912  # one branch a kind
    if isinstance(value, _PLAIN):
        yield repr(value)
        return
    if id(value) in seen or depth > _DEPTH:
        return
    seen[id(value)] = value  # kept alive, or another would get its number
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.asarray(value)
        yield f"{array.dtype}{array.shape}"
        yield blake2b(array.tobytes(), digest_size=8).hexdigest()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _describe(item, depth + 1, seen)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(repr, value))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _describe(item, depth + 1, seen)
    elif isinstance(value, functools.partial):
        yield from _describe((value.func, value.args, value.keywords), depth, seen)
    elif isinstance(value, types.MethodType):
        yield from _describe((value.__func__, value.__self__), depth, seen)
    elif isinstance(value, types.FunctionType):
        yield value.__qualname__
        yield _source(value) or _instructions(value.__code__)
        yield from _describe((value.__defaults__, value.__kwdefaults__), depth, seen)
        for cell in value.__closure__ or ():
            with_content = cell.cell_contents if _is_full(cell) else None
            yield from _describe(with_content, depth + 1, seen)
    elif isinstance(value, type):
        yield from _describe_class(value, depth, seen)
    elif isinstance(value, types.ModuleType | types.BuiltinFunctionType):
        yield value.__name__
    else:
        yield from _describe(type(value), depth + 1, seen)
        held = getattr(value, "__dict__", None)
        if held:
            yield from _describe(held, depth + 1, seen)
        else:
            yield _ADDRESS.sub("", repr(value))


def _describe_class(kind: type, depth: int, seen: dict[int, Any]) -> Iterator[str]:
    """Yield a class's source, and that of the bases in the same package."""
    yield callable_name(kind)
    source = _source(kind)
    if source is not None:
        yield source
    else:
        for value in vars(kind).values():
            if isinstance(value, types.FunctionType):
                yield from _describe(value, depth + 1, seen)
    package = kind.__module__.partition(".")[0]
    for base in kind.__bases__:
        if base.__module__.partition(".")[0] == package and base is not object:
            yield from _describe(base, depth + 1, seen)


def _is_full(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # it raises where the cell is empty
    except ValueError:
        return False
    return True


def _source(value: Callable[..., Any]) -> str | None:
    collects = gc.isenabled()
    # Python 3.11 fails where a finalizer that runs meanwhile parses source, too, as
    # one does that shows a traceback (CPython's issue 106905).
    gc.disable()
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):  # typed in, or built in
        return None
    finally:
        if collects:
            gc.enable()


def _instructions(code: types.CodeType) -> str:
    """Return a function's instructions and constants, without line numbers."""
    lines = [f"{i.opname} {_constant(i.argval)}" for i in dis.get_instructions(code)]
    return "\n".join(lines)


def _constant(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, types.CodeType):
        return _instructions(value)
    return _ADDRESS.sub("", repr(value))
