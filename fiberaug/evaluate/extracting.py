"""Features: what the user's own classifier sees in images."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from fiberaug.bars import ProgressBar
from fiberaug.errors import UsageError
from fiberaug.evaluate.feeding import Batch, batches, device_of, limited_threads
from fiberaug.evaluate.tables import Features

__all__ = ["extractor_of", "features"]


def features(
    model: nn.Module,
    data: Any,  # noqa: ANN401  # arrays or any loader
    *,
    layer: str | None = None,
    batch_size: int = 256,
    threads: int | None = None,
    progress: bool | None = None,
) -> Features:
    """Return the features of all images, in the order of the data.

    The model runs where it is, in evaluation mode and without gradients, and is left
    as it was. Order and augmentation are the data's: give an unshuffled loader.

    Args:
        model: The classifier, trained on real images.
        data: Images, a pair (images, labels), a :class:`fiberaug.StreamingDataset` or a
            loader (see :func:`fiberaug.evaluate.feeding.batches`). uint8 is scaled to
            [0, 1], anything else the model must do itself.
        layer: Name of a module as ``named_modules`` gives it, whose output is taken;
            None: the input of the last ``Linear`` that runs, the penultimate layer.
            Maps [B, C, H, W] are averaged over space.
        batch_size: Images of a batch, where data has no batches of its own.
        threads: Of torch meanwhile; None: as it is.
        progress: Show a bar; None: where a terminal is.

    Raises:
        UsageError: The model has no such layer, it gives no [B, D], a feature is not
            finite, or there is no image.
    """
    found: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    labels: list[torch.Tensor] = []
    device = device_of(model)
    hidden = None if progress is None else not progress
    with (
        limited_threads(threads or torch.get_num_threads()),
        _tapped(model, layer) as tap,
        ProgressBar(unit="img", desc="features", disable=hidden) as bar,
    ):
        for batch in batches(data, batch_size=batch_size):
            tap.clear()
            model(batch.images.to(device))
            found.append(_rows(tap, batch, layer))
            if batch.labels is not None and batch.labels.ndim == 1:
                labels.append(batch.labels)
            bar.update(len(batch.images))
    values = np.concatenate(found) if found else np.empty((0, 0), np.float32)
    if not len(values):
        raise UsageError("features need at least one image, the data has none")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise UsageError(
            f"the features of image {row} are not finite: the image or the model is"
            " broken"
        )
    known = torch.cat(labels).cpu().numpy() if labels else None
    return Features(
        values=values, extractor=extractor_of(model, layer),
        labels=known if known is not None and len(known) == len(values) else None,
    )  # fmt: skip


def extractor_of(model: nn.Module, layer: str | None = None) -> str:
    """Return the sha256 of names, types and weights of a model, and of the layer.

    It is the same on every device, and for a copy loaded from a file.
    """
    digest = sha256(repr(layer).encode())
    for name, module in model.named_modules():
        digest.update(f"\0{name}\0{type(module).__qualname__}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"\0{name}\0{plain.dtype}\0{list(plain.shape)}\0".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _tapped(model: nn.Module, layer: str | None) -> Iterator[list[Any]]:
    """Give a list whose last item is what the layer gave, in evaluation mode."""
    tap: list[Any] = []
    modules = dict(model.named_modules())
    if layer is not None and layer not in modules:
        some = [name for name in modules if name][-20:]
        raise UsageError(f"the model has no layer {layer!r}; it has {some}")
    linear = [m for m in modules.values() if isinstance(m, nn.Linear)]
    if layer is None and not linear:
        raise UsageError("the model has no Linear layer; name one with layer=")
    modes = {module: module.training for module in model.modules()}
    if layer is None:
        handles = [
            m.register_forward_pre_hook(lambda _, inputs: tap.append(inputs[0]))
            for m in linear
        ]
    else:
        handles = [
            modules[layer].register_forward_hook(lambda _, __, out: tap.append(out))
        ]
    model.eval()
    try:
        with torch.no_grad():
            yield tap
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def _rows(
    tap: list[Any], batch: Batch, layer: str | None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    where = "the last Linear" if layer is None else f"layer {layer!r}"
    if not tap:
        raise UsageError(f"{where} did not run; name another with layer=")
    value = tap[-1]
    if isinstance(value, torch.Tensor) and value.ndim == 4:
        value = value.float().mean((2, 3))
    shape = list(value.shape) if isinstance(value, torch.Tensor) else type(value)
    if not isinstance(value, torch.Tensor) or value.ndim != 2:
        raise UsageError(
            f"{where} gives {shape}, features are [B, D] or [B, C, H, W]; name another"
            " with layer="
        )
    if len(value) != len(batch.images):
        raise UsageError(
            f"{where} gives {shape} for {len(batch.images)} images; name another with"
            " layer="
        )
    return value.float().cpu().numpy()
