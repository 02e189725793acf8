"""Arguments of a training that are checked before anything is opened."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fiberaug.errors import StoreError, UsageError

__all__ = ["check_arguments", "check_latent", "folder_of", "put_on"]

_WATCHER = ("begin", "step", "end", "state_dict", "load_state_dict")


def check_arguments(
    *,
    batch_size: object,
    num_workers: object,
    save_every: object,
    watchers: object,
    fewest: int = 2,
) -> None:
    """Refuse arguments of a trainer that are out of range.

    Args:
        batch_size: Images of a step.
        num_workers: Processes that read photos.
        save_every: Images between two states, or None.
        watchers: Each with the methods of a ``Watcher``.
        fewest: Images that a step can have.

    Raises:
        UsageError: One is.
    """
    numbers = [("batch_size", batch_size, fewest), ("num_workers", num_workers, 0)]
    if save_every is not None:
        numbers.append(("save_every", save_every, 1))
    for name, value, least in numbers:
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be an integer >= {least}, got {value!r:.80}")
    if not isinstance(watchers, Sequence) or isinstance(watchers, str):
        raise UsageError(f"watchers must be a list of them, got {watchers!r:.80}")
    for one in watchers:
        missing = [name for name in _WATCHER if not hasattr(one, name)]
        if missing:
            raise UsageError(
                f"each of watchers has {', '.join(_WATCHER)}, and"
                f" {type(one).__name__} has no {missing[0]}"
            )


def check_latent(latent: object) -> None:
    """Refuse what is no shape of a latent.

    Raises:
        UsageError: It is neither None nor a shape.
    """
    sides = latent if isinstance(latent, tuple | list) else (0,)
    if latent is not None and not all(type(one) is int and one > 0 for one in sides):
        raise UsageError(
            "latent must be the shape of one latent, such as (128,) or (128, 1, 1), got"
            f" {latent!r:.80}"
        )


def put_on(module: nn.Module, device: str | torch.device) -> None:
    """Put a network on a device.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        module.to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        # what a build of torch without a device raises is of any kind
        raise UsageError(
            f"device={str(device)!r:.80} cannot be used here"
            f" ({' '.join(str(error).split()):.160}); device='cpu' always can"
        ) from error


def folder_of(out: object) -> Path | None:
    """Return the folder of a training; None: none was said.

    Raises:
        UsageError: It is no path.
        StoreError: It is a file, or lies in one.
    """
    if out is None:
        return None
    if not isinstance(out, str | Path) or not str(out):
        raise UsageError(f"out must be the path of a folder, got {out!r:.80}")
    folder = Path(out)
    for one in (folder, *folder.parents):
        if one.exists() and not one.is_dir():
            raise StoreError(
                f"{folder} cannot be the folder of a training: {one} is a file; take"
                " another"
            )
    return folder
