"""Thumbnails of many photos in a file, so that they take no memory."""

import os
import tempfile
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import StoreError

__all__ = ["CELLS", "Thumbnails"]

CELLS = 256
"""Pixels of a thumbnail, 16 x 16."""


class Thumbnails:
    """Thumbnails in a temporary file without a name: 256 MB there for a million.

    Used as a context; the file is gone behind it, and when the process is killed.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed by __exit__
        self._count = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number, height and width, px."""
        return self._count, 16, 16

    def append(self, thumbnails: NDArray[np.uint8]) -> None:
        """Add thumbnails [N, 16, 16].

        Raises:
            StoreError: The disk of temporary files is full or gone.
        """
        rest = memoryview(np.ascontiguousarray(thumbnails).tobytes())
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise StoreError(
                f"cannot write thumbnails to {tempfile.gettempdir()}:"
                f" {error.strerror}; TMPDIR names another folder",
                stage="write",
            ) from error
        self._count += len(thumbnails)

    def __getitem__(self, rows: slice | NDArray[Any]) -> NDArray[np.uint8]:
        """Return some thumbnails, uint8 [..., 256].

        Args:
            rows: A slice, or numbers of any shape.
        """
        file = self._file.fileno()
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self._count)
            data = os.pread(file, CELLS * max(0, last - first), CELLS * first)
            return np.frombuffer(data, np.uint8).reshape(-1, CELLS)
        places = (CELLS * rows.ravel()).tolist()
        data = b"".join([os.pread(file, CELLS, at) for at in places])
        return np.frombuffer(data, np.uint8).reshape(*rows.shape, CELLS)

    def __enter__(self) -> Self:
        """Return the thumbnails."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        self._file.close()
