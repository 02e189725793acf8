"""Train generators on the memory that there is.

Every name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.training.contracts import Verdict, View, Watcher
    from fiberaug.training.diffusion import DiffusionTrainer
    from fiberaug.training.gan import GANTrainer
    from fiberaug.training.inversion import TextualInversionTrainer
    from fiberaug.training.lora import LoRATrainer
    from fiberaug.training.plans import Plan

__all__ = [
    "DiffusionTrainer",
    "GANTrainer",
    "LoRATrainer",
    "Plan",
    "TextualInversionTrainer",
    "Verdict",
    "View",
    "Watcher",
]

_HOMES = {
    "contracts": ("Verdict", "View", "Watcher"),
    "diffusion": ("DiffusionTrainer",),
    "gan": ("GANTrainer",),
    "inversion": ("TextualInversionTrainer",),
    "lora": ("LoRATrainer",),
    "plans": ("Plan",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fiberaug.training.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
