"""All that features tell about a set of synthetic images, in one value."""

from dataclasses import asdict, dataclass
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.evaluate.copies import closer_to_train, near_copies
from fiberaug.evaluate.frechet import frechet_distance
from fiberaug.evaluate.kernels import Kid, kid
from fiberaug.evaluate.manifolds import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from fiberaug.evaluate.tables import BLOCK, FeatureTable, same_extractor

__all__ = [
    "DensityCoverage",
    "Kid",
    "Metrics",
    "PrecisionRecall",
    "density_coverage",
    "frechet_distance",
    "kid",
    "measure",
    "precision_recall",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Figures of one synthetic set against one real set, of one extractor."""

    extractor: str | None
    """sha256 of the classifier whose features these are; None: not known."""

    real: int
    """Real samples."""

    synthetic: int
    """Synthetic samples."""

    kid: float
    """Kernel distance, about 0 where alike, see :func:`kid`."""

    kid_error: float
    """Its standard error."""

    frechet: float
    """Frechet distance, >= 0; compare at equal numbers of samples only."""

    precision: float
    """Share of synthetic samples that look real, in [0, 1]."""

    recall: float
    """Share of real samples that could be synthetic, in [0, 1]."""

    density: float
    """As precision, not bounded by 1, less moved by outliers."""

    coverage: float
    """Share of real samples with a synthetic one near, in [0, 1]."""

    near_copies: float
    """Share of synthetic samples nearer to a real one than 99 % of these are to each
    other, in [0, 1]; about 0.01 for another real split."""

    closer_to_train: float | None
    """Balanced share nearer to real than to held-out samples: 0.5 is right, 1 copying;
    None: there were no held-out samples."""

    closer_to_train_low: float | None
    """Lower bound of its 95 % interval: above 0.5 is evidence of copying."""

    closer_to_train_high: float | None
    """Upper bound of its 95 % interval."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        return asdict(self)

    def minus(self, other: "Metrics") -> dict[str, float]:
        """Return by how much each figure is above that of ``other``, by name.

        Figures that one of both lacks are left out.

        Raises:
            UsageError: The extractors differ or are not known.
        """
        if self.extractor is None or self.extractor != other.extractor:
            names = [(m.extractor or "unknown")[:12] for m in (self, other)]
            raise UsageError(
                f"metrics of different extractors cannot be compared, got {names[0]}"
                f" and {names[1]}; take features() of both with one classifier, or name"
                " it with extractor="
            )
        theirs = other.to_dict()
        return {
            name: value - theirs[name]
            for name, value in self.to_dict().items()
            if isinstance(value, float) and theirs[name] is not None
        }


def measure(
    real: FeatureTable,
    synthetic: FeatureTable,
    held_out: FeatureTable | None = None,
    *,
    extractor: str | None = None,
    block: int = BLOCK,
) -> Metrics:
    """Return all figures, with the arguments that published ones have.

    Read them beside those of another real split in the place of ``synthetic``. The
    memory beyond the tables is bounded by 220 MB at D = 512, the time is that of about
    8 N**2 D multiplications: a second for 1,000, ten minutes for 50,000 x 512 (2 CPUs).

    Args:
        real: Features of what the generator was trained on, float [N, D], N >= 6.
        synthetic: Features, float [M, D], M >= 6.
        held_out: Features of real samples that neither the generator nor the
            classifier has seen, float [K, D].
        extractor: Name of what made the features, where they are plain arrays.
        block: Rows that are worked on at a time.

    Raises:
        UsageError: A table has too few samples, a NaN, another width or extractor, or
            all real features are equal.
    """
    named = same_extractor(real, synthetic, held_out)
    if named is not None and extractor not in {None, named}:
        raise UsageError(
            f"extractor={extractor!r} is not that of the features, {named[:12]};"
            " leave it out"
        )
    manifold = density_coverage(real, synthetic, block=block)  # needs the most samples
    distance = kid(real, synthetic, block=block)
    balls = precision_recall(real, synthetic, block=block)
    share = low = high = None
    if held_out is not None:
        share, low, high = closer_to_train(synthetic, real, held_out, block=block)
    return Metrics(
        extractor=named or extractor, real=len(real), synthetic=len(synthetic),
        kid=distance.value, kid_error=distance.error,
        frechet=frechet_distance(real, synthetic, block=block),
        precision=balls.precision, recall=balls.recall,
        density=manifold.density, coverage=manifold.coverage,
        near_copies=near_copies(synthetic, real, block=block).share,
        closer_to_train=share, closer_to_train_low=low, closer_to_train_high=high,
    )  # fmt: skip
