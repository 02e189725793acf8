"""Can real and synthetic images be told apart, and by what? A test of a minute."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.evaluate.cues import CUES, small_pixels
from fiberaug.evaluate.intervals import Share, check_confidence, mean_share
from fiberaug.evaluate.lookalikes import Images, pixels_of
from fiberaug.evaluate.ridge import cross_validated
from fiberaug.evaluate.tables import Features, FeatureTable, Table, tables
from fiberaug.seeding import check_seed

__all__ = ["Probe", "probe"]

_logger = logging.getLogger("fiberaug")

_TRIVIAL = 0.6  # accuracy above which one cue alone is worth a warning


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How well real and synthetic images are told apart within each class.

    Accuracies are balanced: the mean of the share of real images that are taken for
    real and that of synthetic ones. 0.5: they cannot be told apart.
    """

    overall: Share
    """Of all classes together."""

    per_class: Mapping[int, Share]
    """Of each class."""

    cues: Mapping[str, Share]
    """With one cue alone, within classes; empty for features."""

    skipped: Mapping[int, tuple[int, int]]
    """Classes with too few images: real and synthetic ones."""

    @property
    def trivial(self) -> tuple[str, ...]:
        """Cues that alone are surely right in over 60 %, the best first."""
        best = sorted(self.cues, key=lambda cue: -self.cues[cue].value)
        return tuple(cue for cue in best if self.cues[cue].low > _TRIVIAL)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name with ``trivial``, fit for JSON."""
        return asdict(self) | {"trivial": list(self.trivial)}


def probe(
    real: Images | Table | Features,
    synthetic: Images | Table | Features,
    real_labels: Sequence[int] | NDArray[np.integer] | None = None,
    synthetic_labels: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    folds: int = 5,
    per_class: int = 500,
    side: int = 16,
    confidence: float = 0.95,
    seed: int = 0,
) -> Probe:
    """Return how well a simple classifier tells real from synthetic in each class.

    It is a cross-validated ridge regression, on features or on small pixels and their
    cues together. Far above 0.5 on features: the classifier that is trained on the mix
    can learn the source instead of the class. A cue alone far above 0.5 names a
    mismatch of codec, size, sharpness or colour that is to be mended first. Below 0.5:
    rows have twins on the other side, look for copies. Intervals take rows for
    independent, which near-duplicates within a set are not.

    Args:
        real: uint8 images [N, H, W] or [N, H, W, C], or a sequence of images of any
            sizes; or features, float [N, D].
        synthetic: The same of the synthetic set.
        real_labels: Class id of each; None: those of the features, or one class.
        synthetic_labels: Class id of each.
        folds: Parts of the cross-validation, >= 2.
        per_class: Images of a class and side that are used, drawn by the seed.
        side: Of the small pixels, px.
        confidence: Of the two-sided intervals, in (0, 1).
        seed: In [0, 2**64).

    Raises:
        UsageError: An argument is out of range, the sets do not fit each other, or no
            class has ``folds`` images on both sides.
    """
    check_confidence(confidence)
    check_seed(seed)
    if folds < 2 or per_class < folds or side < 1:
        raise UsageError(
            "probe needs folds >= 2, per_class >= folds and side >= 1, got"
            f" {folds}, {per_class} and {side}"
        )
    looked = _looked(real, synthetic)
    labels = _labels(real, real_labels), _labels(synthetic, synthetic_labels)
    if (labels[0] is None) != (labels[1] is None):
        raise UsageError("probe needs labels of both sets or of none")
    classes = [
        _checked(own, len(data), name)
        for own, data, name in zip(labels, looked, ("real", "synthetic"), strict=True)
    ]
    draw = np.random.default_rng(seed)
    found: dict[int, dict[str, list[tuple[float, int]]]] = {}
    skipped: dict[int, tuple[int, int]] = {}
    for label in sorted(set(classes[0].tolist()) | set(classes[1].tolist())):
        rows = [np.flatnonzero(own == label) for own in classes]
        if min(map(len, rows)) < folds:
            skipped[label] = len(rows[0]), len(rows[1])
            _logger.warning(
                "class %d is left out of the probe: %d real and %d synthetic samples,"
                " it needs %d of each", label, *skipped[label], folds,
            )  # fmt: skip
            continue
        some = [draw.permutation(r)[:per_class] for r in rows]
        sides = [_views(data, r, side) for data, r in zip(looked, some, strict=True)]
        found[label] = {}
        for view in sides[0]:
            one, other = sides[0][view], sides[1][view]
            hits = cross_validated(
                one, other, folds=folds, draw=draw,
                widths=None if view else _widths(sides[0], one.shape[1]),
            )  # fmt: skip
            trials = len(one), len(other)
            found[label][view] = list(zip(hits, trials, strict=True))
    if not found:
        raise UsageError(
            f"no class has {folds} real and {folds} synthetic samples, got (real,"
            f" synthetic) of {dict(list(skipped.items())[:10])}; are the class ids"
            " the same?"
        )
    together = {
        view: mean_share(
            [
                (sum(own[view][s][0] for own in found.values()),
                 sum(own[view][s][1] for own in found.values()))
                for s in (0, 1)
            ],
            confidence,
        )
        for view in next(iter(found.values()))
    }  # fmt: skip
    return Probe(
        overall=together.pop(""), cues=together, skipped=skipped,
        per_class={c: mean_share(own[""], confidence) for c, own in found.items()},
    )  # fmt: skip


_Looked = list[NDArray[np.uint8]] | Table


def _looked(real: object, synthetic: object) -> tuple[_Looked, _Looked]:
    """Return the images or the features of both sets, checked."""
    if _is_table(real) and _is_table(synthetic):
        return tables(real, synthetic)
    if not _is_table(real) and not _is_table(synthetic):
        return pixels_of(real, "real"), pixels_of(synthetic, "synthetic")
    raise UsageError("probe takes images twice or features twice, got one of each")


def _is_table(data: object) -> TypeGuard[FeatureTable]:
    if isinstance(data, Features):
        return True
    return isinstance(data, np.ndarray) and np.issubdtype(data.dtype, np.floating)


def _labels(data: object, labels: Any) -> Any:  # noqa: ANN401  # checked below
    if labels is None and isinstance(data, Features):
        return data.labels
    return labels


def _checked(labels: Any, count: int, name: str) -> NDArray[np.int64]:  # noqa: ANN401
    if labels is None:
        return np.zeros(count, np.int64)
    known = np.asarray(labels)
    if known.shape != (count,) or not np.issubdtype(known.dtype, np.integer):
        raise UsageError(
            f"{name}_labels must be class ids [{count}], got {known.dtype}"
            f" {list(known.shape)}"
        )
    return known.astype(np.int64)


def _views(
    data: _Looked, rows: NDArray[np.int64], side: int
) -> dict[str, NDArray[np.floating]]:
    """Return what is looked at: all together under "", and each cue, [N, D]."""
    if isinstance(data, np.ndarray):
        return {"": data[rows]}
    images = [data[row] for row in rows]
    cues = {
        name: np.asarray([cue(image) for image in images], np.float64)
        for name, cue in CUES.items()
    }
    small = np.asarray([small_pixels(image, side) for image in images], np.float64)
    return {"": np.hstack([small, *cues.values()]), **cues}


def _widths(views: Mapping[str, NDArray[np.floating]], total: int) -> list[int]:
    """Return the columns of small pixels, or of features, and of each cue."""
    cues = [table.shape[1] for name, table in views.items() if name]
    return [total - sum(cues), *cues]
