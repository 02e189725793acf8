"""What was done to a sample: a frozen value from which the same pixels can be made.

A record says which sample it was (shard, index, uid), where it stood (epoch, position),
what its draws came from (seed, visit, view) and what was drawn and applied. Nothing in
it depends on the batch, the worker or the rank. What was not applied is not logged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

from fiberaug.errors import UsageError
from fiberaug.params import encode
from fiberaug.tiling import Tile

__all__ = [
    "VERSION",
    "AppliedTransform",
    "PackedRecord",
    "Record",
    "RecordContext",
    "Records",
]

VERSION = 1
_PARTNER = ("mix", "key", "url", "index", "position")
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=encode)


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
    """What was done to a sample; :meth:`to_json` and :meth:`from_json` are inverse."""

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
    """Decoder, and shape [H, W, C] and EXIF orientation of what it decoded. Of a tile
    the shape is its own, and ``tile`` says where it lies: ``number``, ``window``
    [x_min, y_min, x_max, y_max] and ``photo`` [H, W], px, upright."""

    applied_transforms: tuple[AppliedTransform, ...]
    """Operations in the order in which they were executed."""

    batch: Mapping[str, Any]
    """``unit`` (position // b0), ``row`` in the unit, and ``partners`` of mixes: for
    each ``mix``, ``key``, ``url``, ``index`` and ``position``."""

    recipe: str
    """Hash of the recipe; the recipe itself stands in the run's manifest."""

    environment: str
    """Hash of the environment; the versions stand in the run's manifest."""

    replayable: bool
    """Whether the pipeline can be rebuilt from the recipe alone."""

    pixels: str | None = None
    """BLAKE2b-64 over dtype, shape and bytes of the augmented image [H, W, C], before a
    normalisation that is done for the whole batch: 16 hexadecimal digits, where
    ``pixel_hash=True`` asked for it; else None, and JSON has no such field."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values, which it shares."""
        values = {name: getattr(self, name) for name in self.__slots__}
        if self.pixels is None:
            del values["pixels"]
        values["applied_transforms"] = [
            {"path": t.path, "name": t.name, "params": t.params}
            for t in self.applied_transforms
        ]
        return values

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return _ENCODER.encode(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that ``data`` describes.

        Raises:
            UsageError: ``data`` is no mapping, the version is not known, or a field of
                the record or of an operation is missing, unknown or of another type.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"a record is a mapping, got {type(data).__name__}")
        if data.get("v") != VERSION:
            raise UsageError(f"record version must be {VERSION}, got {data.get('v')!r}")
        _check_fields(cls, data, "a record")
        _check_types(data, _TYPES)
        operations = data["applied_transforms"]
        for operation in operations:
            _check_fields(AppliedTransform, operation, "an applied transform")
            _check_types(operation, _OPERATION_TYPES)
        applied = tuple(AppliedTransform(**operation) for operation in operations)
        return cls(**{**data, "applied_transforms": applied})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that one line of JSON describes.

        Raises:
            UsageError: The text is no JSON, or see :meth:`from_dict`.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the record is no JSON: {error}") from error
        return cls.from_dict(data)


_NAMES: Mapping[type[Any], tuple[frozenset[str], frozenset[str]]] = {
    kind: (
        frozenset(field.name for field in fields(kind)),
        frozenset(field.name for field in fields(kind) if field.default is None),
    )
    for kind in (Record, AppliedTransform)
}
"""Fields of each format, and those that may miss."""

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("key", "url", "uid", "origin", "recipe", "environment"), str),
    **dict.fromkeys(("index", "position", "visit", "view", "epoch", "seed"), int),
    **dict.fromkeys(("decode", "batch"), Mapping),
    "applied_transforms": (list, tuple),
    "replayable": bool,
}
_OPERATION_TYPES = {"path": str, "name": str, "params": Mapping}
_SHOWN = {int: "a whole number from 0 to 2**64 - 1", str: "text", bool: "true or false"}


def _check_types(
    data: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]]
) -> None:
    for name, kind in types.items():
        value = data[name]
        fits = isinstance(value, kind)
        if kind is int:  # the words of a seeding key; True is no number
            fits = type(value) is int and 0 <= value < 2**64
        if not fits:
            expected = _SHOWN.get(kind) if isinstance(kind, type) else "a list"
            raise UsageError(
                f"in a record {name} is {expected or 'a mapping'}, got"
                f" {type(value).__name__} {value!r:.80}"
            )


def _check_fields(kind: type[Record | AppliedTransform], data: Any, what: str) -> None:  # noqa: ANN401
    if not isinstance(data, Mapping):
        raise UsageError(f"{what} is a mapping, got {type(data).__name__}")
    names, optional = _NAMES[kind]
    if data.keys() == names - optional:  # a log has millions of them
        return
    if names - optional != set(data) - optional or set(data) - names:
        raise UsageError(
            f"{what} has the fields {sorted(names)};"
            f" missing {sorted(names - optional - set(data))},"
            f" unknown {sorted(set(data) - names, key=str)}"
        )


