"""Networks that make and judge images; each name is loaded when it is first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.models.config import CriticConfig, GeneratorConfig
    from fiberaug.models.critic import Critic
    from fiberaug.models.generator import Generator
    from fiberaug.models.unet import UNet
    from fiberaug.models.unet_config import UNetConfig

__all__ = [
    "Critic",
    "CriticConfig",
    "Generator",
    "GeneratorConfig",
    "UNet",
    "UNetConfig",
]

_HOME = {
    "Critic": "critic",
    "CriticConfig": "config",
    "Generator": "generator",
    "GeneratorConfig": "config",
    "UNet": "unet",
    "UNetConfig": "unet_config",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fiberaug.models.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
