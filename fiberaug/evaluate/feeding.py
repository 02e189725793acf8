"""Batches for a classifier, from whatever a user has: arrays, loaders, data sets."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import UsageError
from fiberaug.loader import DataLoader

__all__ = [
    "Batch",
    "batches",
    "device_of",
    "held_arrays",
    "limited_threads",
    "scaled",
]


class Batch(NamedTuple):
    """Some images and, where they are known, their labels."""

    images: torch.Tensor
    """[B, C, H, W]: float32, what was uint8 in [0, 1]; in :func:`held_arrays` as
    they are."""

    labels: torch.Tensor | None
    """int64 [B], or float [B, K] shares of classes."""


def held_arrays(data: object) -> Batch | None:
    """Return images that are all in memory as one batch; None: data is something else.

    Args:
        data: Images, or a pair (images, labels): numpy arrays [N, H, W] or
            [N, H, W, C], or tensors [N, C, H, W], uint8 or float.

    Raises:
        UsageError: Images or labels have another form, or their numbers differ.
    """
    if isinstance(data, np.ndarray | torch.Tensor):
        return Batch(_images(data), None)
    if isinstance(data, tuple | list) and len(data) == 2:
        images, labels = data
        if isinstance(images, np.ndarray | torch.Tensor):
            return _batch(images, labels)
    return None


def batches(data: Any, *, batch_size: int = 256) -> Iterator[Batch]:  # noqa: ANN401  # any loader
    """Yield one pass of ``data``, without padding rows.

    Args:
        data: What :func:`held_arrays` takes; a :class:`fiberaug.StreamingDataset`; or a
            loader whose batches are mappings with ``image`` and perhaps ``label``,
            pairs (images, labels), or images.
        batch_size: Images of a batch, where it is made here.

    Raises:
        UsageError: A batch has another form.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be >= 1, got {batch_size}")
    whole = held_arrays(data)
    if whole is not None:
        images, labels = whole
        for at in range(0, len(images), batch_size):
            some = slice(at, at + batch_size)
            yield Batch(scaled(images[some]), None if labels is None else labels[some])
        return
    if isinstance(data, StreamingDataset):
        with DataLoader(data, batch_size=batch_size) as loader:
            yield from map(_of_loader, loader)
        return
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | Mapping):
        raise UsageError(
            "data must be images, a pair (images, labels), a StreamingDataset or a"
            f" loader, got {type(data).__name__}"
        )
    yield from map(_of_loader, data)


def device_of(model: torch.nn.Module) -> torch.device:
    """Return where a model's first parameter is; memory, if it has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def limited_threads(most: int) -> Iterator[None]:
    """Let torch have so many threads meanwhile.

    Raises:
        UsageError: It is fewer than one.
    """
    if most < 1:
        raise UsageError(f"threads must be >= 1, got {most}")
    usual = torch.get_num_threads()
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Return images as float32, uint8 divided by 255."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _of_loader(batch: Any) -> Batch:  # noqa: ANN401  # from any loader
    images, labels = _without_padding(batch)
    return Batch(scaled(images), labels)


def _without_padding(batch: Any) -> Batch:  # noqa: ANN401  # from any loader
    if isinstance(batch, Mapping):
        if "image" not in batch:
            raise UsageError(
                f"a batch must have the key 'image', got {sorted(map(str, batch))};"
                " give pairs (images, labels) instead"
            )
        found = _batch(batch["image"], batch.get("label"))
        if "is_pad" in batch:
            real = ~torch.as_tensor(batch["is_pad"])
            labels = None if found.labels is None else found.labels[real]
            return Batch(found.images[real], labels)
        return found
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return _batch(*batch)
    return _batch(batch, None)


def _batch(images: Any, labels: Any) -> Batch:  # noqa: ANN401  # checked here
    pixels = _images(images)
    if labels is None:
        return Batch(pixels, None)
    try:
        known = torch.as_tensor(labels)
    except (TypeError, ValueError) as error:
        raise UsageError(f"labels must be class ids or shares: {error}") from error
    whole = not known.is_floating_point()
    if len(known) != len(pixels) or known.ndim != (1 if whole else 2):
        raise UsageError(
            f"labels must be class ids [{len(pixels)}] or shares [{len(pixels)}, K],"
            f" got {known.dtype} {list(known.shape)}"
        )
    return Batch(pixels, known.long() if whole else known.float())


def _images(images: Any) -> torch.Tensor:  # noqa: ANN401  # checked here
    pixels = images
    if isinstance(images, np.ndarray) and images.ndim in {3, 4}:
        last = images if images.ndim == 4 else images[..., None]
        own = np.require(last, requirements=["C", "W"])  # torch warns of read-only ones
        pixels = torch.from_numpy(own).permute(0, 3, 1, 2)
    if not isinstance(pixels, torch.Tensor) or pixels.ndim != 4:
        found = getattr(images, "shape", None)
        raise UsageError(
            "images must be an array [N, H, W] or [N, H, W, C] or a tensor [N, C, H, W]"
            f", got {type(images).__name__}"
            f"{'' if found is None else f' {list(found)}'}; of other sizes, resize or"
            " crop in the transform"
        )
    if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
        raise UsageError(f"images must be uint8 or float, got {pixels.dtype}")
    return pixels
