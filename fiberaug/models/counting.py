"""How large a network would be, told before any of its memory is taken."""

import torch

from fiberaug.models.config import CriticConfig, GeneratorConfig
from fiberaug.models.critic import Critic
from fiberaug.models.generator import Generator
from fiberaug.models.limits import total_of

__all__ = ["count_parameters"]


def count_parameters(config: GeneratorConfig | CriticConfig) -> int:
    """Return the number of parameters of the network of a config.

    Raises:
        UsageError: It would have more than 500 million.

    >>> count_parameters(GeneratorConfig(size=(28, 28), width=16, z_dim=64)) // 1000
    106
    """
    with torch.device("meta"):
        if isinstance(config, GeneratorConfig):
            return total_of(Generator.of(config))
        return total_of(Critic.of(config))
