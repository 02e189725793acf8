"""What rivals share that run in a torch DataLoader: batches in shared memory."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["TorchLoader", "collate", "load_torchvision"]


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch; images go straight to the memory that processes share.

    torch's own collate does the same with tensors, after another copy of each image to
    [3, H, W]. Boxes stay NumPy arrays: as tensors each would cost a file descriptor.
    """
    height, width, channels = samples[0]["image"].shape
    shape = (len(samples), channels, height, width)
    images = _shared(shape, torch.from_numpy(samples[0]["image"]).dtype)
    for row, sample in zip(images.numpy(), samples, strict=True):
        row[:] = sample["image"].transpose(2, 0, 1)
    if "label" in samples[0]:
        return {"image": images, "label": torch.tensor([s["label"] for s in samples])}
    masks = _shared((len(samples), height, width), torch.uint8)
    np.stack([s["mask"] for s in samples], out=masks.numpy())
    return {
        "image": images, "mask": masks,
        "bboxes": [s["bboxes"] for s in samples],
        "bbox_labels": [s["bbox_labels"] for s in samples],
    }  # fmt: skip


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    if torch.utils.data.get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    numbers = int(np.prod(shape))
    storage = torch.UntypedStorage._new_shared(numbers * dtype.itemsize)  # noqa: SLF001  # as torch's collate
    return torch.empty(0, dtype=dtype).set_(storage).reshape(shape)


class TorchLoader:
    """A torch DataLoader as the contract wants it."""

    def __init__(self, loader: torch.utils.data.DataLoader) -> None:
        self._loader = loader

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        """Yield the batches of one epoch."""
        yield from self._loader

    def close(self) -> None:
        """Nothing: workers end with the process."""


def load_torchvision() -> None:
    """Make torchvision loadable, also beside a torch without CUDA.

    Wheels of the package index are built against CUDA; without it their C++ operators
    do not load and the import stops at declaring what they return. No transform uses
    them, so two names are made known first.
    """
    if torch.version.cuda is not None:
        return
    names = torch.library.Library("torchvision", "FRAGMENT")
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        names.define(name + signature)
    _libraries.append(names)


_libraries: list[torch.library.Library] = []  # an operator lives as long as these
