"""The same sample again, from its record."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fiberaug.collate import finish_fields
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine, Made
from fiberaug.errors import ReplayMismatch, UsageError
from fiberaug.loader import DataLoader
from fiberaug.record import Record
from fiberaug.runlog import MANIFEST, read_manifest
from fiberaug.sample import Sample

__all__ = ["open_run", "replay", "replay_pixels"]

Source = DataLoader | StreamingDataset | str | Path


def replay(record: Record | Mapping[str, Any] | str, source: Source) -> Sample:
    """Return the sample that a record describes, pixel for pixel.

    ``sample["image"]`` equals ``batch["image"][i]`` of the batch that the record came
    with. What is drawn again is compared with what the record says.

    Args:
        record: A record, its dict or its JSON.
        source: The loader, the data set, or a run folder.

    Raises:
        ReplayMismatch: The data, the recipe or the drawn parameters are not the
            record's.
        UsageError: The record cannot be read.
    """
    record = _read(record)
    made, engine = _make(record, source)
    table = engine.augment.normalize if engine.augment is not None else None
    fields = finish_fields(made.fields, table)
    return Sample(fields, key=record.key, url=made.url, record=record)


def replay_pixels(
    record: Record | Mapping[str, Any] | str, source: Source
) -> NDArray[Any]:
    """Return the augmented image [H, W, C] of a record before it was normalised.

    Args:
        record: A record, its dict or its JSON.
        source: The loader, the data set, or a run folder.

    Raises:
        ReplayMismatch: See :func:`replay`.
    """
    image: NDArray[Any] = _make(_read(record), source)[0].fields["image"]
    return image


def _make(record: Record, source: Source) -> tuple[Made, Engine]:
    dataset = _dataset(source)
    if record.recipe != dataset.recipe_hash:
        raise ReplayMismatch(
            f"the record was made with recipe {record.recipe}, this is"
            f" {dataset.recipe_hash}; give the pipeline and the decoder of that run",
            shard=record.url,
            key=record.key,
        )
    engine = Engine(dataset.setup)
    place = engine.find(record.url, record.key)
    if place is None or place[1] != record.index:
        raise ReplayMismatch(
            f"the data has no sample {record.key!r} at index {record.index}",
            shard=record.url,
            key=record.key,
        )
    context = dataset.context(record.epoch)
    if record.environment != context.environment:
        warnings.warn(
            f"the record was made in environment {record.environment}, this is"
            f" {context.environment}: pixels can differ by some levels",
            stacklevel=2,
        )
    made = engine.make(
        *place, record.epoch, record.position, visit=record.visit, view=record.view,
        seed=record.seed,
    )  # fmt: skip
    again = context.unpack(made.packed)
    differing = _differing(record, again, seed=dataset.plan.seed)
    if differing:
        raise ReplayMismatch(
            "the replay does not draw what the record says: " + "; ".join(differing),
            shard=record.url,
            key=record.key,
        )
    return made, engine


def _read(record: Record | Mapping[str, Any] | str) -> Record:
    if isinstance(record, Record):
        return record
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError as error:
            raise UsageError(f"the record is no JSON: {error}") from error
    if not isinstance(record, Mapping):
        raise UsageError(f"record must be a Record, a mapping or JSON, got {record!r}")
    return Record.from_dict(record)


def _dataset(source: Source) -> StreamingDataset:
    if isinstance(source, DataLoader):
        return source.dataset
    if isinstance(source, StreamingDataset):
        return source
    return open_run(source)


def _differing(record: Record, again: Record, *, seed: int) -> list[str]:
    left, right = record.to_dict(), again.to_dict()
    right["environment"] = left["environment"]
    right["replayable"] = left["replayable"]
    if record.seed != seed:
        right["seed"] = record.seed
    return [
        f"{name} is {right[name]!r:.300}, the record says {left[name]!r:.300}"
        for name in left
        if left[name] != right[name]
    ]


def open_run(folder: str | Path, *, shards: str | None = None) -> StreamingDataset:
    """Return the data set of a run, from the manifest in its folder.

    Args:
        folder: The run folder.
        shards: Where the shards are now. None: where they were.

    Raises:
        StoreError: The folder has no manifest, or the shards are not there.
        UsageError: The run's pipeline did not serialise.
        ReplayMismatch: The shards are not those of the run.
    """
    from fiberaug.augment.replayable import rebuild  # noqa: PLC0415  # 1.7 s of import

    folder = Path(folder)
    manifest = read_manifest(folder.parent if folder.name == MANIFEST else folder)
    recipe, plan = manifest["recipe"], manifest["plan"]
    dataset = StreamingDataset(
        manifest["shards"] if shards is None else shards,
        index_dir=manifest["index_dir"],
        fields=manifest["fields"],
        transform=None if recipe["cpu"] is None else rebuild(recipe["cpu"]),
        train=manifest["train"],
        shuffle=plan["shuffle"],
        seed=plan["seed"],
        unit=plan["unit"],
        window=plan["window"],
        lanes=plan["lanes"],
    )
    if dataset.shard_set.fingerprint != manifest["fingerprint"]:
        raise ReplayMismatch(
            "the shards are not those of the run: their fingerprints differ"
        )
    if dataset.recipe_hash != recipe["hash"]:
        raise UsageError(
            "the run's pipeline did not serialise, so its manifest does not hold it;"
            " replay with the loader or the data set of the run"
        )
    return dataset
