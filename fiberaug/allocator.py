"""How this process keeps the memory that it has freed."""

import ctypes

__all__ = ["keep_freed_memory"]

_TRIM, _MMAP = -1, -3  # of mallopt, malloc.h of glibc
_LARGEST = 32 * 2**20  # bytes; the most that glibc takes
_KEPT = 256 * 2**20  # bytes


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
