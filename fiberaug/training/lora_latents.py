"""Photos as latents: encoded once, kept on the disk, read in an exact order.

Of each photo ``views`` cuts are encoded, in the order in which the photos' own source
deals them; then the same ones come again, in another order. Mean and standard deviation
are kept, so that what is drawn between them is another one at each visit.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fiberaug.bars import ProgressBar
from fiberaug.errors import StateMismatch, StoreError
from fiberaug.order import keyed_permutation
from fiberaug.sharing import rank_range
from fiberaug.training.contracts import Photos, RealBatch, Source
from fiberaug.training.lora_cache import LatentFile
from fiberaug.training.ranking import Ranks

__all__ = ["LatentSource", "key_of"]

_ORDER = 35  # what a permutation is for
_VERSION = 2
_KEPT_S = 30.0  # of encoding, that may be lost

Encode = Callable[[torch.Tensor], torch.Tensor]
"""float32 [B, 3, H, W] in [-1, 1] to mean and deviation, float32 [B, 2 C, h, w]."""


def key_of(**facts: Any) -> str:  # noqa: ANN401  # fit for JSON
    """Return a name for latents that follow from some facts."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class LatentSource:
    """Latents of photos; a :class:`fiberaug.training.contracts.Source`.

    Until :meth:`encode` was called each batch is encoded as it comes, which is enough
    to tell the time of a step.

    Args:
        photos: Deals photos to one process.
        encode: The VAE.
        rows: Of a step, over all ranks.
        views: Cuts of each photo.
        seed: Of the order, from the second pass over all views on.
        ranks: The processes that train.
        first: Number of the prompt of label 0.
    """

    def __init__(
        self,
        photos: Source,
        encode: Encode,
        *,
        rows: int,
        views: int,
        seed: int,
        ranks: Ranks,
        first: int = 0,
    ) -> None:
        self.inner, self._encode = photos, encode
        self.size, self.channels = photos.size, photos.channels
        self.classes, self.photos = photos.classes, photos.photos
        self.has_places = False
        """Windows are dealt, and no UNet of this kind is told where they lie."""

        self.notes: tuple[str, ...] = tuple(getattr(photos, "notes", ()))
        self.sizes = getattr(photos, "sizes", np.zeros((0, 2), np.int64))
        self.views, self._first = views, first
        self._rows, self._seed, self._ranks = rows, seed, ranks
        self._position = 0
        self._file: LatentFile | None = None
        self._order: tuple[int, Any] | None = None

    @property
    def total(self) -> int:
        """Latents that are kept."""
        return self.views * self.photos

    def encode(
        self,
        folder: Path,
        key: str,
        *,
        needed: int | None = None,
        progress: bool = False,
    ) -> None:
        """Encode photos into a file of a folder, or find them there.

        Only the first rank does; the others wait. What was ended goes on where it was.

        Args:
            folder: Made where it is not there.
            key: What the latents follow from, beside the photos.
            needed: Photos that a training will show: the first ones are enough. None:
                all views of all.
            progress: Show a bar on a terminal.

        Raises:
            StoreError: The disk is full.
        """
        described = self.inner.describe()
        name = key_of(key=key, data=described, views=self.views, v=_VERSION)
        path = folder / f"latents-{name}.npy"
        wanted = self.total
        if needed is not None:
            wanted = min(wanted, needed)  # whole steps are encoded
        if self._ranks.is_first:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._write(LatentFile(path, self.total), wanted, progress=progress)
            except OSError as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreError(
                    f"cannot keep latents in {folder}: {error.strerror}"
                ) from error
        self._ranks.told(None)
        self._file = LatentFile(path, self.total)

    def _write(self, file: LatentFile, wanted: int, *, progress: bool) -> None:
        if len(file) >= wanted:
            return
        if file.source is not None:
            self.inner.load_state_dict(file.source)
        kept = time.monotonic()
        bar = ProgressBar(
            total=wanted, initial=len(file), desc="encode", unit="photo",
            disable=None if progress else True,
        )  # fmt: skip
        try:
            for batch in self.inner.batches():
                some = batch.images[: self.total - len(file)]
                labels = [0] * len(some)
                if batch.labels is not None:
                    labels = batch.labels[: len(some)].tolist()
                values = self._encode(some).numpy()
                file.append(values, labels, self.inner.state_dict())
                bar.update(len(some))
                if len(file) >= wanted:
                    break
                if time.monotonic() - kept > _KEPT_S:
                    file.keep()
                    kept = time.monotonic()
        finally:
            bar.close()
            file.keep()

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end."""
        if self._file is None:
            for batch in self.inner.batches():
                part, _ = rank_range(self._rows, self._rows, 0, *self._two, start=0)
                labels = self._numbered(batch.labels, len(batch.images))
                mine = slice(part.start, part.stop)
                yield RealBatch(self._encode(batch.images[mine]), labels[mine])
            return
        while True:
            first, end = self._position, self._position + self._rows
            part, _ = rank_range(end, self._rows, 0, *self._two, start=first)
            batch = self._read(part)
            self._position = end
            yield batch

    @property
    def _two(self) -> tuple[int, int]:
        return self._ranks.rank, self._ranks.world

    def _numbered(self, labels: torch.Tensor | None, rows: int) -> torch.Tensor:
        if labels is None:
            labels = torch.zeros(rows, dtype=torch.int64)
        return labels + self._first

    def _read(self, positions: range) -> RealBatch:
        assert self._file is not None  # noqa: S101  # for the type
        rows = [self._row(*divmod(one, self.total)) for one in positions]
        images = torch.from_numpy(self._file.read(rows))
        labels = torch.tensor([self._file.labels[row] for row in rows])
        return RealBatch(images, self._numbered(labels, len(rows)))

    def _row(self, turn: int, place: int) -> int:
        """Return which latent comes; in the first turn as the photos were dealt."""
        if not turn:
            return place
        if self._order is None or self._order[0] != turn:
            order = keyed_permutation(self.total, _ORDER, self._seed, turn)
            self._order = turn, order
        return int(self._order[1][place])

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return at most ``count`` photos, the same ones at every call."""
        found = self.inner.reference(count, held_out=held_out)
        return found._replace(places=None)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch that came last."""
        name = None if self._file is None else self._file.path.name
        return {
            "v": 1, "kind": "latents", "file": name, "position": self._position,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at that position.

        Raises:
            StateMismatch: The state is of other latents.
        """
        own = self.state_dict()
        for name in ("v", "kind", "file"):
            if state.get(name) != own[name]:
                raise StateMismatch(
                    f"the state is of other data: {name} was {state.get(name)!r:.80},"
                    f" here it is {own[name]!r:.80}"
                )
        self._position = int(state["position"])

    def describe(self) -> dict[str, Any]:
        """Return what the data is, fit for JSON."""
        return {**self.inner.describe(), "views": self.views}

    def close(self) -> None:
        """End its processes."""
        self.inner.close()
