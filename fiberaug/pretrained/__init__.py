"""Pipelines that others trained: opened safely, told what to make, bounded in memory.

Every name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.pretrained.pipeline import PretrainedPipeline
    from fiberaug.pretrained.plans import Plan
    from fiberaug.pretrained.remaking import remake

__all__ = ["Plan", "PretrainedPipeline", "remake"]

_HOMES = {
    "pipeline": ("PretrainedPipeline",),
    "plans": ("Plan",),
    "remaking": ("remake",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.pretrained' has no attribute {name!r}")
    home = f"fiberaug.pretrained.{_HOME[name]}"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
