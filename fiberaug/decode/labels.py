"""What belongs to each box, point or mask of a sample: one value each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.text import parse_label
from fiberaug.errors import SampleBroken

__all__ = ["checked_count", "class_ids"]

_OWNERS = {"bbox": "bboxes", "mask": "masks", "keypoint": "keypoints"}


def class_ids(
    value: Any,  # noqa: ANN401  # JSON or an array
    name: str,
    classes: Mapping[str, int],
    count: int | None,
) -> NDArray[np.int64]:
    """Return class ids, int64 [N], of ids or names; -1 each where the set has none.

    Raises:
        SampleBroken: One is neither, or there are not ``count`` of them.
    """
    if value is None:
        return np.full(count or 0, -1, np.int64)
    values = value if isinstance(value, list | np.ndarray) else [value]
    labels = [_whole(parse_label(value, classes)) for value in values]
    if not all(isinstance(label, int) for label in labels):
        raise SampleBroken(
            f"{name} must be class ids or names, got {values!r:.200}", stage="decode"
        )
    return np.asarray(checked_count(labels, name, count), np.int64)


def checked_count(
    values: Any,  # noqa: ANN401  # JSON
    name: str,
    count: int | None,
) -> Sequence[Any] | NDArray[Any]:
    """Return a list or an array that has as many items as what it belongs to.

    Args:
        values: The items.
        name: Of the field: ``bbox_labels`` belongs to ``bboxes``, and so on.
        count: How many there must be; None where the sample has no such field.

    Raises:
        SampleBroken: It is neither, or has another number of items.
    """
    owner = _OWNERS[name.partition("_")[0]]
    if not (
        isinstance(values, list | tuple)
        or (isinstance(values, np.ndarray) and values.ndim)
    ):
        raise SampleBroken(
            f"{name} must be a list, one for each of {owner}, got {values!r:.200}",
            stage="decode",
        )
    if count is not None and len(values) != count:
        raise SampleBroken(f"{count} {owner}, but {len(values)} {name}", stage="decode")
    return values


def _whole(label: Any) -> Any:  # noqa: ANN401  # what parse_label returns
    return int(label) if isinstance(label, float) and label.is_integer() else label
