"""What a run says of itself once: its manifest, and what all its records share."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fiberaug.mix import REAL
from fiberaug.record import RecordContext
from fiberaug.state import STATE_VERSION

if TYPE_CHECKING:
    from fiberaug.augment.cpu import CpuEngine
    from fiberaug.dataset import StreamingDataset
    from fiberaug.tiling import Tiling

__all__ = ["record_context", "run_manifest", "why_not_replayable"]


def record_context(
    dataset: "StreamingDataset", cpu: "CpuEngine | None"
) -> RecordContext:
    """Return what all records of a data set share, of epoch 0.

    Args:
        dataset: The data set.
        cpu: Its pipeline as it runs.
    """
    from fiberaug.augment.environment import environment_hash  # noqa: PLC0415  # 1.7 s of import

    constant: tuple[dict[str, Any], ...] = ()
    if cpu is not None and cpu.normalize is not None:
        table = cpu.normalize
        constant = ({"path": cpu.tail, "name": table.name, "params": table.params},)
    return RecordContext(
        epoch=0, seed=dataset.plan.seed, origin=REAL, decoder=dataset.setup.decode,
        unit=dataset.plan.unit, recipe=dataset.recipe_hash,
        environment=environment_hash(),
        replayable=dataset.why_not_replayable() is None,
        leaves=() if cpu is None else tuple(cpu.leaves), constant=constant,
    )  # fmt: skip


def run_manifest(dataset: "StreamingDataset", index_dir: str | None) -> dict[str, Any]:
    """Return what stands for a whole run once: enough to replay its records.

    Args:
        dataset: The data set.
        index_dir: Folder of its side-cars; None: beside the shards.
    """
    from fiberaug.augment.environment import environment  # noqa: PLC0415  # 1.7 s of import

    setup, pipeline = dataset.setup, dataset.pipeline
    return {
        "v": STATE_VERSION,
        "shards": [ref.place for ref in dataset.shard_set.refs],
        "index_dir": index_dir,
        "fingerprint": dataset.shard_set.fingerprint,
        "plan": dataset.plan.to_json(),
        "classes": list(dataset.classes),
        "fields": {s.name + "?" * s.optional: str(s) for s in dataset.specs},
        "recipe": {
            "hash": dataset.recipe_hash,
            "cpu": None if pipeline is None else pipeline.identity(),
            "decode": {**setup.decode, **asdict(setup.decoder.options)},
            "ignore_index": dataset.ignore_index,
        },
        "environment": environment(),
        "train": dataset.train,
        "views": dataset.views,
        "pixel_hash": setup.pixel_hash,
        "tiling": {} if setup.tiling is None else _tiling(setup.tiling),
        "mix": None if setup.mixture is None else dict(setup.mixture.description),
    }


def why_not_replayable(dataset: "StreamingDataset") -> str | None:
    """Return why records cannot be replayed from a run folder alone, or None."""
    if dataset.setup.decoder.decoders:
        return "the data set has decoders of its own"
    mixture = dataset.mixture
    lost = [] if mixture is None else [s.name for s in mixture.sources if s.lost]
    if lost:
        return f"samples of the sources {lost} are made while it runs, and not kept"
    if dataset.pipeline is None:
        return None
    from fiberaug.augment.replayable import why_not_replayable as why  # noqa: PLC0415

    return why(dataset.pipeline)


def _tiling(tiling: "Tiling") -> dict[str, Any]:
    """Return the arguments of the data set that ask for these tiles."""
    return {
        "tile": [tiling.height, tiling.width],
        "overlap": tiling.overlap,
        "visibility": tiling.visibility,
        "keep_empty": tiling.keep_empty,
    }
