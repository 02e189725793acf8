"""Names of the classes that a training is conditioned on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["class_names"]

_MOST = 100_000


def class_names(
    labels: NDArray[np.int64] | None, names: Sequence[str]
) -> tuple[str, ...]:
    """Return a name for each label; empty where nothing is conditioned.

    Args:
        labels: int64 [N], >= 0; None: nothing is conditioned.
        names: By label; empty: labels are named by their numbers.

    Raises:
        UsageError: There are more labels than names, or absurdly many.
    """
    if labels is None:
        return ()
    count = int(labels.max(initial=-1)) + 1
    if count > _MOST:
        raise UsageError(
            f"labels go up to {count - 1:,}, and each class up to that takes memory:"
            f" at most {_MOST:,} may be; number them from 0 without gaps"
        )
    if not names:
        return tuple(map(str, range(count)))
    if len(names) < count:
        raise UsageError(
            f"labels go up to {count - 1}, and {len(names)} classes have names: name"
            " all of them"
        )
    return tuple(names)
