"""Frechet distance of two sets of features, as if both were Gaussian.

Sources: D. C. Dowson and B. V. Landau, The Frechet distance between multivariate normal
distributions (1982); M. Heusel et al., GANs Trained by a Two Time-Scale Update Rule
(NeurIPS 2017), equation (6); its bias: M. J. Chong and D. Forsyth, Effectively Unbiased
FID and Inception Score (CVPR 2020).
"""

import numpy as np
from numpy.typing import NDArray

from fiberaug.evaluate.tables import BLOCK, FeatureTable, Table, blocks, tables

__all__ = ["frechet_distance"]


def frechet_distance(
    real: FeatureTable, synthetic: FeatureTable, *, block: int = BLOCK
) -> float:
    """Return |m1 - m2|**2 + tr(C1 + C2 - 2 (C1 C2)**0.5) of means and covariances.

    It is biased upwards, and the more the fewer samples there are: another real split
    does not get 0, but 2.2 at 1,000 samples of 64 unit Gaussians, 5.6 at 400. Compare
    values at equal N and M only, and with that of another real split; :func:`kid` has
    no such bias. Scaling all features by c scales it by c**2. Memory beyond the tables
    is about 24 block D + 40 D**2 bytes.

    Args:
        real: Features, float [N, D], N >= 2.
        synthetic: Features, float [M, D], M >= 2.
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table has too few samples, a NaN or another width, or all real
            features are equal.
    """
    x, y = tables(real, synthetic, least=2)
    mean_x, root_x = _moments(x, block)
    mean_y, root_y = _moments(y, block)
    # With C = R'R the singular values of R1 R2' are the roots of the eigenvalues of
    # C1 C2, to all digits also where a covariance is singular.
    shared = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    own = (root_x**2).sum() + (root_y**2).sum()
    return max(0.0, float(((mean_x - mean_y) ** 2).sum() + own - 2 * shared))


def _moments(x: Table, block: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean [D] and a root R [<= D, D] of the covariance, R'R."""
    mean = x.mean(0, dtype=np.float64)
    root: NDArray[np.float64] = np.empty((0, x.shape[1]))
    for rows in blocks(len(x), block):
        root = np.asarray(np.linalg.qr(np.vstack([root, x[rows] - mean]), mode="r"))
    return mean, root / np.sqrt(len(x) - 1)
