"""What was done to a sample: a frozen value from which the same pixels can be made.

A record says which sample it was (shard, index, uid), where it stood (epoch, position),
what its draws came from (seed, visit, view) and what was drawn and applied. Nothing in
it depends on the batch, the worker or the rank. What was not applied is not logged.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple, Self

from fiberaug.errors import UsageError

__all__ = [
    "VERSION",
    "AppliedTransform",
    "PackedRecord",
    "Record",
    "RecordContext",
    "Records",
]

VERSION = 1


@dataclass(frozen=True, slots=True)
class AppliedTransform:
    """One operation that was applied."""

    path: str
    """Where it stands in the pipeline: ``2.0`` is the first child of the third."""

    name: str
    """Class name, such as ``RandomResizedCrop``."""

    params: Mapping[str, Any]
    """What was drawn, as plain JSON values; an array of more than 64 numbers as
    ``{"dtype", "shape", "min", "max"}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was done to one sample; :meth:`to_json` and :meth:`from_json` are inverse."""

    v: int = VERSION
    """Version of the record's format."""

    key: str
    """Key of the sample in its shard."""

    url: str
    """File name of the shard, without its folder."""

    index: int
    """Number of the sample in the shard, from 0."""

    uid: str
    """Identity of the sample: 16 hexadecimal digits."""

    position: int
    """Position in the epoch, from 0."""

    visit: int
    """How often the plan had dealt the sample before in this epoch; at least 2**40 for
    a stand-in: 2**40 + 16 * position + attempt."""

    view: int
    """Number of the view."""

    epoch: int
    """Epoch, from 0."""

    seed: int
    """Seed of the run."""

    origin: str
    """Source of the sample; ``real`` for the data set itself."""

    decode: Mapping[str, Any]
    """Decoder, and shape [H, W, C] and EXIF orientation of what it decoded."""

    applied_transforms: tuple[AppliedTransform, ...]
    """Operations in the order in which they were executed."""

    batch: Mapping[str, Any]
    """``unit`` (position // b0), ``row`` in the unit, and ``partners`` of mixes."""

    recipe: str
    """Hash of the recipe; the recipe itself stands in the run's manifest."""

    environment: str
    """Hash of the environment; the versions stand in the run's manifest."""

    replayable: bool
    """Whether the pipeline can be rebuilt from the recipe alone."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            **asdict(self),
            "applied_transforms": [asdict(t) for t in self.applied_transforms],
        }

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that ``data`` describes.

        Raises:
            UsageError: The version is not known, or a field is missing or unknown.
        """
        if data.get("v") != VERSION:
            raise UsageError(f"record version must be {VERSION}, got {data.get('v')!r}")
        names = {field.name for field in fields(cls)}
        if names != set(data):
            raise UsageError(
                f"a record has the fields {sorted(names)}; missing"
                f" {sorted(names - set(data))}, unknown {sorted(set(data) - names)}"
            )
        applied = tuple(AppliedTransform(**t) for t in data["applied_transforms"])
        return cls(**{**data, "applied_transforms": applied})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that one line of JSON describes."""
        return cls.from_dict(json.loads(text))


class PackedRecord(NamedTuple):
    """A record as a worker sends it: what differs from sample to sample, unformatted."""

    key: str
    url: str
    index: int
    uid: int
    position: int
    visit: int
    view: int
    shape: tuple[int, ...]
    orientation: int
    operations: Sequence[tuple[int, Mapping[str, Any]]]
    """(number of the leaf, encoded parameters)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordContext:
    """What all records of an epoch share."""

    epoch: int
    seed: int
    origin: str
    decoder: Mapping[str, Any]
    unit: int
    recipe: str
    environment: str
    replayable: bool
    leaves: tuple[tuple[str, str], ...]
    """(path, name) of each leaf of the pipeline."""

    constant: tuple[AppliedTransform, ...] = ()
    """Operations done to every sample in the consumer, such as Normalize."""

    def at(self, epoch: int) -> Self:
        """Return the same context in another epoch."""
        return replace(self, epoch=epoch)

    def unpack(self, packed: PackedRecord) -> Record:
        """Return the record of a packed one."""
        applied = [
            AppliedTransform(*self.leaves[leaf], params=_plain(params))
            for leaf, params in packed.operations
        ]
        return Record(
            key=packed.key,
            url=packed.url,
            index=packed.index,
            uid=f"{packed.uid:016x}",
            position=packed.position,
            visit=packed.visit,
            view=packed.view,
            epoch=self.epoch,
            seed=self.seed,
            origin=self.origin,
            decode={
                **self.decoder,
                "shape": list(packed.shape),
                "orientation": packed.orientation,
            },
            applied_transforms=(*applied, *self.constant),
            batch={
                "unit": packed.position // self.unit,
                "row": packed.position % self.unit,
                "partners": [],
            },
            recipe=self.recipe,
            environment=self.environment,
            replayable=self.replayable,
        )


def _plain(value: Any) -> Any:  # noqa: ANN401  # JSON values
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return value


class Records:
    """The records of a batch, unpacked when they are looked at.

    It is no ``collections.abc.Sequence`` on purpose: frameworks that walk through a
    batch to move tensors rebuild sequences, and would unpack every record on the way.
    """

    def __init__(self, packed: Sequence[PackedRecord], context: RecordContext) -> None:
        self._packed, self._context = packed, context

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._packed)

    def __getitem__(self, row: int) -> Record:
        """Return the record of a row."""
        return self._context.unpack(self._packed[row])

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records of all rows."""
        return (self._context.unpack(packed) for packed in self._packed)

    def __repr__(self) -> str:
        """Return the number of records."""
        return f"<{len(self)} records>"
