"""The same sample again, from its record."""

import copy
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, overload

from fiberaug.collate import finish_fields
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import ReplayMismatch, UsageError
from fiberaug.loader import DataLoader
from fiberaug.mix import Mix
from fiberaug.record import Record, Records
from fiberaug.remaking import (
    Run,
    as_record,
    compare,
    remake,
    replay_batch,
    setup_of,
)
from fiberaug.resolving import resolve_stage
from fiberaug.runlog import MANIFEST, read_manifest
from fiberaug.sample import Sample
from fiberaug.shards.urls import is_remote
from fiberaug.showing import as_levels

__all__ = ["Step", "open_run", "open_run_whole", "replay", "replay_steps"]

Source = DataLoader | StreamingDataset | Run | str | Path


class Step(NamedTuple):
    """What a sample looked like after an operation."""

    path: str
    """Where the operation stands in the pipeline; empty for decoding."""

    name: str
    fields: dict[str, Any]
    """``image`` [H, W, C], masks, boxes and points in its pixels."""


@overload
def replay(record: Records, source: Source) -> dict[str, Any]: ...


@overload
def replay(record: Record | Mapping[str, Any] | str, source: Source) -> Sample: ...


def replay(
    record: Record | Records | Mapping[str, Any] | str, source: Source
) -> Sample | dict[str, Any]:
    """Return the sample that a record describes, pixel for pixel.

    ``sample["image"]`` equals ``batch["image"][i]`` of the batch that the record came
    with. What is drawn again is compared with what the record says, and so is the hash
    of the pixels where the record has one. Partners of mixes are made again, too.

    A warning says so where the environment is another and nothing proves the pixels.

    Args:
        record: A record, its dict or its JSON; or ``batch["record"]`` for the batch.
        source: The loader, the data set, or a run folder. A data set knows nothing of
            ``gpu_transform`` and mixes: it gives the sample as it was before them.

    Returns:
        A :class:`fiberaug.Sample`; of a batch's records a dict of tensors [B, ...] and
        lists.

    Raises:
        ReplayMismatch: The data, the recipe, the drawn parameters or the pixels are not
            the record's.
        UsageError: The record cannot be read.
    """
    run = open_source(source)
    if isinstance(record, Records):
        if record.views > 1:
            raise UsageError(
                f"these are records of {record.views} views, and a batch is replayed"
                " view by view: give the record of one, batch['record'][row][view]"
            )
        return replay_batch([as_record(one) for one in record], run)
    record = as_record(record)
    if run.stage is not None:
        batch = replay_batch([record], run)
        fields = {name: value[0] for name, value in batch.items() if name[:2] != "__"}
        return Sample(fields, key=record.key, url=batch["__url__"][0], record=record)
    if record.recipe != run.recipe and record.recipe.startswith(f"{run.recipe}+"):
        warnings.warn(
            "the record goes on with batch operations or mixes, of which a data set"
            " knows nothing: this is the sample before them; give the loader or the run"
            " folder for the whole",
            stacklevel=2,
        )
    engine = Engine(setup_of(run, [record]))
    made = remake(record, run, engine)
    compare(record, made, run)
    fields = finish_fields(made.fields, engine.finish)
    return Sample(fields, key=record.key, url=made.url, record=record)


def replay_steps(
    record: Record | Mapping[str, Any] | str, source: Source
) -> tuple[dict[str, Any], list[Step]]:
    """Return a sample's fields before normalisation, and what each operation made.

    Batch operations and mixes are one step, the last.

    Args:
        record: A record, its dict or its JSON.
        source: The loader, the data set, or a run folder.

    Raises:
        ReplayMismatch: See :func:`replay`.
    """
    steps: list[Step] = []
    run = open_source(source)
    leaves = run.dataset.context(0).leaves

    def note(number: int, fields: Mapping[str, Any]) -> None:
        path, name = leaves[number] if number >= 0 else ("", "decoded")
        steps.append(Step(path, name, copy.deepcopy(dict(fields))))

    record = as_record(record)
    made = remake(record, run, Engine(setup_of(run, [record])), note)
    if run.stage is None:
        compare(record, made, run)
        return made.fields, steps
    fields = as_levels(replay_batch([record], run), run)
    steps.append(Step("batch", "batch", fields))
    return fields, steps


def open_source(source: Source) -> Run:
    """Return what a source says of a run."""
    if isinstance(source, DataLoader):
        return Run(
            source.dataset, source.stage, source.device, source.dtype,
            source.channels_last,
        )  # fmt: skip
    if isinstance(source, Run):
        return source
    if isinstance(source, StreamingDataset):
        return Run(source)
    return open_run_whole(source)


