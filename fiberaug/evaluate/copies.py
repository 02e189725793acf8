"""Does a generator give its training samples back? Detectors in feature space.

Distances between distributions and precision, recall, density and coverage take exact
copies for a perfect result: only a comparison with samples that the generator has not
seen tells. Sources: C. Meehan, K. Chaudhuri and S. Dasgupta, A Non-Parametric Test to
Detect Data-Copying in Generative Models (AISTATS 2020), section 3; L. Kish, Survey
Sampling (1965), section 8.2: the effective number of weighted samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.evaluate.intervals import Share, check_confidence, wilson
from fiberaug.evaluate.neighbours import nearest
from fiberaug.evaluate.tables import BLOCK, FeatureTable, same_extractor, tables

__all__ = ["Copies", "closer_to_train", "near_copies"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Copies:
    """Synthetic samples that are too near to a training sample."""

    indices: NDArray[np.int64]
    """Their numbers in the synthetic set, ascending, [K]."""

    parents: NDArray[np.int64]
    """The number of the training sample that each is nearest to, [K]."""

    distances: NDArray[np.float64]
    """How far from it, in the detector's unit, [K]."""

    threshold: float
    """Largest distance of a copy."""

    total: int
    """Synthetic samples that were looked at."""

    @property
    def share(self) -> float:
        """Share of the synthetic samples that are copies, in [0, 1]."""
        return len(self.indices) / self.total

    def __len__(self) -> int:
        return len(self.indices)


def closer_to_train(
    synthetic: FeatureTable,
    train: FeatureTable,
    held_out: FeatureTable,
    *,
    confidence: float = 0.95,
    block: int = BLOCK,
) -> Share:
    """Return the share of samples nearer to training than to held-out samples.

    0.5: the generator knows nothing more of its training samples than of others of
    their kind. Towards 1: it copies. Its lower bound above 0.5 is evidence of copying.

    Balanced for the sizes N and K: with a raw share s (ties count half) this is
    s K / (s K + (1 - s) N). If N + K samples were drawn alike, the nearest one is of
    the training set with probability N / (N + K), which becomes 0.5; 1 stays 1.

    The interval is Wilson's. Samples with the same nearest neighbour do not count as
    independent: with n_i of them at neighbour i there are (sum n_i)**2 / sum n_i**2.
    So a collapsed generator gets a wide interval, not a sure verdict.

    Train and held-out samples must be alike but for the generator's training: not from
    other days or cameras, and neither seen more by the classifier. One that knows its
    training samples by heart sets them apart, and the share falls below 0.5.

    Args:
        synthetic: Features, float [M, D].
        train: Features of what the generator was trained on, float [N, D].
        held_out: Features of what it has not seen, float [K, D].
        confidence: Of the two-sided interval, in (0, 1).
        block: Rows that are worked on at a time; memory as for :func:`near_copies`.

    Raises:
        UsageError: A table is empty, has a NaN, another width or extractor, or all
            training features are equal.
    """
    check_confidence(confidence)
    same_extractor(synthetic, train, held_out)
    reference, samples = tables(train, synthetic, names=("train", "synthetic"))
    _, others = tables(train, held_out, names=("train", "held_out"))
    of_train = nearest(samples, reference, 1, block=block)
    of_others = nearest(samples, others, 1, block=block)
    near, far = of_train.distances[:, 0], of_others.distances[:, 0]
    closer = np.where(near == far, 0.5, near < far)
    neighbour = np.where(
        near <= far, of_train.rows[:, 0], len(reference) + of_others.rows[:, 0]
    )
    weights = np.unique(neighbour, return_counts=True)[1].astype(np.float64)
    independent = float(weights.sum() ** 2 / (weights**2).sum())
    raw = wilson(float(closer.mean()) * independent, independent, confidence)
    balance = len(others) / len(reference)
    return Share(*(s * balance / (s * balance + (1 - s)) for s in raw))


def near_copies(
    synthetic: FeatureTable,
    train: FeatureTable,
    *,
    quantile: float = 0.01,
    threshold: float | None = None,
    block: int = BLOCK,
) -> Copies:
    """Return the synthetic samples that are nearer to training samples than these are.

    A sample is a copy where its distance to the nearest training sample is at most the
    ``quantile`` of the distances of training samples to their nearest other. Another
    real split has about that share of copies. Blurred or averaged images, which crowd
    around the middle, count as copies too: :func:`closer_to_train` tells them apart.
    Where more than that share of the training set is there twice the threshold is 0,
    and only exact copies count. Distances are Euclidean, of the features.

    Beyond the tables memory is about 40 block**2 + 48 block D bytes (220 MB for the
    usual block and D = 512), the time that of N (N + M) D multiplications: minutes for
    50,000 x 512.

    Args:
        synthetic: Features, float [M, D].
        train: Features of what the generator was trained on, float [N, D], N >= 2.
        quantile: In [0, 1].
        threshold: The largest distance of a copy, instead of the rule.
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table is empty, has a NaN or another width, all training features
            are equal, or an argument is out of range.
    """
    reference, samples = tables(train, synthetic, names=("train", "synthetic"))
    if threshold is None:
        if not 0 <= quantile <= 1:
            raise UsageError(f"quantile must be in [0, 1], got {quantile}")
        if len(reference) < 2:
            raise UsageError(
                "the distances of training samples need at least 2 of them, got 1;"
                " give threshold="
            )
        own = nearest(reference, reference, 1, own=True, block=block).distances
        threshold = float(np.quantile(own, quantile, method="lower"))
    elif not threshold >= 0:
        raise UsageError(f"threshold must be >= 0, got {threshold}")
    found = nearest(samples, reference, 1, block=block)
    copies = np.flatnonzero(found.distances[:, 0] <= threshold)
    return Copies(
        indices=copies, parents=found.rows[copies, 0],
        distances=found.distances[copies, 0], threshold=threshold, total=len(samples),
    )  # fmt: skip
