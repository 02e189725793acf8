"""Real photos of shards or folders, in an exact order, decoded by workers."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import DataRefused, StateMismatch
from fiberaug.loader import DataLoader
from fiberaug.making import Made, Maker
from fiberaug.training.contracts import Photos, RealBatch
from fiberaug.training.crops import recorded_place
from fiberaug.training.feeding_captions import CAPTION, caption_of
from fiberaug.training.feeding_pixels import real_batch
from fiberaug.training.feeding_table import Table
from fiberaug.training.holding import spread_rows
from fiberaug.training.windows import Crop

__all__ = ["FixedPhotos", "ShardSource"]

_log = logging.getLogger("fiberaug")
_REFERENCE = 2**64 - 1  # no epoch of a training


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedPhotos:
    """Photos that are decoded one by one, the same at every call."""

    dataset: StreamingDataset
    """Cuts them as figures want it."""

    table: Table
    """Which ones."""

    captioned: bool = False
    """Whether labels are numbers of captions, which the index does not have."""

    def read(self, count: int, crop: Crop, *, labelled: bool) -> Photos:
        """Return at most ``count`` photos; broken ones are left out.

        Args:
            count: Most of them, >= 1.
            crop: How they are cut.
            labelled: Whether they have labels.

        Raises:
            DataRefused: A label is another than the index says.
        """
        table, windows = self.table, crop.scales is not None
        labels = table.labels if labelled else np.zeros(len(table), np.int64)
        rows, visits = spread_rows(labels, count, again=windows)
        maker = Maker(self.dataset.setup)
        images = np.empty((len(rows), *crop.size, self._channels), np.uint8)
        places = np.empty((len(rows), 3), np.float32)
        sound = np.zeros(len(rows), bool)
        for at, (row, visit) in enumerate(zip(rows, visits, strict=True)):
            made = self._made(maker, int(row), int(visit))
            if made is None:
                continue
            if labelled and not self.captioned:
                self._check_label(made, int(table.labels[row]))
            images[at] = self._pixels(made)
            if windows:
                record = self.dataset.context(0).unpack(made.packed)
                places[at] = recorded_place(record, crop.size)
            sound[at] = True
        return Photos(
            images[sound],
            table.labels[rows[sound]] if labelled else None,
            places[sound] if windows else None,
        )

    @property
    def _channels(self) -> int:
        return 1 if self.dataset.setup.decoder.options.color == "gray" else 3

    def _made(self, maker: Maker, row: int, visit: int) -> Made | None:
        table = self.table
        place = int(table.shards[row]), int(table.numbers[row])
        try:
            return maker.make(*place, _REFERENCE, 0, visit=visit, seed=0)
        except DataRefused as error:
            _log.warning("a photo is left out of figures: %s", error)
            return None

    def _pixels(self, made: Made) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = made.fields["image"]
        if image.dtype != np.uint8 or image.shape[2] != self._channels:
            raise DataRefused(
                f"photos must be uint8 with {self._channels} channels behind the data"
                f" set's transform, got {image.dtype} with {image.shape[2]}: leave"
                " Normalize and ToTensorV2 out, and keep the channels",
                key=made.packed.key,
            )
        return image

    @staticmethod
    def _check_label(made: Made, label: int) -> None:
        found = made.fields.get("label")
        if found != label:
            raise DataRefused(
                f"the index says label {label}, the sample has {found!r:.80}: index the"
                " shards again (`fiberaug index`), or leave fields out",
                key=made.packed.key,
            )


class ShardSource:
    """Photos of a data set; a :class:`fiberaug.training.contracts.Source`.

    The order is that of :class:`fiberaug.StreamingDataset`: passes over the set follow
    each other without a gap, so that batches are full and every photo comes once in
    each pass.

    Args:
        dataset: Deals and cuts photos; its epoch is a whole number of batches.
        train: Those to train on.
        held: Those that are held out; None: none.
        crop: How photos are cut in training.
        classes: Names by label; empty: nothing is conditioned.
        batch_size: Rows of a step, over all ranks.
        num_workers: Processes that decode.
        captioned: Whether the classes are captions.
        notes: What a user should know of the data.
    """

    def __init__(
        self,
        dataset: StreamingDataset,
        *,
        train: FixedPhotos,
        held: FixedPhotos | None,
        crop: Crop,
        classes: Sequence[str],
        batch_size: int,
        num_workers: int = 0,
        captioned: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.size, self.has_places = crop.size, crop.scales is not None
        gray = dataset.setup.decoder.options.color == "gray"
        self.channels = 1 if gray else 3
        self.classes, self.photos = tuple(classes), len(train.table)
        self.notes = tuple(notes)
        """What a user should know of the data."""
        self._dataset, self._train, self._held = dataset, train, held
        self._crop, self._captioned = crop, captioned
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        self._loader = DataLoader(
            dataset, batch_size=batch_size // dataset.world_size, drop_last=True,
            num_workers=num_workers, persistent_workers=num_workers > 0,
        )  # fmt: skip

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(height, width) of the photos to train on, where known, px, int64 [n, 2]."""
        return self._train.table.known_sizes()

    def counts(self) -> NDArray[np.int64]:
        """Return the photos to train on of each class, int64 [classes]."""
        if not self.classes:
            return np.zeros(0, np.int64)
        return np.bincount(self._train.table.labels, minlength=len(self.classes))

    def batches(self) -> Iterator[RealBatch]:
        """Yield this rank's rows of one step after the other, without end.

        Raises:
            FiberAugError: See :class:`fiberaug.DataLoader`.
        """
        # A pass that was broken off goes on: the loader itself would begin the next.
        self._loader.load_state_dict(self._loader.state_dict())
        while True:
            for batch in self._loader:
                places = None
                if self.has_places:
                    found = [recorded_place(r, self.size) for r in batch["record"]]
                    places = np.asarray(found, np.float32)
                labels = self._labels(batch) if self.classes else None
                yield real_batch(batch["image"], labels, places)

    def _labels(self, batch: Mapping[str, Any]) -> torch.Tensor:
        if not self._captioned:
            found: torch.Tensor = batch["label"]
            return found
        texts = batch[CAPTION]
        return torch.tensor([self._numbers[caption_of(one)] for one in texts])

    def reference(self, count: int, *, held_out: bool = False) -> Photos:
        """Return at most ``count`` photos, the same ones at every call.

        Args:
            count: Most of them, >= 1.
            held_out: Those that are never trained on.

        Raises:
            DataRefused: They are none to train on.
        """
        part = self._held if held_out else self._train
        if part is None:
            part = replace(self._train, table=self._train.table.none())
        return part.read(count, self._crop, labelled=bool(self.classes))

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch that came last."""
        return {"v": 1, "kind": "shards", "loader": self._loader.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at that position, also with other workers or another number of ranks.

        Raises:
            StateMismatch: The state is of other photos, another cut or batch size.
        """
        if (state.get("v"), state.get("kind")) != (1, "shards"):
            raise StateMismatch(
                f"the state is of a source {state.get('kind')!r} of version"
                f" {state.get('v')!r}, here it is one of shards, version 1"
            )
        self._loader.load_state_dict(state["loader"])

    def describe(self) -> dict[str, Any]:
        """Return what the data is, fit for JSON."""
        sizes = self.sizes
        return {
            "kind": "shards",
            "fingerprint": self._dataset.shard_set.fingerprint,
            "photos": self.photos,
            "held_out": 0 if self._held is None else len(self._held.table),
            "photo_px": np.median(sizes, axis=0).tolist() if len(sizes) else None,
            "classes": list(self.classes),
            "counts": self.counts().tolist(),
            "windows": self.has_places,
            "scales": None if self._crop.scales is None else list(self._crop.scales),
            "flip": self._crop.flip,
            "seed": self._dataset.plan.seed,
            "recipe": self._dataset.recipe_hash,
        }

    def close(self) -> None:
        """End the processes that decode."""
        self._loader.close()
