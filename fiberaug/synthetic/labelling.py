"""Labels that a generator is asked for, checked."""

from collections.abc import Sequence

import numpy as np
import torch

from fiberaug.errors import UsageError

__all__ = ["checked_labels"]

_MOST_LABEL = 2**31


def checked_labels(
    labels: Sequence[int] | None,
    rows: int,
    classes: int | None,
    names: Sequence[str] = (),
) -> torch.Tensor:
    """Return labels, int64 [N].

    Args:
        labels: Class of each.
        rows: N.
        classes: How many there are; 0: labels are 0. None: not known.
        names: Of the classes, for the error.

    Raises:
        UsageError: They are no integers, out of range, or not one for each seed.
    """
    given = np.asarray(labels).reshape(-1)
    if given.dtype.kind not in "iu" and len(given):
        told = ", ".join(names[:5])
        raise UsageError(
            "labels must be class numbers, integers, one for each seed, got"
            f" {labels!r:.80}" + f"; 0 is the first of {told}" * bool(told)
        )
    found = given.astype(np.int64)
    if len(found) != rows:
        raise UsageError(
            f"each seed needs a label: got {rows} seeds, {len(found)} labels"
        )
    most = _MOST_LABEL if classes is None else max(classes, 1)
    beyond = found[(found < 0) | (found >= most)]
    if len(beyond):
        why = "" if classes or classes is None else ": it has no classes"
        raise UsageError(
            f"labels of this generator are 0 to {most - 1}, got {beyond[0]}{why}"
        )
    return torch.from_numpy(found)
