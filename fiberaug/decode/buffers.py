"""Memory for large images that is used again when nobody looks at it any more.

The system gives fresh memory page by page, zeroed, which for a photo of 12 megapixels
takes longer than decoding half of it.
"""

import math
import sys
import threading

import numpy as np
from numpy.typing import NDArray

__all__ = ["image_buffer"]

_LEAST = 2**20  # bytes: below, the allocator of C keeps the memory itself
_WASTE = 8


class _Kept(threading.local):
    buffer: NDArray[np.uint8] | None = None


_kept = _Kept()


def image_buffer(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a C-contiguous uint8 array of a shape, of undefined content.

    Its memory is that of an earlier one, where no array shows that any more. Each
    thread keeps one, of the size of the largest image that it met lately.
    """
    size = math.prod(shape)
    if size < _LEAST:
        return np.empty(shape, np.uint8)
    buffer = _kept.buffer
    _kept.buffer = None
    # Ours, and that of the call: a view of it would be one more.
    fits = buffer is not None and size <= buffer.size <= _WASTE * size
    if buffer is None or not fits or sys.getrefcount(buffer) > 2:
        buffer = np.empty(size, np.uint8)
    _kept.buffer = buffer
    return buffer[:size].reshape(shape)
