"""Nearest neighbours and balls in feature space, a block at a time.

Squared distances of a block come from one product of matrices in float64, around the
mean of the second table. What is returned, and every comparison that the rounding of
that product could turn, is taken from differences: the distance of a copy is exactly 0.

Memory beyond the tables is about 40 block**2 + 48 block D bytes and what is returned:
220 MB for the usual block of 2048 and D = 512, whatever the number of rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.evaluate.tables import BLOCK, Table, blocks

__all__ = ["Inside", "Nearest", "inside", "nearest"]

_SPARE = 4  # candidates beyond k whose distance is taken from differences
_ROUNDING = 1e-10  # of a squared distance by products, over the squared lengths
_TIE = 1 + 1e-12  # distances this close are one distance
_PAIRS = 2**21  # numbers in a block of differences


class Nearest(NamedTuple):
    """The nearest rows of another table, nearest first."""

    distances: NDArray[np.float64]
    """Euclidean, [N, k]."""

    rows: NDArray[np.int64]
    """Their numbers, [N, k]."""


class Inside(NamedTuple):
    """Which points lie in which balls."""

    balls: NDArray[np.int64]
    """For each point, the balls that it lies in, [N]."""

    hit: NDArray[np.bool_]
    """For each ball, whether a point lies in it, [M]."""


def nearest(
    points: Table, others: Table, k: int, *, own: bool = False, block: int = BLOCK
) -> Nearest:
    """Return the ``k`` nearest rows of ``others`` for each row of ``points``.

    Args:
        points: Features [N, D].
        others: Features [M, D], with at least k rows, k + 1 where they are the points.
        k: Neighbours.
        own: The tables are one and the same, and no row is its own neighbour.
        block: Rows of either table that are worked on at a time.
    """
    centre = others.mean(0, dtype=np.float64)
    distances = np.empty((len(points), k))
    rows = np.empty((len(points), k), np.int64)
    for here in blocks(len(points), block):
        a = points[here].astype(np.float64) - centre
        best = np.empty((len(a), 0))
        found = np.empty((len(a), 0), np.int64)
        for there in blocks(len(others), block):
            b = others[there].astype(np.float64) - centre
            square = _squares(a, b)[0]
            if own and here == there:
                np.fill_diagonal(square, np.inf)
            kept = min(k + _SPARE, square.shape[1])
            at = np.argpartition(square, kept - 1, 1)[:, :kept]
            best = np.hstack([best, np.take_along_axis(square, at, 1)])
            found = np.hstack([found, at + there.start])
            if best.shape[1] > k + _SPARE:
                at = np.argpartition(best, k + _SPARE - 1, 1)[:, : k + _SPARE]
                best = np.take_along_axis(best, at, 1)
                found = np.take_along_axis(found, at, 1)
        exact = np.stack(
            [_differences(points[here], others[column]) for column in found.T], 1
        )
        exact[np.isinf(best)] = np.inf  # itself
        order = np.argsort(exact, 1, kind="stable")[:, :k]
        distances[here] = np.sqrt(np.take_along_axis(exact, order, 1))
        rows[here] = np.take_along_axis(found, order, 1)
    return Nearest(distances, rows)


def inside(
    points: Table,
    centres: Table,
    radii: NDArray[np.float64],
    *,
    block: int = BLOCK,
) -> Inside:
    """Return which points lie in the closed balls around the centres.

    Args:
        points: Features [N, D].
        centres: Features [M, D].
        radii: Of the balls, [M].
        block: Rows of either table that are worked on at a time.
    """
    centre = centres.mean(0, dtype=np.float64)
    balls = np.zeros(len(points), np.int64)
    hit = np.zeros(len(centres), bool)
    for here in blocks(len(points), block):
        a = points[here].astype(np.float64) - centre
        for there in blocks(len(centres), block):
            b = centres[there].astype(np.float64) - centre
            square, lengths = _squares(a, b)
            limit = radii[there] ** 2 * _TIE
            within = square <= limit
            doubtful = np.abs(square - limit) <= _ROUNDING * lengths
            i, j = np.nonzero(doubtful)
            step = max(1, _PAIRS // points.shape[1])
            for some in blocks(len(i), step):
                p, c = i[some], j[some]
                exact = _differences(points[here][p], centres[there][c])
                within[p, c] = exact <= limit[c]
            balls[here] += within.sum(1)
            hit[there] |= within.any(0)
    return Inside(balls, hit)


def _squares(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared distances and the sums of squared lengths, both [N, M]."""
    lengths = (a * a).sum(1)[:, None] + (b * b).sum(1)
    return lengths - 2 * (a @ b.T), lengths


def _differences(a: Table, b: Table) -> NDArray[np.float64]:
    """Return squared distances of rows [N, D] to rows [N, D], by their differences."""
    apart = a.astype(np.float64) - b.astype(np.float64)
    squares: NDArray[np.float64] = (apart * apart).sum(1)
    return squares