def open_run_whole(
    folder: str | Path,
    *,
    shards: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Run:
    """Return the data set of a run and the stage of its loader.

    Args:
        folder: The run folder.
        shards: Where the shards are now. None: where they were.
        sources: Where sources of its mix are now, by name.

    Raises:
        UsageError: The run's pipeline, or an operation on batches, did not serialise.
    """
    dataset = open_run(folder, shards=shards, sources=sources)
    said = _manifest(folder)["recipe"]
    sections = {name: said.get(name) or None for name in ("gpu", "batch")}
    for section in sections.values():
        for operation in section or ():
            if "text" in operation:
                raise UsageError(
                    f"the run's batch operation {operation['text']:.120} did not"
                    " serialise, so the run folder is not enough; replay with the"
                    " loader of the run"
                )
    stage = resolve_stage(
        dataset, sections["gpu"], sections["batch"], stacks=True,
        fused=said.get("fused", True),
    )  # fmt: skip
    return Run(dataset, stage)


def _manifest(folder: str | Path) -> dict[str, Any]:
    folder = Path(folder)
    return read_manifest(folder.parent if folder.name == MANIFEST else folder)


def open_run(
    folder: str | Path,
    *,
    shards: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> StreamingDataset:
    """Return the data set of a run, from the manifest in its folder.

    Args:
        folder: The run folder.
        shards: Where the shards are now. None: where they were.
        sources: Where sources of its mix are now, by name.

    Raises:
        StoreError: The folder has no manifest, or the shards are not there.
        UsageError: The run's pipeline did not serialise.
        ReplayMismatch: The shards are not those of the run.
    """
    from fiberaug import processors  # noqa: F401, PLC0415  # manifests name them
    from fiberaug.augment.pipeline import rebuild  # noqa: PLC0415  # 1.7 s of import

    manifest = _manifest(folder)
    recipe, plan = manifest["recipe"], manifest["plan"]
    dataset = StreamingDataset(
        manifest["shards"] if shards is None else shards,
        index_dir=manifest["index_dir"],
        fields=manifest["fields"],
        mix=_mix(manifest.get("mix"), sources or {}),
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
        **_part(plan),
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


def _part(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a data set that a plan's part and balance came from.

    Partners of mixes are found by position, so the order must be the run's. What a plan
    has but a digest of (keys, long weights) is left out: single samples need no more.
    """
    found: dict[str, Any] = {}
    subset, balance = plan.get("subset") or "", plan.get("balance") or ""
    if subset.startswith("where "):
        found["subset"] = subset.removeprefix("where ")
    elif subset.startswith("fraction "):
        found["subset"] = float(subset.removeprefix("fraction "))
    elif subset.endswith(" of each class"):
        found["subset"] = int(subset.removesuffix(" of each class"))
    if balance.startswith("classes {"):
        weights = json.loads(balance.removeprefix("classes "))
        found["balance"] = {
            int(label) if label.isdecimal() else label: weight
            for label, weight in weights.items()
        }
    elif balance and not balance.startswith("classes "):
        found["balance"] = balance
    if plan.get("epoch_size") is not None and bool(balance) == ("balance" in found):
        found["epoch_size"] = plan["epoch_size"]
    return found


def _mix(said: Mapping[str, Any] | None, now: Mapping[str, str]) -> Mix | None:
    """Return the mix of a run, as far as its sources are still there.

    What was made online is read from where it was kept.

    Args:
        said: What the manifest says of it.
        now: Where sources are now, by name.

    Raises:
        UsageError: The run had no such source.
    """
    names = [] if said is None else [one["name"] for one in said["sources"]]
    unknown = sorted(set(now) - set(names))
    if unknown:
        raise UsageError(f"the run has the sources {names}, got a place of {unknown}")
    if said is None:
        return None
    kept = {
        one["name"]: now.get(one["name"], _place_of(one)) for one in said["sources"]
    }
    kept = {name: place for name, place in kept.items() if place is not None}
    if not kept:
        return None
    weights = {name: said["weights"][name] for name in kept}
    shards = [one for one in said["sources"] if "shards" in one]
    # What was kept may lack classes, which no replay of a record needs.
    dry = said["dry"] if len(shards) == len(kept) else "real"
    mix = Mix.of({**said, "sources": kept, "weights": weights, "dry": dry})
    mix.quiet = True  # what there is to warn of was told when it ran
    return mix


def _place_of(source: Mapping[str, Any]) -> list[str] | str | None:
    """Return where a source of a run is; None: it is gone, or was never kept."""
    if "shards" not in source:
        keep: str | None = source.get("keep")
        return keep if keep is not None and Path(keep).is_dir() else None
    shards: list[str] = source["shards"]
    gone = any(not is_remote(place) and not Path(place).exists() for place in shards)
    return None if gone else shards
