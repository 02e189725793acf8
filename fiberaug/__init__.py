"""Tar shards in, exactly reproducible augmented batches out, a record in every sample.

Every name is loaded when it is first used: ``import fiberaug`` loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.dataset import StreamingDataset
    from fiberaug.errors import (
        BudgetExceeded,
        DataRefused,
        FiberAugError,
        LimitExceeded,
        ReplayMismatch,
        SampleBroken,
        SecurityRefused,
        ShardDamaged,
        StateMismatch,
        StoreError,
        UsageError,
        WorkerDied,
    )
    from fiberaug.jobs.conversion import convert
    from fiberaug.jobs.writing import ShardWriter
    from fiberaug.loader import DataLoader
    from fiberaug.merging import merge_tiles
    from fiberaug.mix import Mix
    from fiberaug.processing import ImageProcessor, TextProcessor
    from fiberaug.recipe import Recipe
    from fiberaug.record import AppliedTransform, Record
    from fiberaug.replaying import replay
    from fiberaug.runlog import RecordLog
    from fiberaug.sample import Sample
    from fiberaug.schedules import Schedule
    from fiberaug.synthetic.generator import ImageGenerator
    from fiberaug.synthetic.loading import load
    from fiberaug.synthetic.pool import Pool

__all__ = [
    "AppliedTransform",
    "BudgetExceeded",
    "DataLoader",
    "DataRefused",
    "FiberAugError",
    "ImageGenerator",
    "ImageProcessor",
    "LimitExceeded",
    "Mix",
    "Pool",
    "Recipe",
    "Record",
    "RecordLog",
    "ReplayMismatch",
    "Sample",
    "SampleBroken",
    "Schedule",
    "SecurityRefused",
    "ShardDamaged",
    "ShardWriter",
    "StateMismatch",
    "StoreError",
    "StreamingDataset",
    "TextProcessor",
    "UsageError",
    "WorkerDied",
    "convert",
    "load",
    "merge_tiles",
    "replay",
]

_HOMES = {
    "dataset": ("StreamingDataset",),
    "jobs.conversion": ("convert",),
    "jobs.writing": ("ShardWriter",),
    "loader": ("DataLoader",),
    "merging": ("merge_tiles",),
    "mix": ("Mix",),
    "processing": ("ImageProcessor", "TextProcessor"),
    "recipe": ("Recipe",),
    "record": ("AppliedTransform", "Record"),
    "replaying": ("replay",),
    "runlog": ("RecordLog",),
    "sample": ("Sample",),
    "schedules": ("Schedule",),
    "synthetic.generator": ("ImageGenerator",),
    "synthetic.loading": ("load",),
    "synthetic.pool": ("Pool",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # 20 ms

        return version("fiberaug")
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug' has no attribute {name!r}")
    value = getattr(
        importlib.import_module(f"fiberaug.{_HOME.get(name, 'errors')}"), name
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
