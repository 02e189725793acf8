"""Quality and diversity apart: balls around samples stand for where a set lives.

Sources: T. Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing
Generative Models (NeurIPS 2019), section 3; M. F. Naeem et al., Reliable Fidelity and
Diversity Metrics for Generative Models (ICML 2020), equations (4) and (5).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.evaluate.neighbours import inside, nearest
from fiberaug.evaluate.tables import BLOCK, FeatureTable, Table, tables

__all__ = [
    "DensityCoverage",
    "PrecisionRecall",
    "density_coverage",
    "precision_recall",
]


class PrecisionRecall(NamedTuple):
    """How much of each set lies where the other one lives."""

    precision: float
    """Share of synthetic samples in a ball of a real one, in [0, 1]: quality."""

    recall: float
    """Share of real samples in a ball of a synthetic one, in [0, 1]: diversity."""


class DensityCoverage(NamedTuple):
    """The same as precision and recall, less moved by single outliers."""

    density: float
    """Mean real balls that a synthetic sample lies in, over k, >= 0: 1 where alike."""

    coverage: float
    """Share of real balls that hold a synthetic sample, in [0, 1]."""


def precision_recall(
    real: FeatureTable, synthetic: FeatureTable, *, k: int = 3, block: int = BLOCK
) -> PrecisionRecall:
    """Return precision and recall (Kynkaanniemi 2019).

    The ball of a sample reaches to its k-th nearest neighbour in its own set, and is
    closed. Neither is 1 for another real split: compare with that. Scaling, shifting
    or turning all features changes nothing. One outlier in a set has a large ball,
    which raises the other's share.

    Args:
        real: Features, float [N, D], N > k.
        synthetic: Features, float [M, D], M > k.
        k: Neighbours that a ball reaches to.
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table has too few samples, a NaN or another width, all real
            features are equal, or k is below 1.
    """
    x, y = tables(real, synthetic, least=_check_k(k) + 1)
    return PrecisionRecall(
        float((inside(y, x, _radii(x, k, block), block=block).balls > 0).mean()),
        float((inside(x, y, _radii(y, k, block), block=block).balls > 0).mean()),
    )


def density_coverage(
    real: FeatureTable, synthetic: FeatureTable, *, k: int = 5, block: int = BLOCK
) -> DensityCoverage:
    """Return density and coverage (Naeem 2020).

    Only balls around real samples count. Of sets that are alike the density is 1 on
    average and the coverage 1 - (N - 1)! (N + M - 1 - k)! / ((N + M - 1)! (N - 1 - k)!)
    (about 0.97 for k = 5 and N = M). Balls are closed.

    Args:
        real: Features, float [N, D], N > k.
        synthetic: Features, float [M, D], M > k.
        k: Neighbours that a ball reaches to.
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table has too few samples, a NaN or another width, all real
            features are equal, or k is below 1.
    """
    x, y = tables(real, synthetic, least=_check_k(k) + 1)
    found = inside(y, x, _radii(x, k, block), block=block)
    return DensityCoverage(
        float(found.balls.sum() / (k * len(y))), float(found.hit.mean())
    )


def _radii(x: Table, k: int, block: int) -> NDArray[np.float64]:
    return nearest(x, x, k, own=True, block=block).distances[:, -1]


def _check_k(k: int) -> int:
    if k < 1:
        raise UsageError(f"k must be >= 1, got {k}")
    return k
