"""Photos as latents: encoded once, kept on the disk, read in an exact order.

Of each photo ``views`` cuts are encoded, in the order in which the photos' own source
deals them; then the same ones come again, in another order. Mean and standard deviation
are kept, so that what is drawn between them is another one at each visit.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

from fiberaug.errors import StateMismatch, StoreError
from fiberaug.files import write_atomically
from fiberaug.order import keyed_permutation
from fiberaug.sharing import rank_range
from fiberaug.training.contracts import Photos, RealBatch, Source
from fiberaug.training.ranking import Ranks

__all__ = ["LatentSource", "key_of"]

_ORDER = 35  # what a permutation is for
_VERSION = 1

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
        self._path: Path | None = None
        self._labels = np.zeros(0, np.int64)
        self._order: tuple[int, Any] | None = None

    @property
    def total(self) -> int:
        """Latents that are kept."""
        return self.views * self.photos

    def encode(self, folder: Path, key: str) -> None:
        """Encode all photos into a file of a folder, or find it there.

        Only the first rank does; the others wait.

        Args:
            folder: Made where it is not there.
            key: What the latents follow from, beside the photos.

        Raises:
            StoreError: The disk is full.
        """
        described = self.inner.describe()
        name = key_of(key=key, data=described, views=self.views, v=_VERSION)
        path = folder / f"latents-{name}.npy"
        if self._ranks.is_first and not _is_whole(path):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._write(path)
            except OSError as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreError(
                    f"cannot keep latents in {folder}: {error.strerror}"
                ) from error
        self._ranks.told(None)
        self._path = path
        self._labels = np.array(json.loads(_labels_of(path).read_text()), np.int64)

    def _write(self, path: Path) -> None:
        labels: list[int] = []
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        left = self.total
        with beside.open("wb") as file:
            for batch in self.inner.batches():
                some = batch.images[:left]
                values = self._encode(some).numpy().astype("<f4")
                if left == self.total:
                    shape = (self.total, *values.shape[1:])
                    npy.write_array_header_1_0(
                        file, {"descr": "<f4", "fortran_order": False, "shape": shape}
                    )
                file.write(values.tobytes())
                rows = [0] * len(some)
                if batch.labels is not None:
                    rows = batch.labels[:left].tolist()
                labels += rows
                left -= len(some)
                if left <= 0:
                    break
            file.flush()
            os.fsync(file.fileno())
        write_atomically(_labels_of(path), json.dumps(labels).encode())
        beside.replace(path)

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end."""
        if self._path is None:
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
        assert self._path is not None  # noqa: S101  # for the type
        rows = [self._row(*divmod(one, self.total)) for one in positions]
        with self._path.open("rb") as file:
            npy.read_magic(file)
            (_, *latent), _, _ = npy.read_array_header_1_0(file)
            begin, numbers = file.tell(), int(np.prod(latent))
            found = []
            for row in rows:  # read, not mapped: a mapped file counts as memory
                file.seek(begin + 4 * numbers * row)
                found.append(np.fromfile(file, "<f4", numbers).reshape(latent))
        labels = torch.from_numpy(self._labels[rows])
        images = torch.from_numpy(np.stack(found).astype(np.float32))
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
        name = None if self._path is None else self._path.name
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


def _labels_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_whole(path: Path) -> bool:
    """Return whether a file of latents is there; it is renamed when it is complete."""
    return path.is_file() and _labels_of(path).is_file()
