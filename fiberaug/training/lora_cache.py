"""A file of latents that grows, and goes on where its writer was when it ended."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fiberaug.files import write_atomically

__all__ = ["LatentFile"]


class LatentFile:
    """Latents by row, of which the first ones are there.

    ``NAME.npy`` begins with the header of all rows. ``NAME.json`` says how many are
    there, their labels, and where the source of the photos was behind them; what lies
    behind them in the file may be half written, and is cut off.

    Args:
        path: ``NAME.npy``.
        total: Rows when it is complete.
    """

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total = path, total
        self.labels: list[int] = []
        self.source: dict[str, Any] | None = None
        """State of the source of photos behind the last row; None: there is none."""

        self._told = path.with_suffix(".json")
        if path.is_file() and self._told.is_file():
            told = json.loads(self._told.read_text("utf-8"))
            self.labels, self.source = told["labels"], told["source"]

    def __len__(self) -> int:
        """Return the number of rows that are there."""
        return len(self.labels)

    def append(
        self, values: NDArray[np.float32], labels: list[int], source: dict[str, Any]
    ) -> None:
        """Add rows; :meth:`keep` makes them last.

        Args:
            values: float32 [B, ...].
            labels: Of each.
            source: State of the source of the photos behind them.
        """
        values = values.astype("<f4")
        if not self.labels:
            shape = (self.total, *values.shape[1:])
            with self.path.open("wb") as file:
                npy.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": shape}
                )
        with self.path.open("r+b") as file:
            begin, _ = _layout(file)
            file.truncate(begin + values[0].nbytes * len(self.labels))
            file.seek(0, os.SEEK_END)
            file.write(values.tobytes())
        self.labels, self.source = self.labels + labels, source

    def keep(self) -> None:
        """Write to the disk which rows are there."""
        if not self.labels:
            return
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        told = {"labels": self.labels, "source": self.source}
        write_atomically(self._told, json.dumps(told).encode())

    def read(self, rows: list[int]) -> NDArray[np.float32]:
        """Return rows, float32 [B, ...]: read, not mapped, which counts as memory."""
        found = []
        with self.path.open("rb") as file:
            begin, latent = _layout(file)
            numbers = int(np.prod(latent))
            for row in rows:
                file.seek(begin + 4 * numbers * row)
                found.append(np.fromfile(file, "<f4", numbers).reshape(latent))
        return np.stack(found).astype(np.float32)


def _layout(file: Any) -> tuple[int, tuple[int, ...]]:  # noqa: ANN401  # a file
    """Return where rows begin in a file, and the shape of one."""
    npy.read_magic(file)
    (_, *latent), _, _ = npy.read_array_header_1_0(file)
    return file.tell(), tuple(latent)
