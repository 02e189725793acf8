"""Real photos for a training, from whatever a user has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.training.feeding_arrays import ArraySource
from fiberaug.training.feeding_labels import class_names
from fiberaug.training.feeding_pixels import as_photos, with_channels
from fiberaug.training.feeding_prepared import prepare_shards
from fiberaug.training.feeding_shards import ShardSource
from fiberaug.training.windows import Crop, largest_scale

__all__ = ["open_source"]

_LARGE_PHOTO = 10**6  # px; larger ones are not shrunk unless asked
_SHRUNK = 2.0  # photo px per px from which on detail is lost
_NAMES = "names become ids by np.unique(names, return_inverse=True)[1]; "


def open_source(
    data: Any,  # noqa: ANN401  # see the docstring
    *,
    size: tuple[int, int],
    batch_size: int,
    channels: int = 3,
    conditional: bool | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    held_out: float = 0.1,
    num_workers: int = 0,
    windows: bool | None = None,
    scales: tuple[float, float | None] | None = None,
    flip: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    index_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    captioned: bool = False,
) -> ArraySource | ShardSource:
    """Return real photos at a size, in an exact order that can be gone on with.

    Rows of a step do not depend on workers, nor on how many ranks share them. Every
    photo comes as often as any other, batches are always full, and may reach over the
    end of a pass. ``notes`` of what is returned holds what a user should read; what
    cannot work is refused by :func:`fiberaug.training.refusals.check_request`.

    Args:
        data: Shards, a folder or what else :class:`fiberaug.StreamingDataset` takes; a
            StreamingDataset, whose transform runs before; or images in memory, uint8
            [N, H, W] or [N, H, W, C] (tensors: [N, C, H, W]), alone or as a pair
            (images, labels).
        size: (height, width) of what is trained on, px.
        batch_size: Rows of a step, over all ranks.
        channels: 3 for RGB, 1 for gray; of arrays 1 to 4.
        conditional: Whether labels are given along. None: where each photo has one.
        classes: Names by label, for data that has none.
        seed: Of the order and of what is drawn, in [0, 2**64).
        held_out: Share of the photos that is never trained on, 0 to 0.5, by a hash of
            each; none of fewer than 200 photos, about 2,000 at most.
        num_workers: Processes that decode; 0: this one does.
        windows: Whether windows at several scales are cut of each photo; else a photo
            is cut to the aspect of ``size`` and shrunk. None: where the median photo
            has more than 1,000,000 px and more than twice ``size``.
        scales: Smallest and largest scale of windows, photo px per px; the largest may
            be None: what a photo allows. None: (1, None).
        flip: Mirror every second photo, left to right.
        rank: This process's rank; None: see :class:`fiberaug.StreamingDataset`.
        world_size: Number of ranks; None: as above.
        index_dir: Folder of the index side-cars; None: beside the shards, and of those
            that have none in the cache.
        cache_dir: Folder of remote shards and of such indexes; None:
            ``~/.cache/fiberaug``.
        captioned: Take captions of photos in files as their classes.

    Raises:
        UsageError: An argument is out of range, or does not fit the data.
        DataRefused: The photos are none to learn from.
        StoreError: They cannot be read.
    """
    if scales is not None and windows is False:
        raise UsageError(
            f"scales={scales!r} are of windows, and windows=False: leave one out"
        )
    pair = _in_memory(data)
    options: dict[str, Any] = {
        "batch_size": batch_size, "seed": seed, "held_out": held_out,
        "rank": rank, "world_size": world_size,
    }  # fmt: skip

    def crop_of(sizes: NDArray[np.int64]) -> Crop:
        """Return how photos of these sizes are cut."""
        wanted = windows if windows is not None else scales is not None or None
        if wanted is None:
            wanted = _are_large(sizes, size)
        asked = (scales or (1.0, None)) if wanted else None
        return Crop(size=(int(size[0]), int(size[1])), scales=asked, flip=flip)

    if pair is not None and captioned:
        raise UsageError(
            "{caption} needs captions: give images in memory as a pair (images,"
            " captions)"
        )
    if pair is not None:
        images, labels = with_channels(as_photos(pair[0]), channels), pair[1]
        ids = _labels(labels, len(images), conditional=conditional)
        sizes = np.array([images.shape[1:3]], np.int64)
        return ArraySource(
            images, ids, classes=class_names(ids, classes), crop=crop_of(sizes),
            **options,
        )  # fmt: skip
    return prepare_shards(
        data, crop_of=crop_of, channels=channels, conditional=conditional,
        classes=classes, num_workers=num_workers, index_dir=index_dir,
        cache_dir=cache_dir, captioned=captioned, **options,
    )  # fmt: skip


def _in_memory(data: object) -> tuple[object, object] | None:
    """Return (images, labels) where photos are in memory, labels None where none."""
    if isinstance(data, np.ndarray | torch.Tensor):
        return data, None
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = data
        if isinstance(images, np.ndarray | torch.Tensor) and np.ndim(labels) < 3:
            return images, labels
    if isinstance(data, tuple | list) and data and _is_image(data[0]):
        raise UsageError(
            "images in memory are one array, uint8 [N, H, W, C], alone or as a pair"
            f" (images, labels), got a {type(data).__name__} of {len(data)} with"
            f" {type(data[0]).__name__}: np.stack(images) makes one of one size"
        )
    return None


def _is_image(value: object) -> bool:
    return isinstance(value, np.ndarray | torch.Tensor | Image.Image)


def _labels(
    labels: object, photos: int, *, conditional: bool | None
) -> NDArray[np.int64] | None:
    """Return labels of arrays, or None where nothing is conditioned.

    Raises:
        UsageError: They are no class ids, or miss where they are asked for.
    """
    if conditional is False:
        return None
    if labels is None:
        if conditional:
            raise UsageError(
                "training by class needs labels: give a pair (images, labels), or train"
                " without: conditional=False, and networks made for no classes"
            )
        return None
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu().numpy()
    ids = np.asarray(labels)
    if ids.shape != (photos,) or ids.dtype.kind not in "biu" or (ids < 0).any():
        how = "" if ids.dtype.kind not in "UO" else _NAMES
        raise UsageError(
            f"labels must be {photos} class ids, integers >= 0, got {ids.dtype}"
            f" {list(ids.shape)}; {how}conditional=False trains without"
        )
    return ids.astype(np.int64)


def _are_large(sizes: NDArray[np.int64], size: tuple[int, int]) -> bool:
    """Return whether photos hold far more than a small picture of them would."""
    if not len(sizes):
        return False
    height, width = np.median(sizes, axis=0)
    scale = largest_scale((height, width), size)
    return bool(height * width > _LARGE_PHOTO and scale > _SHRUNK)
