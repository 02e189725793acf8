"""Real photos that are all in memory, in an exact order."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.order import keyed_permutation
from fiberaug.ranks import Share
from fiberaug.seeding import KeyedGenerators, check_seed, key
from fiberaug.sharing import rank_range
from fiberaug.training.contracts import Photos, RealBatch
from fiberaug.training.feeding_pixels import real_batch
from fiberaug.training.holding import content_numbers, held_share, spread_rows
from fiberaug.training.windows import NUMBERS, Crop, place_of, resized

__all__ = ["ArraySource", "check_batch"]

_ORDER = 32  # what a permutation is for
_REFERENCE = 2**64 - 1  # no epoch of a training


class ArraySource:
    """Photos of arrays; a :class:`fiberaug.training.contracts.Source`.

    Position p of the endless row is photo p mod N of a permutation that follows from
    seed and epoch p // N; a batch can reach over the end of an epoch. What is drawn for
    a photo follows from seed, epoch and photo.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N], in [0, len(classes)); None: nothing is conditioned.
        classes: Names by label.
        crop: How windows are drawn.
        batch_size: Rows of a step, over all ranks.
        seed: Of the order and of what is drawn, in [0, 2**64).
        held_out: Share of the photos that is never trained on.
        rank: This process's rank; None: see :class:`fiberaug.StreamingDataset`.
        world_size: Number of ranks; None: as above.

    Raises:
        UsageError: An argument is out of range.
        DataRefused: There is no photo.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        *,
        classes: Sequence[str],
        crop: Crop,
        batch_size: int,
        seed: int = 0,
        held_out: float = 0.1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if not len(images):
            raise DataRefused("there is no photo to train on: the array has no rows")
        self.size, self.channels = crop.size, int(images.shape[3])
        self.classes, self.has_places = tuple(classes), crop.scales is not None
        self.notes: tuple[str, ...] = ()
        """What a user should know of the data."""
        self._crop, self._seed = crop, check_seed(seed)
        self._batch, self._share = check_batch(batch_size), Share(rank, world_size)
        self.sizes = np.array([images.shape[1:3]], np.int64)
        """(height, width) of all photos, px, int64 [1, 2]."""
        self._images = _fitted(images, crop)
        self._labels = labels
        self._digest = _fingerprint(images, labels)
        share = held_share(held_out, len(images))
        held = np.zeros(len(images), bool)
        if share:
            held = content_numbers(images) >= 1 - share
        if held.all():
            held[:] = False
        self._held, self._rows = np.flatnonzero(held), np.flatnonzero(~held)
        self.photos = len(self._rows)
        self._position = 0
        self._generators = KeyedGenerators()
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def counts(self) -> NDArray[np.int64]:
        """Return the photos to train on of each class, int64 [classes]."""
        if self._labels is None:
            return np.zeros(0, np.int64)
        return np.bincount(self._labels[self._rows], minlength=len(self.classes))

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end.

        Raises:
            UsageError: ``batch_size`` is no multiple of the number of ranks.
        """
        while True:
            first, end = self._position, self._position + self._batch
            part, _ = rank_range(
                end, self._batch, 0, *self._share(), start=first
            )  # its checks say what does not fit
            batch = self._made(part)
            self._position = end
            yield batch

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return at most ``count`` photos, the same ones at every call.

        Args:
            count: Most of them, >= 1.
            held_out: Those that are never trained on.
        """
        rows = self._held if held_out else self._rows
        labels = self._labels
        groups = np.zeros(len(rows), np.int64) if labels is None else labels[rows]
        chosen, visits = spread_rows(groups, count, again=self.has_places)
        rows = rows[chosen]
        drawn = [
            key(0, _REFERENCE, int(row), int(visit), 0, "feeding")
            for row, visit in zip(rows, visits, strict=True)
        ]
        images, places = self._windows(rows, drawn, self._crop.for_figures())
        return Photos(
            images,
            None if labels is None else labels[rows],
            places if self.has_places else None,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch that came last."""
        return {
            "v": 1,
            "kind": "arrays",
            "fingerprint": self._digest,
            "seed": self._seed,
            "photos": self.photos,
            "position": self._position,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at that position, also with another batch size or number of ranks.

        Raises:
            StateMismatch: The state is of other photos or of another seed.
        """
        own = self.state_dict()
        for name in ("v", "kind", "fingerprint", "seed", "photos"):
            if state.get(name) != own[name]:
                raise StateMismatch(
                    f"the state is of other data: {name} was {state.get(name)!r}, here"
                    f" it is {own[name]!r}"
                )
        position = state.get("position")
        if type(position) is not int or position < 0:
            raise StateMismatch(f"the state has no position >= 0, but {position!r}")
        self._position = position

    def describe(self) -> dict[str, Any]:
        """Return what the data is, fit for JSON."""
        return {
            "kind": "arrays",
            "fingerprint": self._digest,
            "photos": self.photos,
            "held_out": len(self._held),
            "photo_px": self.sizes[0].tolist(),
            "classes": list(self.classes),
            "counts": self.counts().tolist(),
            "windows": self.has_places,
            "scales": None if self._crop.scales is None else list(self._crop.scales),
            "flip": self._crop.flip,
            "seed": self._seed,
        }

    def close(self) -> None:
        """Do nothing: there are no processes."""

    def _made(self, positions: range) -> RealBatch:
        shown = [divmod(position, self.photos) for position in positions]
        rows = np.array([self._photo(*one) for one in shown], np.int64)
        drawn = [
            key(self._seed, epoch, int(row), 0, 0, "feeding")
            for (epoch, _), row in zip(shown, rows, strict=True)
        ]
        images, places = self._windows(rows, drawn, self._crop)
        levels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        labels = None
        if self._labels is not None:
            labels = torch.from_numpy(self._labels[rows])
        return real_batch(levels, labels, places if self.has_places else None)

    def _photo(self, epoch: int, place: int) -> int:
        if self._order is None or self._order[0] != epoch:
            order = keyed_permutation(self.photos, _ORDER, self._seed, epoch)
            self._order = epoch, self._rows[order]
        return int(self._order[1][place])

    def _windows(
        self, rows: NDArray[np.int64], drawn: Sequence[bytes], crop: Crop
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return a window of each photo, and where it lies."""
        places = np.zeros((len(rows), 3), np.float32)
        photo = self._images.shape[1], self._images.shape[2]
        if crop.scales is None and photo == self.size and not crop.flip:
            return self._images[rows], places  # nothing is drawn
        images = np.empty((len(rows), *self.size, self.channels), np.uint8)
        for at, (row, of_row) in enumerate(zip(rows, drawn, strict=True)):
            self._generators.jump(of_row)
            numbers = self._generators.numpy.random(NUMBERS).tolist()
            window = crop.draw(photo, numbers)
            images[at] = crop.cut(self._images[row], window)
            places[at] = place_of(window, photo, self.size)
        return images, places


def check_batch(batch_size: int) -> int:
    """Return a batch size that is one.

    Raises:
        UsageError: It is no integer >= 1.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise UsageError(f"batch_size must be an integer >= 1, got {batch_size!r}")
    return batch_size


def _fitted(images: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """Return images at their size already, where nothing of a cut depends on a draw."""
    height, width = images.shape[1:3]
    if (
        crop.scales is not None
        or (height, width) == tuple(crop.size)
        or height * crop.size[1] != width * crop.size[0]
    ):
        return images
    return np.stack([resized(image, crop.size) for image in images])


def _fingerprint(images: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> str:
    digest = hashlib.sha256(f"{list(images.shape)}".encode())
    for image in images:
        digest.update(image.tobytes())
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()
