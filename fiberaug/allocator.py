"""How this process keeps the memory that it has freed."""

import ctypes
import gc
import sys
from collections.abc import Callable

__all__ = ["give_back_at_once", "give_back_freed_memory", "keep_freed_memory"]

_TRIM, _MMAP = -1, -3  # of mallopt, malloc.h of glibc
_LARGEST = 32 * 2**20  # bytes; the most that glibc takes
_KEPT = 256 * 2**20  # bytes
_SMALL = 2**20  # bytes


def keep_freed_memory() -> bool:
    """Let images of up to 32 MiB come from memory that was used before.

    glibc gives an array of some megabytes back to the system as soon as it is freed,
    and the next one comes page by page, zeroed: of a photo of 6 megapixels that is half
    of the time of decoding. Up to 256 MiB stay with the process instead.

    Returns:
        Whether this C library can; others than glibc cannot.
    """
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP, _LARGEST) and mallopt(_TRIM, _KEPT))


def give_back_at_once() -> bool:
    """Let arrays of a megabyte and more go back to the system as soon as they are free.

    That is slower, as each comes page by page again, and takes the least memory: kept,
    they lie as holes in a heap, which a training that computes its blocks again makes
    twice as large as what is in use.

    Returns:
        Whether this C library can; others than glibc cannot.
    """
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP, _SMALL) and mallopt(_TRIM, _SMALL))


def give_back_freed_memory() -> None:
    """Give back what is freed: cycles, PyTorch's CUDA blocks, free pages of glibc.

    For the moment after memory ran out, before the work is tried in smaller parts. From
    then on see :func:`give_back_at_once`: holes are memory that others, such as the
    code that oneDNN compiles, cannot use.
    """
    gc.collect()
    torch = sys.modules.get("torch")  # who never imported it has no blocks there
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    give_back_at_once()
    trim = _of_c("malloc_trim")
    if trim is not None:
        trim(0)


def _of_c(name: str) -> Callable[..., int] | None:
    """Return a function of this process's C library, where it has it."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None
    return found
