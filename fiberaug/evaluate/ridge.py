"""A linear two-class classifier in closed form, and what it gets right on unseen rows.

Sources: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning,
second edition, sections 3.4.1 (ridge regression), 4.2 (classes as numbers) and 7.10;
D. M. Allen, The Relationship between Variable Selection and Data Augmentation and a
Method for Prediction (1974): errors with one row left out, from one fit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["cross_validated"]

_STRENGTHS = 10.0 ** np.arange(-3, 4)  # of the penalty, where each row weighs 1
_FAR = 5.0  # standard deviations at which a value is cut


def cross_validated(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    *,
    folds: int,
    draw: np.random.Generator,
    widths: Sequence[int] | None = None,
) -> tuple[float, float]:
    """Return how many rows of each class are told rightly by the rest; ties are halves.

    A ridge regression on standardised columns and their squares, so that a difference
    in means or in spread is seen; both classes weigh the same; the penalty is the one
    with the least leave-one-out error among the rows that are learnt from.

    Args:
        one: Rows of the first class, [N, D], N >= folds.
        other: Rows of the second, [M, D], M >= folds.
        folds: Parts that are in turn left out, >= 2.
        draw: Deals the rows to the parts.
        widths: Columns of groups that weigh the same, whatever their width; they add up
            to D. None: one group.
    """
    scale = [size**-0.5 for size in widths or [one.shape[1]] for _ in range(size)]
    part = [draw.permutation(len(rows)) % folds for rows in (one, other)]
    hits = [0.0, 0.0]
    for fold in range(folds):
        kept = [rows[p != fold] for rows, p in zip((one, other), part, strict=True)]
        left = [rows[p == fold] for rows, p in zip((one, other), part, strict=True)]
        score = _scores(kept[0], kept[1], np.concatenate(left), np.asarray(scale))
        for side, sign in ((0, -1), (1, 1)):
            own = sign * (score[: len(left[0])] if side == 0 else score[len(left[0]) :])
            hits[side] += float((own > 0).sum() + 0.5 * (own == 0).sum())
    return hits[0], hits[1]


def _scores(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    unseen: NDArray[np.floating],
    scale: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return scores of unseen rows: below 0 the first class, above 0 the second."""
    n, m = len(one), len(other)
    seen = np.concatenate([one, other]).astype(np.float64)
    answer = np.repeat([-1.0, 1.0], [n, m])
    weight = np.repeat([0.5 / n, 0.5 / m], [n, m])  # sums to 1
    mean = weight @ seen
    deviation = np.sqrt(weight @ (seen - mean) ** 2)
    varies = deviation > 1e-9 * (1 + np.abs(mean))
    if not varies.any():
        return np.zeros(len(unseen))

    def columns(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        near = np.clip((rows - mean)[:, varies] / deviation[varies], -_FAR, _FAR)
        return np.hstack([near, near**2]) * np.tile(scale[varies], 2)

    table = columns(seen)
    middle = weight @ table
    root = np.sqrt(weight)
    x = (table - middle) * root[:, None]
    y = answer * root  # the weighted mean of the answers is 0
    new = columns(unseen) - middle
    wide = x.shape[1] > len(x)
    spectrum, basis = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    real = spectrum > spectrum[-1] * 1e-12
    spectrum, basis = spectrum[real], basis[:, real]
    along = basis * np.sqrt(spectrum) if wide else x @ basis
    ahead = new @ (x.T @ basis) / np.sqrt(spectrum) if wide else new @ basis
    power = along.T @ y
    best, chosen = np.inf, np.zeros(len(spectrum))
    for strength in _STRENGTHS / len(x):
        slope = power / (spectrum + strength)
        own = (along**2 / (spectrum + strength)).sum(1)
        error = float((((y - along @ slope) / np.maximum(1 - own, 1e-9)) ** 2).sum())
        if error < best:
            best, chosen = error, slope
    scores: NDArray[np.float64] = ahead @ chosen
    return scores
