"""Kernel distance of two sets of features.

Source: M. Binkowski, D. J. Sutherland, M. Arbel and A. Gretton, Demystifying MMD GANs
(ICLR 2018), section 4: kernel (x.y / D + 1)**3, and the unbiased estimator of equation
(4). The error of one estimate is a two-sample jackknife: J. N. Arvesen, Jackknifing
U-Statistics (1969).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.evaluate.tables import BLOCK, FeatureTable, Table, blocks, tables
from fiberaug.seeding import check_seed

__all__ = ["Kid", "kid"]

_LEAST = 3  # the jackknife leaves one out of a pair


class Kid(NamedTuple):
    """A kernel distance and how exact it is."""

    value: float
    """Estimate of the squared MMD; around 0, also below, where the sets are alike."""

    error: float
    """Its standard error, >= 0."""


def kid(
    real: FeatureTable,
    synthetic: FeatureTable,
    *,
    subsets: int | None = None,
    subset_size: int = 1000,
    seed: int = 0,
    block: int = BLOCK,
) -> Kid:
    """Return the kernel distance, which is right on average at any number of samples.

    It depends on the scale of the features: compare values of one extractor alone. The
    time is that of (N + M)**2 D multiplications; beyond the tables memory is about
    24 block**2 + 16 block D bytes.

    Args:
        real: Features, float [N, D], N >= 3.
        synthetic: Features, float [M, D], M >= 3.
        subsets: None: one estimate of all samples, its error by the jackknife. A
            number >= 2: the mean over so many random subsets, as published figures
            are; its error is their standard deviation over the root of their number,
            where as many as fit side by side into the smaller set count.
        subset_size: Samples that a subset draws from each set, without repetition.
        seed: Of the subsets, in [0, 2**64).
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table has too few samples, a NaN or another width, all real
            features are equal, or an argument is out of range.
    """
    x, y = tables(real, synthetic, least=_LEAST)
    if subsets is None:
        return _estimate(x, y, block)
    if subsets < 2:
        raise UsageError(f"subsets must be None or >= 2, got {subsets}")
    smaller = min(len(x), len(y))
    if not _LEAST <= subset_size <= smaller:
        raise UsageError(
            f"subset_size must be in [{_LEAST}, {smaller}], the smaller set, got"
            f" {subset_size}"
        )
    draw = np.random.default_rng(check_seed(seed))
    values = [
        _estimate(
            x[draw.choice(len(x), subset_size, replace=False)],
            y[draw.choice(len(y), subset_size, replace=False)],
            block,
        ).value
        for _ in range(subsets)
    ]
    independent = min(subsets, max(1.0, smaller / subset_size))
    error = float(np.std(values, ddof=1)) / float(np.sqrt(independent))
    return Kid(float(np.mean(values)), error)


def _estimate(x: Table, y: Table, block: int) -> Kid:
    n, m = len(x), len(y)
    of_x, of_y = _within(x, block), _within(y, block)
    x_to_y, y_to_x = _between(x, y, block)
    xx, yy, xy = of_x.sum(), of_y.sum(), x_to_y.sum()

    without_x = _distance(xx - 2 * of_x, yy, xy - x_to_y, n - 1, m)
    without_y = _distance(xx, yy - 2 * of_y, xy - y_to_x, n, m - 1)
    variance = (n - 1) * np.var(without_x) + (m - 1) * np.var(without_y)
    return Kid(float(_distance(xx, yy, xy, n, m)), float(np.sqrt(variance)))


def _distance(xx: Any, yy: Any, xy: Any, n: int, m: int) -> Any:  # noqa: ANN401  # sums, or arrays of sums
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def _kernel(a: Table, b: Table) -> NDArray[np.float64]:
    close = a.astype(np.float64) @ b.astype(np.float64).T
    close /= a.shape[1]
    close += 1
    cubes: NDArray[np.float64] = close * close * close
    return cubes


def _within(x: Table, block: int) -> NDArray[np.float64]:
    """Return for each row the sum of its kernels with all other rows, [N]."""
    sums = np.zeros(len(x))
    for here in blocks(len(x), block):
        for there in blocks(here.stop, block):
            values = _kernel(x[here], x[there])
            if here == there:
                np.fill_diagonal(values, 0)
            else:
                sums[there] += values.sum(0)
            sums[here] += values.sum(1)
    return sums


def _between(
    x: Table, y: Table, block: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of kernels of each row of x with all of y, and the other way."""
    rows, columns = np.zeros(len(x)), np.zeros(len(y))
    for here in blocks(len(x), block):
        for there in blocks(len(y), block):
            values = _kernel(x[here], y[there])
            rows[here] += values.sum(1)
            columns[there] += values.sum(0)
    return rows, columns
