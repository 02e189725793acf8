"""Labels of rows whose pixels were blended."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.mixes.base import RowDraw

__all__ = ["mix_labels"]


def mix_labels(
    labels: Any,  # noqa: ANN401  # whatever numpy takes
    partner_labels: Any,  # noqa: ANN401
    draws: Sequence[RowDraw],
    num_classes: int | None = None,
    smoothing: float = 0.0,
) -> NDArray[np.float32]:
    """Return lam labels + (1 - lam) partner_labels, lam being the own share of a row.

    Args:
        labels: Class ids, whole numbers [B], or float vectors [B, K], such as
            multi-label or soft ones; float [B] are values to regress.
        partner_labels: Of each row's partner, of the same form. Those of rows that are
            not mixed are not looked at, but for their form.
        draws: Of each row, placed (:meth:`Blend.placed`).
        num_classes: Classes, K; needed for class ids, which become [B, K].
        smoothing: Part of the mass of a class id that is spread evenly over all
            classes, its own included, in [0, 1].

    Raises:
        UsageError: A class id is not in [0, K), or arguments do not fit together.
    """
    own, other = np.asarray(labels), np.asarray(partner_labels)
    lam = np.asarray([draw.params["lam"] if draw.applied else 1.0 for draw in draws])
    if own.shape != other.shape or own.shape[:1] != lam.shape:
        raise UsageError(
            f"labels {own.shape}, partner_labels {other.shape} and {len(lam)} draws"
            " must have one row for each row of the batch"
        )
    if own.dtype.kind in "iu":
        own = _one_hot(own, num_classes, smoothing)
        other = _one_hot(np.where(lam < 1, other, labels), num_classes, smoothing)
    elif smoothing:
        raise UsageError(
            f"smoothing={smoothing} is for class ids, not for labels that are vectors:"
            " smooth in the loss, or leave it 0"
        )
    elif own.ndim == 2 and num_classes not in {None, own.shape[1]}:
        raise UsageError(
            f"labels are vectors of {own.shape[1]}, but num_classes is {num_classes}"
        )
    mixed = own.astype(np.float64)
    rows = lam < 1
    share = lam[rows].reshape(-1, *[1] * (own.ndim - 1))
    mixed[rows] = share * own[rows] + (1 - share) * other[rows]
    return mixed.astype(np.float32)


def _one_hot(
    ids: NDArray[np.integer], classes: int | None, smoothing: float
) -> NDArray[np.float64]:
    if classes is None:
        raise UsageError("class ids need num_classes= to become vectors that can mix")
    if ids.ndim != 1:
        raise UsageError(f"class ids must be [B], got {ids.shape}; vectors are floats")
    wrong = (ids < 0) | (ids >= classes)
    if wrong.any():
        raise UsageError(
            f"label {ids[wrong][0]} must be in [0, {classes}): give num_classes= as"
            " many as the set has"
        )
    made = np.full((len(ids), classes), smoothing / classes)
    made[np.arange(len(ids)), ids] += 1 - smoothing
    return made
