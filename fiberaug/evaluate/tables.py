"""Features of many images as a table, with the name of what made them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = [
    "BLOCK",
    "FeatureTable",
    "Features",
    "Table",
    "blocks",
    "same_extractor",
    "table",
    "tables",
]

BLOCK = 2048
"""Rows of a block: blocks of distances and kernels are [BLOCK, BLOCK] float64."""

Table = NDArray[np.floating]
"""Features, float [N, D]."""

_LARGEST = np.float64(np.finfo(np.float32).max)  # as a float it would be a float16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """What a classifier sees in images, and which classifier it was."""

    values: NDArray[np.float32]
    """One row an image, float32 [N, D]."""

    labels: NDArray[np.int64] | None
    """Class id of each image, int64 [N]; None: the data had none."""

    extractor: str
    """sha256 of the classifier's weights, its modules and the layer, 64 hex digits."""

    def __len__(self) -> int:
        return len(self.values)


FeatureTable = Table | Features
"""What metrics take: an array [N, D], or the same with its extractor."""


def blocks(count: int, block: int) -> Iterator[slice]:
    """Yield slices of at most ``block`` that cover ``count`` rows."""
    return (slice(at, min(at + block, count)) for at in range(0, count, block))


def table(features: FeatureTable, name: str, *, least: int = 1) -> Table:
    """Return the array of a table whose numbers can be worked with.

    Args:
        features: Features [N, D].
        name: What an error calls it.
        least: Rows that it must have.

    Raises:
        UsageError: It is no float [N, D], has too few rows, or a number is NaN,
            infinite or beyond float32.
    """
    values: object = features.values if isinstance(features, Features) else features
    kind = getattr(values, "dtype", None)
    if not isinstance(values, np.ndarray) or not np.issubdtype(kind, np.floating):
        found = f"{type(values).__name__} of {kind}" if kind else type(values).__name__
        raise UsageError(
            f"{name} must be a float array [N, D], got {found}; features() makes one"
            " from images"
        )
    if values.ndim != 2 or not values.shape[1]:
        raise UsageError(
            f"{name} must be [N, D] with D >= 1, got {list(values.shape)}; average or"
            " flatten what a layer gives for each image"
        )
    if len(values) < least:
        raise UsageError(
            f"{name} must have at least {least} samples here, got {len(values)}"
        )
    for rows in blocks(len(values), BLOCK):
        fits = (np.abs(values[rows]) <= _LARGEST).all(1)  # NaN is not
        if not fits.all():
            row = rows.start + int(np.flatnonzero(~fits)[0])
            raise UsageError(
                f"{name} must be finite and within float32, row {row} is not: the"
                " extractor or its image is broken"
            )
    return values


def tables(
    real: FeatureTable,
    synthetic: FeatureTable,
    *,
    least: int = 1,
    names: tuple[str, str] = ("real", "synthetic"),
) -> tuple[Table, Table]:
    """Return two tables that may be compared.

    Args:
        real: Features [N, D].
        synthetic: Features [M, D].
        least: Rows that each must have.
        names: What an error calls them.

    Raises:
        UsageError: One is no table (see :func:`table`), their widths or extractors
            differ, or all rows of the first are equal.
    """
    same_extractor(real, synthetic)
    one = table(real, names[0], least=least)
    other = table(synthetic, names[1], least=least)
    if one.shape[1] != other.shape[1]:
        raise UsageError(
            f"{names[0]} and {names[1]} must have the same width, got {one.shape[1]}"
            f" and {other.shape[1]}; take both from the same layer"
        )
    if len(one) > 1 and all((one[r] == one[0]).all() for r in blocks(len(one), BLOCK)):
        raise UsageError(
            f"{names[0]}: all {len(one)} rows are equal, nothing can be measured with"
            " constant features; take another layer or classifier"
        )
    return one, other


def same_extractor(*features: FeatureTable | None) -> str | None:
    """Return the extractor that all tables with a named one share; None: none has.

    Raises:
        UsageError: Two were made by different classifiers.
    """
    found = {f.extractor for f in features if isinstance(f, Features)}
    if len(found) > 1:
        raise UsageError(
            "features of different classifiers cannot be compared, got extractors"
            f" {sorted(name[:12] for name in found)}; extract all with one model"
        )
    return found.pop() if found else None
