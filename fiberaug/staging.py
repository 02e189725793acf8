"""What happens to a batch after its samples were made: mixes, and the batch operations.

The worker's half of it. It draws for units, takes partners from the unit (those that
are not in the batch are made, too, and travel behind its rows), moves boxes and points,
mixes labels, and writes all of it into the records. The pixels of batch operations and
of blends are left to the consumer (:mod:`fiberaug.batching`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.gpu.moving import move_fields
from fiberaug.making import Made
from fiberaug.mixes.base import UNMIXED, Mix, RowDraw
from fiberaug.mixes.blending import Blend
from fiberaug.mixes.labels import mix_labels
from fiberaug.params import pack
from fiberaug.partners import Mixing, Units, View, regrouped, with_operations

if TYPE_CHECKING:
    from fiberaug.gpu.program import Program

__all__ = ["BatchStage", "Blending", "Staged"]

_LINKED = (
    "mask", "masks", "mask_labels", "bboxes", "bbox_labels", "bbox_ids", "keypoints",
    "keypoint_labels", "polygons",
)  # fmt: skip
Deliver = Callable[[int], Made]


class Blending(NamedTuple):
    """How the rows of a batch are blended with each other."""

    partners: list[int]
    """The row that each row is blended with: its own number for none."""

    draws: list[RowDraw]
    """What was drawn for each row."""


@dataclass(slots=True)
class Staged:
    """The rows of a batch, and what is left for the consumer to do."""

    rows: list[Made]
    """Rows of the batch, then partners that are in it only to be blended."""

    partners: int = 0
    """How many of ``rows`` are only partners."""

    drawn: Any = None
    """The skeleton of :class:`fiberaug.gpu.program.Drawn`."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """What was drawn for batch operations."""

    blending: Blending | None = None


@dataclass(frozen=True, kw_only=True)
class BatchStage:
    """Mixes and batch operations of a loader.

    Args:
        program: The batch operations; None: there are none.
        mixes: The mixes, in their order.
        unit: b0, rows of a unit.
        seed: Seed of the run.
        first_leaf: Number of the first leaf of mixes and operations in records.
        classes: Number of classes, for labels that are mixed; 0: not known.
        kinds: Kinds of fields with names of their own.
    """

    program: "Program | None"
    mixes: tuple[Mix, ...]
    unit: int
    seed: int
    first_leaf: int
    classes: int
    kinds: Mapping[str, str]

    @property
    def mixing(self) -> Mixing:
        """What units are mixed by."""
        return Mixing(self.mixes, self.unit, self.seed, self.first_leaf)

    @property
    def blends(self) -> list[Blend]:
        """The mix that blends in the consumer, or none."""
        return [mix for mix in self.mixes if isinstance(mix, Blend)]

    @property
    def mask_fields(self) -> list[str]:
        """Names of the fields that are masks."""
        also = [name for name, kind in self.kinds.items() if kind == "mask"]
        return [*dict.fromkeys(("mask", "masks", *also))]

    @property
    def changes(self) -> frozenset[str]:
        """Fields that can differ between views of a sample because of this."""
        changed = {"image"}
        if self.mixing.composes or (self.program is not None and self.program.moves):
            changed |= {*_LINKED, *self.kinds}
        if self.blends:
            changed |= {"mask", "label"}
        return frozenset(changed)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a run folder says of this: enough to make it again.

        An operation that does not serialise is there as ``text``.
        """
        gpu = [] if self.program is None else self.program.described()
        fused = self.program is not None and self.program.fused
        batch = [mix.spec() for mix in self.mixes]
        return {"gpu": gpu, "batch": batch, "fused": fused}

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name all of this."""
        text = json.dumps(self.identity, sort_keys=True)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def why_not_replayable(self) -> str | None:
        """Why a run folder alone cannot bring this back, or None."""
        return None if self.program is None else self.program.why_not_replayable()

    @property
    def leaves(self) -> tuple[tuple[str, str], ...]:
        """(path, name) of what records can name: mixes first, then operations."""
        mixes = [(f"batch.{i}", mix.name) for i, mix in enumerate(self.mixes)]
        return (*mixes, *(self.program.leaves if self.program is not None else ()))

    def __call__(
        self,
        rows: Sequence[Made],
        epoch: int,
        reach: Callable[[int], int],
        deliver: Deliver,
    ) -> Staged:
        """Return a batch, mixed and drawn.

        Args:
            rows: Its samples.
            epoch: Epoch, from 0.
            reach: The end of the epoch, or its argument where that is nearer.
            deliver: Makes the sample of a position.

        Raises:
            UsageError: Images do not suit the operations.
        """
        unit = Units(self.mixing, epoch, reach, deliver, rows)
        staged = Staged(list(rows))
        blending = self._partners(staged, unit)
        if self.mixing.composes:
            staged.rows = [unit.composed(made) for made in staged.rows]
        size = staged.rows[0].fields["image"].shape[:2]
        if self.program is not None:
            size = self._draw(staged, epoch, self.program) or size
        if blending is not None:
            self._blend(staged, blending, size)
        return staged

    def _partners(self, staged: Staged, unit: "Units") -> Blending | None:
        """Return who is blended with whom, and add the partners that are missing."""
        if not self.blends:
            return None
        mix = self.blends[0]
        number = self.mixes.index(mix)
        views = [made.views() for made in staged.rows]
        rows = {
            made.packed.position: row
            for row, made in enumerate(staged.rows)
            if not made.is_pad
        }
        wanted: list[tuple[int | None, RowDraw]] = []
        for made, seen in zip(staged.rows, views, strict=True):
            for _, packed in seen:
                draw = unit.draw(number, made.packed.position, packed.view)
                first = made.packed.position // self.unit * self.unit
                partner = None
                if draw.applied and not made.is_pad:
                    partner = first + draw.partners[0]
                    if unit.is_masked(partner):
                        partner = None
                wanted.append((partner, draw))
        for position, _ in wanted:
            if position is not None and position not in rows:
                rows[position] = len(staged.rows)
                staged.rows.append(unit.sample(position))
                staged.partners += 1
        count = len(views[0])
        partners, draws = [], []
        for i, (position, draw) in enumerate(wanted):
            other = i if position is None else rows[position] * count + i % count
            partners.append(other)
            draws.append(UNMIXED if position is None else draw)
        return Blending(partners, draws)

    def _draw(
        self, staged: Staged, epoch: int, program: "Program"
    ) -> tuple[int, int] | None:
        """Draw for batch operations; return (height, width) of what comes out."""
        views = [View(*view) for made in staged.rows for view in made.views()]
        image = views[0].fields["image"]
        if any(view.fields["image"].shape != image.shape for view in views):
            return None  # stacking says which
        for view in views:
            _check_range(view)
        height, width, channels = image.shape
        shape = channels, height, width
        rows = [(view.packed.position, view.packed.view) for view in views]
        drawn, noted = program.draw(epoch, rows, shape)
        staged.drawn, staged.arrays = drawn.skeleton(), drawn.arrays()
        _, _, *after = program.shapes(shape)[-1]
        size = after[0], after[1]
        first = self.first_leaf + len(self.mixes)
        changed = []
        for view, row in zip(views, noted, strict=True):
            operations = [(first + n, pack(params)) for n, params in row.operations]
            fields = view.fields
            if row.matrix is not None:
                fields = move_fields(fields, row.matrix, size)
            changed.append(View(fields, with_operations(view.packed, operations)))
        staged.rows = regrouped(staged.rows, changed)
        return size

    def _blend(self, staged: Staged, blending: Blending, size: tuple[int, int]) -> None:
        """Mix labels, and write partners into the records."""
        mix = self.blends[0]
        blending = blending._replace(draws=mix.placed(blending.draws, size))
        staged.blending = blending
        number = self.first_leaf + self.mixes.index(mix)
        views = [View(*view) for made in staged.rows for view in made.views()]
        mixed = views[: len(blending.partners)]
        others = [views[row] for row in blending.partners]
        labels = _labels(mix, mixed, others, blending.draws, self.classes)
        changed = []
        for view, other, draw, label in zip(
            mixed, others, blending.draws, labels, strict=True
        ):
            fields, packed = view.fields, view.packed
            if label is not None:
                fields = {**fields, "label": label}
            if draw.applied:
                packed = with_operations(
                    packed, [(number, pack(draw.params))], mix.name, [other]
                )
            changed.append(View(fields, packed))
        # Labels of partners are of no use any more, but all have to be of one form.
        form = {} if labels[0] is None else {"label": labels[0]}
        partners = [
            view._replace(fields={**view.fields, **form})
            for view in views[len(changed) :]
        ]
        staged.rows = regrouped(staged.rows, [*changed, *partners])


def _labels(
    mix: Blend,
    mixed: Sequence[View],
    others: Sequence[View],
    draws: Sequence[RowDraw],
    classes: int,
) -> list[NDArray[np.float32] | float | None]:
    if mixed[0].fields.get("label") is None:
        return [None] * len(mixed)
    own = [view.fields["label"] for view in mixed]
    partners = [view.fields["label"] for view in others]
    classes = mix.num_classes or classes
    made = mix_labels(own, partners, draws, classes or None, mix.smoothing)
    return made.tolist() if made.ndim == 1 else list(made)


def _check_range(view: View) -> None:
    image = view.fields["image"]
    if image.dtype == np.uint8:
        return
    place: Any = {"shard": view.packed.url, "key": view.packed.key, "stage": "augment"}
    if image.dtype.kind != "f":
        raise UsageError(
            f"batch operations take uint8 images, or float ones in [0, 1], got"
            f" {image.dtype}; end the transform with A.ToFloat, and normalise with"
            " K.Normalize in gpu_transform",
            **place,
        )
    low, high = float(image.min()), float(image.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise UsageError(
            f"batch operations take float images in [0, 1], got [{low:.4g},"
            f" {high:.4g}]; a standard Normalize of uint8 images at the very end of the"
            " transform is done after the batch operations; for any other put"
            " K.Normalize into gpu_transform",
            **place,
        )
