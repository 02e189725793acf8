"""Figures of a run: how fast, how long it waited, what was broken."""

import time
from collections.abc import Sequence

__all__ = ["Counters"]

_READY_S = 0.001


class Counters:
    """Sums since the first batch was asked for."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("images", "wait_s", "decode_s", "augment_s"), 0.0)
        self._ready = self._batches = 0
        self._started_s = time.perf_counter()

    def start(self) -> None:
        """Begin to count the time, where no batch was counted yet."""
        if not self._batches:
            self._started_s = time.perf_counter()

    def add(
        self,
        is_pad: Sequence[bool],
        *,
        wait_s: float,
        decode_s: float,
        augment_s: float,
    ) -> None:
        """Count a batch.

        Args:
            is_pad: Which rows only fill it up.
            wait_s: Seconds that the consumer waited for it.
            decode_s: Seconds of decoding, in the worker.
            augment_s: Seconds of augmenting, in the worker.
        """
        self._batches += 1
        self._ready += wait_s < _READY_S
        for name, value in (
            ("images", float(len(is_pad))),
            ("wait_s", wait_s),
            ("decode_s", decode_s),
            ("augment_s", augment_s),
        ):
            self._sums[name] += value

    def stats(self) -> dict[str, float]:
        """Return ``images_per_s, wait_s, decode_s, augment_s, queue_fill``."""
        elapsed = max(time.perf_counter() - self._started_s, 1e-9)
        return {
            "images_per_s": self._sums["images"] / elapsed,
            "wait_s": self._sums["wait_s"],
            "decode_s": self._sums["decode_s"],
            "augment_s": self._sums["augment_s"],
            "queue_fill": self._ready / max(1, self._batches),
        }
