"""Images of a class beside one's photos, so that the model does not forget it.

Ruiz et al., "DreamBooth", 2022, equation 2: beside each photo goes an image of the
class, given by the user or made by the model itself before it is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.training.contracts import Photos, RealBatch
from fiberaug.training.feeding_pixels import real_batch
from fiberaug.training.lora_latents import LatentSource

__all__ = ["GeneratedSource", "WithPrior"]

Paint = Callable[[Sequence[int]], NDArray[np.uint8]]
"""Seeds to images, uint8 [N, H, W, 3]."""


class GeneratedSource:
    """Images that a model makes of the seeds 0, 1, ...; to be encoded once.

    Args:
        paint: Makes them.
        count: How many, >= 1.
        size: (height, width), px.
        rows: Of a batch.
        facts: What they follow from, fit for JSON.
    """

    def __init__(
        self,
        paint: Paint,
        count: int,
        *,
        size: tuple[int, int],
        rows: int,
        facts: Mapping[str, Any],
    ) -> None:
        self.size, self.channels = size, 3
        self.classes: tuple[str, ...] = ()
        self.photos, self.has_places = count, False
        self._paint, self._rows, self._facts = paint, rows, dict(facts)
        self._position = 0

    def batches(self) -> Iterator[RealBatch]:
        """Yield images, one made after the other, without end."""
        while True:
            first, self._position = self._position, self._position + self._rows
            seeds = [(first + row) % self.photos for row in range(self._rows)]
            made = self._paint(seeds).transpose(0, 3, 1, 2)
            yield real_batch(torch.from_numpy(np.ascontiguousarray(made)))

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return none: figures are taken of photos."""
        del count, held_out
        return Photos(np.empty((0, *self.size, 3), np.uint8))

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch that came last."""
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at that position."""
        self._position = int(state["position"])

    def describe(self) -> dict[str, Any]:
        """Return what they are, fit for JSON."""
        return {"kind": "generated", "photos": self.photos, **self._facts}

    def close(self) -> None:
        """Do nothing."""


class WithPrior:
    """Photos, and behind them in each batch as many images of the prior.

    Args:
        photos: What is learned.
        prior: What is not to be forgotten.
    """

    def __init__(self, photos: LatentSource, prior: LatentSource) -> None:
        self.own, self.prior = photos, prior
        self.size, self.channels = photos.size, photos.channels
        self.classes, self.photos = photos.classes, photos.photos
        self.has_places, self.notes = False, photos.notes
        self.sizes = photos.sizes

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end."""
        for mine, theirs in zip(self.own.batches(), self.prior.batches(), strict=True):
            assert mine.labels is not None  # noqa: S101  # for the type
            assert theirs.labels is not None  # noqa: S101
            yield RealBatch(
                torch.cat([mine.images, theirs.images]),
                torch.cat([mine.labels, theirs.labels]),
            )

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return at most ``count`` photos, the same ones at every call."""
        return self.own.reference(count, held_out=held_out)

    def state_dict(self) -> dict[str, Any]:
        """Return the positions after the batch that came last."""
        return {"photos": self.own.state_dict(), "prior": self.prior.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at those positions.

        Raises:
            StateMismatch: The state is of other photos.
        """
        self.own.load_state_dict(state.get("photos", {}))
        self.prior.load_state_dict(state.get("prior", {}))

    def describe(self) -> dict[str, Any]:
        """Return what the data is, fit for JSON."""
        return {**self.own.describe(), "prior": self.prior.describe()}

    def close(self) -> None:
        """End its processes."""
        self.own.close()
        self.prior.close()