class PackedRecord(NamedTuple):
    """A record as a worker sends it: what differs between samples, unformatted."""

    key: str
    url: str
    number: int
    """Number of the sample in the shard."""

    uid: int
    position: int
    visit: int
    view: int
    shape: tuple[int, ...]
    orientation: int
    operations: Sequence[tuple[int, Mapping[str, Any]]]
    """(number of the leaf, packed parameters)."""

    pixels: str = ""
    """Hash of the augmented image, where asked for."""

    tile: tuple[Any, ...] = ()
    """A :class:`fiberaug.tiling.Tile`, where photos are cut."""

    partners: tuple[tuple[str, str, str, int, int], ...] = ()
    """(mix, key, shard, number in the shard, position) of each partner."""

    origin: str = ""
    """Source of the mix; empty: the data set itself."""


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

    constant: tuple[dict[str, Any], ...] = ()
    """``path``, ``name`` and ``params`` of operations that are done to every sample in
    the consumer, such as Normalize."""

    last: int | None = None
    """The leaf that comes after them, such as MixUp."""

    def at(self, epoch: int) -> Self:
        """Return the same context in another epoch."""
        return replace(self, epoch=epoch)

    def unpack(self, packed: PackedRecord) -> Record:
        """Return the record of a packed one."""
        values = self._values(packed)
        operations = values.pop("applied_transforms")
        applied = [AppliedTransform(**encode(operation)) for operation in operations]
        return Record(**values, applied_transforms=tuple(applied))

    def to_json(self, packed: PackedRecord) -> str:
        """Return ``unpack(packed).to_json()`` in two fifths of the time."""
        try:
            return _ENCODER.encode(self._values(packed))
        except ValueError:  # a number that JSON does not have
            return self.unpack(packed).to_json()

    def _values(self, packed: PackedRecord) -> dict[str, Any]:
        leaves, position = self.leaves, packed.position
        operations: list[dict[str, Any]] = []
        behind: list[dict[str, Any]] = []
        for number, params in packed.operations:
            path, name = leaves[number]
            one = {"path": path, "name": name, "params": params}
            (behind if number == self.last else operations).append(one)
        operations += (*self.constant, *behind)
        values: dict[str, Any] = {
            "v": VERSION,
            "key": packed.key,
            "url": packed.url,
            "index": packed.number,
            "uid": f"{packed.uid:016x}",
            "position": position,
            "visit": packed.visit,
            "view": packed.view,
            "epoch": self.epoch,
            "seed": self.seed,
            "origin": packed.origin or self.origin,
            "decode": {
                **self.decoder,
                "shape": list(packed.shape),
                "orientation": packed.orientation,
            },
            "applied_transforms": operations,
            "batch": {
                "unit": position // self.unit,
                "row": position % self.unit,
                "partners": [
                    dict(zip(_PARTNER, one, strict=True)) for one in packed.partners
                ],
            },
            "recipe": self.recipe,
            "environment": self.environment,
            "replayable": self.replayable,
        }
        if packed.pixels:
            values["pixels"] = packed.pixels
        if packed.tile:
            values["decode"]["tile"] = Tile(*packed.tile).to_dict()
        return values


class Records:
    """The records of a batch, unpacked when they are looked at.

    A row is a :class:`Record`, or with several views a list of them, one for each.

    It is no ``collections.abc.Sequence`` on purpose: frameworks that walk through a
    batch to move tensors rebuild sequences, and would unpack every record on the way.

    Args:
        packed: Packed records, the views of a row behind each other.
        context: What they share.
        views: Views of a row.
    """

    def __init__(
        self,
        packed: Sequence[tuple[Any, ...]],
        context: RecordContext,
        views: int = 1,
    ) -> None:
        self._packed, self._context, self._views = packed, context, views

    @property
    def views(self) -> int:
        """Views of a row."""
        return self._views

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._packed) // self._views

    def __getitem__(self, row: int | slice) -> Any:  # noqa: ANN401  # as the class says
        """Return the record of a row, with views a list of them, or a list of rows."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        first = range(len(self))[row] * self._views
        found = [
            self._context.unpack(PackedRecord(*packed))
            for packed in self._packed[first : first + self._views]
        ]
        return found[0] if self._views == 1 else found

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows."""
        return (self[row] for row in range(len(self)))

    def texts(self) -> list[str]:
        """Return the records as lines of JSON, the views of a row behind each other."""
        context = self._context
        return [context.to_json(PackedRecord(*packed)) for packed in self._packed]

    def __repr__(self) -> str:
        """Return the number of records."""
        return f"<{len(self._packed)} records>"
