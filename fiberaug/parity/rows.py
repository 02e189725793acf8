"""The samples of any loader's batches: key, label and image, whatever their form."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Row", "as_array", "batch_rows", "rows_of"]

_IMAGES = (
    "image", "images", "img", "pixel_values", "jpg", "jpeg", "png", "webp", "x",
    "input", "inputs", "data",
)  # fmt: skip
_LABELS = ("label", "labels", "cls", "target", "targets", "class", "y")
_KEYS = (
    "__key__", "key", "keys", "path", "paths", "filename", "file_name", "name", "id",
)  # fmt: skip
_CHANNELS = (1, 3, 4)


class Row(NamedTuple):
    """One sample of a batch."""

    key: str | None
    label: int | str | None
    """A class id or a name; None where it is neither."""

    image: np.ndarray | None
    """[H, W, C] in the dtype of the batch; None where there is none."""


def as_array(value: Any) -> np.ndarray:  # noqa: ANN401  # a tensor, an array or a picture
    """Return a tensor on any device, an array or a PIL picture as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        value = value.numpy()
    return np.asarray(value)


def rows_of(
    batches: Iterable[Any], is_key: Callable[[str], bool] = bool
) -> Iterator[Row]:
    """Yield the samples of a pass.

    Args:
        batches: Dicts, tuples or single samples.
        is_key: Whether a text is the key of a sample, not the name of a class.
    """
    for batch in batches:
        yield from batch_rows(batch, is_key)


def batch_rows(batch: Any, is_key: Callable[[str], bool] = bool) -> list[Row]:  # noqa: ANN401  # see above
    """Return the samples of one batch; padding rows (``is_pad``) are left out."""
    pads: Any = ()
    if isinstance(batch, Mapping):
        lower = {str(name).lower(): name for name in batch}
        image, label, key = (
            next((batch[lower[n]] for n in names if n in lower), None)
            for names in (_IMAGES, _LABELS, _KEYS)
        )
        pads = batch.get("is_pad", ())
    elif isinstance(batch, list | tuple):
        image, label, key = _parts(batch, is_key)
    else:
        image, label, key = batch, None, None
    images = _images(image)
    if images is None:
        rows = [Row(_text(key), _label(label), _upright(as_array(image)))]
        return rows if image is not None else [Row(_text(key), _label(label), None)]
    count = len(images)
    labels, keys = _each(label, count), _each(key, count)
    dropped = _each(pads, count) if len(pads) else [False] * count
    return [
        Row(_text(k), _label(one), _upright(as_array(pixels)))
        for k, one, pixels, pad in zip(keys, labels, images, dropped, strict=True)
        if not pad
    ]


def _parts(batch: Sequence[Any], is_key: Callable[[str], bool]) -> tuple[Any, Any, Any]:
    """Return image, label and key of a tuple, told apart by what they are."""
    image = label = key = None
    for part in batch:
        first = part[0] if isinstance(part, list | tuple) and part else part
        if isinstance(first, str):
            if key is None and is_key(first):
                key = part
            elif label is None:
                label = part
        elif image is None and _looks(first):
            image = part
        elif label is None and not isinstance(part, Mapping):
            label = part
    return image, label, key


def _looks(value: Any) -> bool:  # noqa: ANN401  # see above
    """Return whether a value can be an image or a batch of images."""
    if hasattr(value, "getbands"):
        return True
    return getattr(value, "ndim", 0) >= 2 and np.ndim(value) >= 2


def _images(value: Any) -> Sequence[Any] | None:  # noqa: ANN401  # see above
    """Return the images of a batch; None where the value is a single one or none."""
    if isinstance(value, list | tuple):
        return value
    if value is None or hasattr(value, "getbands"):
        return None
    array = as_array(value)
    if array.ndim == 4:
        return list(array)
    single = array.ndim < 3 or {array.shape[0], array.shape[-1]} & set(_CHANNELS)
    return None if single else list(array)


def _upright(array: np.ndarray) -> np.ndarray:
    """Return an image as [H, W, C]."""
    if array.ndim == 2:
        return array[:, :, None]
    first = array.shape[0] in _CHANNELS
    last = array.shape[-1] in _CHANNELS and array.shape[-1] <= array.shape[0]
    return array.transpose(1, 2, 0) if first and not last else array


def _each(value: Any, count: int) -> list[Any]:  # noqa: ANN401  # see above
    """Return one value for each row; None where they do not fit."""
    if isinstance(value, str | bytes | None):
        return [value] * count
    values = list(value) if isinstance(value, list | tuple) else list(as_array(value))
    return values if len(values) == count else [None] * count


def _text(key: Any) -> str | None:  # noqa: ANN401  # see above
    if isinstance(key, bytes):
        return key.decode(errors="replace")
    return key if isinstance(key, str) else None


def _label(label: Any) -> int | str | None:  # noqa: ANN401  # see above
    if isinstance(label, bytes):
        label = label.decode(errors="replace")
    if isinstance(label, str):
        return int(label) if label.strip().isdecimal() else label
    if label is None or isinstance(label, Mapping):
        return None
    array = as_array(label)
    if array.size != 1 or array.dtype.kind not in "iub":
        return None
    return int(array.reshape(()))
