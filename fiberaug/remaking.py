"""A sample or a batch made again, and compared with what its records say."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from fiberaug.batching import BatchFinisher
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import ReplayMismatch, UsageError
from fiberaug.making import Made, Setup
from fiberaug.mix import REAL
from fiberaug.record import Record
from fiberaug.resolving import context_with, recipe_with
from fiberaug.staging import BatchStage
from fiberaug.transport import Builder, Message

__all__ = [
    "Run",
    "as_record",
    "compare",
    "remake",
    "replay_batch",
    "setup_of",
]

_STAGES = ("gpu.", "batch.")


class Run(NamedTuple):
    """What a record is replayed with."""

    dataset: StreamingDataset
    stage: BatchStage | None = None
    """Mixes and batch operations of the loader."""

    device: str | torch.device | None = None
    """Where batch operations run."""

    dtype: torch.dtype | None = None
    """Of images after them."""

    channels_last: bool = False
    """How they lie in memory then."""

    @property
    def recipe(self) -> str:
        """The hash that records of the run have."""
        return recipe_with(self.dataset, self.stage)


def replay_batch(records: Sequence[Record], run: Run) -> dict[str, Any]:
    """Return a batch of the samples that records describe, in their order.

    Args:
        records: Records of one view each.
        run: What to replay them with.

    Raises:
        ReplayMismatch: See :func:`fiberaug.replay`.
        UsageError: The records are of several epochs.
    """
    dataset, stage = run.dataset, run.stage
    epochs = {record.epoch for record in records}
    if len(epochs) != 1:
        raise UsageError(f"a batch is of one epoch, these records of {sorted(epochs)}")
    (epoch,) = epochs
    collate = dataset.collate(mode="stack", pad_to=1)
    builder = Builder(setup_of(run, records), collate, None, None, stage)
    engine = builder.engine
    rows = [remake(record, run, engine) for record in records]
    views = {record.view for record in records}
    if len(views) != 1:
        raise UsageError(
            f"a batch is replayed view by view, got the views {sorted(views)}"
        )
    deliver = partial(_one_view, engine, epoch, views.pop())
    staged = builder.staged(rows, epoch, deliver)
    message = Message(end=0, keys=[record.key for record in records])
    message.urls = [made.url for made in rows]
    message.is_pad = [False] * len(rows)
    for record, made in zip(records, staged.rows, strict=False):
        compare(record, made, run)
    builder.fill(message, staged)
    finish = BatchFinisher(
        dataset, targets="list", output=None, device=run.device, pin_memory=False,
        pads=False, stage=stage, dtype=run.dtype, channels_last=run.channels_last,
    )  # fmt: skip
    with finish.stream():
        batch = finish(message, None, engine.finish)
        event = finish.stream.mark()
    finish.stream.hand_over(batch, event)
    found: dict[str, Any] = batch
    return found


def setup_of(run: Run, records: Sequence[Record]) -> Setup:
    """Return what samples are made from; pixels are hashed where a record says how."""
    hashed = any(record.pixels is not None for record in records)
    setup = run.dataset.setup
    return replace(setup, pixel_hash=setup.pixel_hash or hashed)


def _one_view(engine: Engine, epoch: int, view: int, position: int) -> Made:
    """Return a partner, of which only the view that is replayed matters."""
    made = engine.deliver(epoch, position)
    fields, packed = made.views()[view]
    return made._replace(fields=fields, packed=packed, more=())


def remake(
    record: Record,
    run: Run,
    engine: Engine,
    step: Callable[[int, Mapping[str, Any]], None] | None = None,
) -> Made:
    """Return the sample of a record as the CPU's pipeline leaves it.

    Args:
        record: The record.
        run: What to replay it with.
        engine: What makes samples of the run's data set.
        step: See :meth:`fiberaug.making.Maker.make`.

    Raises:
        ReplayMismatch: The data or the recipe are not those of the record.
    """
    dataset = run.dataset
    place: dict[str, Any] = {"shard": record.url, "key": record.key}
    if _cpu_part(record, run).recipe != run.recipe:
        raise ReplayMismatch(
            f"the record was made with recipe {record.recipe}, this is {run.recipe};"
            " give the pipeline, the decoder, gpu_transform and batch_transform of that"
            " run",
            **place,
        )
    if run.stage is not None and record.seed != dataset.plan.seed:
        raise ReplayMismatch(
            f"the record was made with seed {record.seed}, the set has"
            f" {dataset.plan.seed}, and units are drawn from it; open the set with"
            f" seed={record.seed}",
            **place,
        )
    found = engine.find(record.url, record.key, record.origin)
    if found is None and record.origin != REAL:
        raise ReplayMismatch(_not_mixed(record, dataset), **place)
    if found is None or (record.origin == REAL and found[1] != record.index):
        raise ReplayMismatch(
            f"the data has no sample {record.key!r} at index {record.index}", **place
        )
    return engine.make(
        *found, record.epoch, record.position, visit=record.visit, view=record.view,
        tile=_tile_number(record, dataset, place), seed=record.seed, step=step,
    )  # fmt: skip


def _cpu_part(record: Record, run: Run) -> Record:
    """Return a record without what a data set alone cannot bring back."""
    if run.stage is not None or not record.recipe.startswith(f"{run.recipe}+"):
        return record
    kept = [t for t in record.applied_transforms if not t.path.startswith(_STAGES)]
    return replace(
        record,
        recipe=run.recipe,
        applied_transforms=tuple(kept),
        batch={**record.batch, "partners": []},
    )


def compare(record: Record, made: Made, run: Run) -> None:
    """Check that what was made again is what a record says.

    Args:
        record: The record.
        made: The sample, after the worker's half of everything.
        run: What it was made with.

    Raises:
        ReplayMismatch: It is not.
    """
    dataset, record = run.dataset, _cpu_part(record, run)
    place: dict[str, Any] = {"shard": record.url, "key": record.key}
    context = context_with(dataset, run.stage).at(record.epoch)
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
    if proven and made.packed.pixels != record.pixels:
        raise ReplayMismatch(
            f"the replay draws what the record says, but its pixels differ{where}",
            **place,
        )
    if not same and not proven:
        warnings.warn(
            f"{_elsewhere(record, dataset)}: pixels can differ by some levels",
            stacklevel=4,
        )


def _not_mixed(record: Record, dataset: StreamingDataset) -> str:
    """Return why a sample that was mixed in is not to be found."""
    said = f"sample {record.key!r} came from the source {record.origin!r} of a mix"
    mixture = dataset.mixture
    if mixture is None or record.origin not in mixture.names:
        return f"{said}, which is not here: open the set with that mix, or its pool"
    source = mixture.sources[mixture.names.index(record.origin) - 1]
    if source.live is not None:
        return f"{said}, made while it ran: replay it from the pool that it kept"
    return f"{said}, whose pool has no such sample"


def _tile_number(
    record: Record, dataset: StreamingDataset, place: Mapping[str, Any]
) -> int | None:
    tile, tiling = record.decode.get("tile"), dataset.setup.tiling
    if tile is None and (tiling is None or record.origin != REAL):
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


def as_record(record: Any) -> Record:  # noqa: ANN401  # see fiberaug.replay
    """Return a record, its dict or its JSON as a record."""
    if isinstance(record, Record):
        return record
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except ValueError as error:
            raise UsageError(f"the record is no JSON: {error}") from error
    if isinstance(record, list | tuple) and record:
        places = {getattr(one, "position", n) for n, one in enumerate(record)}
        what = "views; give one of them"
        if len(places) > 1:
            what = "rows; give one of them, or batch['record'] for a whole batch"
        raise UsageError(f"these are the records of {len(record)} {what}")
    if not isinstance(record, Mapping):
        raise UsageError(f"record must be a Record, a mapping or JSON, got {record!r}")
    return Record.from_dict(record)


def _differing(record: Record, again: Record, seed: int) -> list[str]:
    left, right = record.to_dict(), again.to_dict()
    if record.origin != REAL:  # wherever it lies now, its key is its name
        left |= {"url": right["url"], "index": right["index"]}
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
