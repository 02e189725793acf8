"""How this process keeps the memory that it has freed."""

import ctypes
import gc
import sys

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

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
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP, _LARGEST) and mallopt(_TRIM, _KEPT))


def give_back_freed_memory() -> None:
    """Give back what is freed: cycles, PyTorch's CUDA blocks, free pages of glibc.

    For the moment after memory ran out, before the work is tried in smaller parts.
    From then on glibc gives arrays of a megabyte back at once, which is slower: kept,
    they lie as holes in a heap that others, such as the code that oneDNN compiles,
    cannot use.
    """
    gc.collect()
    torch = sys.modules.get("torch")  # who never imported it has no blocks there
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt(_MMAP, _SMALL)
    mallopt(_TRIM, _SMALL)
    trim(0)
