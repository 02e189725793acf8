"""The same sample again, from its record."""

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.collate import finish_fields
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import ReplayMismatch, UsageError
from fiberaug.loader import DataLoader
from fiberaug.making import Made, pixel_hash
from fiberaug.record import Record
from fiberaug.runlog import MANIFEST, read_manifest
from fiberaug.sample import Sample

__all__ = ["Step", "open_run", "replay", "replay_steps"]

Source = DataLoader | StreamingDataset | str | Path


class Step(NamedTuple):
    """What a sample looked like after an operation."""

    path: str
    """Where the operation stands in the pipeline; empty for decoding."""

    name: str
    fields: dict[str, Any]
    """``image`` [H, W, C], masks, boxes and points in its pixels."""


def replay(record: Record | Mapping[str, Any] | str, source: Source) -> Sample:
    """Return the sample that a record describes, pixel for pixel.

    ``sample["image"]`` equals ``batch["image"][i]`` of the batch that the record came
    with. What is drawn again is compared with what the record says, and so is the hash
    of the pixels where the record has one.

    A warning says so where the environment is another and nothing proves the pixels.

    Args:
        record: A record, its dict or its JSON.
        source: The loader, the data set, or a run folder.

    Raises:
        ReplayMismatch: The data, the recipe, the drawn parameters or the pixels are not
            the record's.
        UsageError: The record cannot be read.
    """
    record = _read(record)
    made, engine = _make(record, _dataset(source))
    fields = finish_fields(made.fields, engine.finish)
    return Sample(fields, key=record.key, url=made.url, record=record)


def replay_steps(
    record: Record | Mapping[str, Any] | str, source: Source
) -> tuple[dict[str, Any], list[Step]]:
    """Return a sample's fields before normalisation, and what each operation made.

    Args:
        record: A record, its dict or its JSON.
        source: The loader, the data set, or a run folder.

    Raises:
        ReplayMismatch: See :func:`replay`.
    """
    steps: list[Step] = []
    dataset = _dataset(source)
    leaves = dataset.context(0).leaves

    def note(number: int, fields: Mapping[str, Any]) -> None:
        path, name = leaves[number] if number >= 0 else ("", "decoded")
        steps.append(Step(path, name, copy.deepcopy(dict(fields))))

    made, _ = _make(_read(record), dataset, note)
    return made.fields, steps


def _make(
    record: Record,
    dataset: StreamingDataset,
    step: Callable[[int, Mapping[str, Any]], None] | None = None,
) -> tuple[Made, Engine]:
    place: dict[str, Any] = {"shard": record.url, "key": record.key}
    if record.recipe != dataset.recipe_hash:
        raise ReplayMismatch(
            f"the record was made with recipe {record.recipe}, this is"
            f" {dataset.recipe_hash}; give the pipeline and the decoder of that run",
            **place,
        )
    engine = Engine(dataset.setup)
    found = engine.find(record.url, record.key)
    if found is None or found[1] != record.index:
        raise ReplayMismatch(
            f"the data has no sample {record.key!r} at index {record.index}", **place
        )
    context = dataset.context(record.epoch)
    made = engine.make(
        *found, record.epoch, record.position, visit=record.visit, view=record.view,
        tile=_tile_number(record, dataset, place), seed=record.seed, step=step,
    )  # fmt: skip
    differing = _differing(record, context.unpack(made.packed), dataset.plan.seed)
    same = record.environment == context.environment
    where = "" if same else f"; {_elsewhere(record, dataset)}"
    if differing:
        raise ReplayMismatch(
            "the replay does not draw what the record says: "
            + "; ".join(differing)
            + where,
            **place,
        )
    proven = record.pixels is not None
    if proven and pixel_hash(made.fields["image"]) != record.pixels:
        raise ReplayMismatch(
            f"the replay draws what the record says, but its pixels differ{where}",
            **place,
        )
    if not same and not proven:
        warnings.warn(
            f"{_elsewhere(record, dataset)}: pixels can differ by some levels",
            stacklevel=3,
        )
    return made, engine


def _tile_number(
    record: Record, dataset: StreamingDataset, place: Mapping[str, Any]
) -> int | None:
    tile, tiling = record.decode.get("tile"), dataset.setup.tiling
    if tile is None and tiling is None:
        return None
    if tile is None or tiling is None:
        raise ReplayMismatch(
            f"the record is of {'a photo' if tile is None else 'a tile'}, the data set"
            f" cuts {'no photos' if tiling is None else 'photos into tiles'}",
            **place,
        )
    try:
        number, (height, width) = tile["number"], tile["photo"]
        tiling.tile(number, width, height)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "in a record decode.tile has a number and the size of the photo, got"
            f" {tile!r:.80}"
        ) from error
    except IndexError as error:
        raise ReplayMismatch(
            f"the photo has other tiles here: {error}", **place
        ) from None
    return int(number)


def _elsewhere(record: Record, dataset: StreamingDataset) -> str:
    from fiberaug.augment.environment import environment_differences  # noqa: PLC0415

    said = f"the record was made in another environment ({record.environment})"
    then = dataset.run_environment
    if then is None:
        return f"{said}; replay from its run folder to see what differs"
    return f"{said}: " + ", ".join(environment_differences(then))


def _read(record: Record | Mapping[str, Any] | str) -> Record:
    if isinstance(record, Record):
        return record
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError as error:
            raise UsageError(f"the record is no JSON: {error}") from error
    if isinstance(record, list | tuple) and record:
        raise UsageError(
            f"these are the records of {len(record)} views; give one of them"
        )
    if not isinstance(record, Mapping):
        raise UsageError(f"record must be a Record, a mapping or JSON, got {record!r}")
    return Record.from_dict(record)


def _dataset(source: Source) -> StreamingDataset:
    if isinstance(source, DataLoader):
        return source.dataset
    if isinstance(source, StreamingDataset):
        return source
    return open_run(source)


def _differing(record: Record, again: Record, seed: int) -> list[str]:
    left, right = record.to_dict(), again.to_dict()
    left.pop("pixels", None)
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
    from fiberaug import processors  # noqa: F401, PLC0415  # manifests name them
    from fiberaug.augment.pipeline import rebuild  # noqa: PLC0415  # 1.7 s of import

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
        views=manifest.get("views", 1),
        decode={k: v for k, v in recipe["decode"].items() if k != "decoder"},
        ignore_index=recipe.get("ignore_index"),
        pixel_hash=manifest.get("pixel_hash", False),
        **manifest.get("tiling", {}),
    )
    dataset.run_environment = manifest["environment"]
    if dataset.shard_set.fingerprint != manifest["fingerprint"]:
        raise ReplayMismatch(
            "the shards are not those of the run: their fingerprints differ"
        )
    if dataset.recipe_hash != recipe["hash"]:
        raise UsageError(
            "the run's pipeline or decoders did not serialise, or a processor of the"
            " run has other source code now, so the run folder is not enough; replay"
            " with the loader or the data set of the run"
        )
    return dataset
