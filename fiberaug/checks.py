"""What a data set checks of its arguments."""

from fiberaug.engine import POLICIES
from fiberaug.errors import UsageError
from fiberaug.setups import OnError

__all__ = ["check_arguments"]

_RECORDS = ("packed", "text", "none")


def check_arguments(
    views: int,
    record: str,
    batch_size: int | None,
    max_errors: float,
    on_error: OnError | None,
) -> None:
    """Check arguments of a data set.

    Raises:
        UsageError: One is out of range.
    """
    if views < 1:
        raise UsageError(f"views must be >= 1, got {views}")
    if record not in _RECORDS:
        raise UsageError(f"record must be one of {_RECORDS}, got {record!r}")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    if not 0 <= max_errors <= 1:
        raise UsageError(f"max_errors must be in [0, 1], got {max_errors}")
    if isinstance(on_error, str) and on_error not in POLICIES:
        raise UsageError(
            f"on_error must be one of {POLICIES} or callable, got {on_error!r}"
        )
