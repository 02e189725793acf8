"""What share each source of a mix has of the rows that were delivered."""

from collections import Counter
from collections.abc import Sequence

from fiberaug.mix import REAL
from fiberaug.mixture import Mixture
from fiberaug.record import PackedRecord
from fiberaug.transport import Message

__all__ = ["Shares"]

_ORIGIN = PackedRecord._fields.index("origin")


class Shares:
    """Rows of each source, observed and asked for.

    Args:
        mixture: What is mixed in; None: nothing.
        origins: Names of all sources, ``real`` first; empty: there is no mix.
    """

    def __init__(self, mixture: Mixture | None, origins: Sequence[str]) -> None:
        self._mixture, self._origins = mixture, origins
        self._rows: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._late = 0

    def add(self, message: Message, epoch: int, first: int) -> None:
        """Count the rows of a batch.

        Args:
            message: What a worker sent.
            epoch: Epoch, from 0.
            first: First position of the global batch.
        """
        if not self._origins:
            return
        for row, pad in enumerate(message.is_pad):
            if not pad:
                packed = message.packed[row * message.views]
                self._rows[packed[_ORIGIN] or REAL] += 1
        asked = {REAL: float(message.end - first)}
        if self._mixture is not None:
            asked = self._mixture.asked(epoch, first, message.end)
        for name, part in asked.items():
            self._asked[name] += part  # type: ignore[assignment]  # parts of rows
        self._late += message.late

    def stats(self) -> dict[str, float]:
        """Return ``share/<source>``, ``asked/<source>`` and ``late``."""
        if not self._origins:
            return {"share/real": 1.0}
        rows, asked = sum(self._rows.values()), sum(self._asked.values())
        found: dict[str, float] = {}
        for name in self._origins:
            found[f"share/{name}"] = self._rows[name] / max(1, rows)
            found[f"asked/{name}"] = self._asked[name] / max(1e-9, asked)
        found["late"] = float(self._late)
        return found
