"""Images that a generator gives back, told without photos that were held out.

A copy is much nearer to one photo than to all others. A blurred or an average image,
which is near to many, is not. T. Yoon, J. Y. Choi, S. Kwon and E. K. Ryu, Diffusion
Probabilistic Models Generalize when They Fail to Memorize (ICML 2023 workshop on
structured probabilistic inference), compare the two nearest photos in that way, with a
bound of 1/3; here the bound is what photos show among themselves.
"""

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.evaluate.intervals import Share, wilson
from fiberaug.evaluate.neighbours import nearest

__all__ = ["given_back"]


def given_back(
    made: NDArray[np.floating], train: NDArray[np.floating], *, quantile: float = 0.01
) -> Share:
    """Return the share of images that are copies of one photo, and its interval.

    An image is one where its nearest photo is nearer than the second nearest by a
    factor that only ``quantile`` of the photos have among themselves. Of other photos
    of that kind about that share is. Images with the same nearest photo do not count as
    independent, as in :func:`fiberaug.evaluate.closer_to_train`.

    Photos that are there twice hide their copies.

    Args:
        made: Features of images, float [M, D].
        train: Of photos, float [N, D], N >= 3.
        quantile: In (0, 1).

    Raises:
        UsageError: There are too few photos, or the quantile is out of range.
    """
    if len(train) < 3 or not 0 < quantile < 1:
        raise UsageError(
            "given_back needs 3 photos and a quantile in (0, 1), got"
            f" {len(train)} and {quantile}"
        )
    own = nearest(train, train, 2, own=True)
    found = nearest(made, train, 2)
    bound = np.quantile(_ratio(own.distances), quantile, method="lower")
    copies = _ratio(found.distances) <= bound
    weights = np.unique(found.rows[:, 0], return_counts=True)[1].astype(np.float64)
    independent = float(weights.sum() ** 2 / (weights**2).sum())
    return wilson(float(copies.mean()) * independent, independent)


def _ratio(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return nearest over second nearest; 1 where both are 0."""
    first, second = distances.astype(np.float64).T
    ratio = np.ones(len(first))
    np.divide(first, second, out=ratio, where=second > 0)
    return ratio
