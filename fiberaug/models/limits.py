"""Networks that are too large to be meant are refused before their memory is taken."""

from torch import nn

from fiberaug.errors import UsageError
from fiberaug.sizes import format_bytes

__all__ = ["MOST_PARAMETERS", "check_total", "total_of"]

MOST_PARAMETERS = 500_000_000
"""Of one network."""

_BYTES_EACH = 16  # float32: weight, gradient, two moments of Adam


def total_of(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(one.numel() for one in network.parameters())


def check_total(network: nn.Module, name: str) -> None:
    """Refuse a network, best while it is still on the meta device.

    Args:
        network: It.
        name: What it is called in the error.

    Raises:
        UsageError: It has more than 500 million parameters.
    """
    total = total_of(network)
    if total > MOST_PARAMETERS:
        raise UsageError(
            f"the {name} would have {total:,} parameters,"
            f" {format_bytes(total * _BYTES_EACH)} with gradients and Adam's moments;"
            f" at most {MOST_PARAMETERS:,} are allowed: choose a smaller width,"
            " most_width or size"
        )
