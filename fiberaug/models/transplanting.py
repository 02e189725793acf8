"""Weights of another checkpoint, as far as they fit, to start a training from."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from fiberaug.errors import DataRefused, StateMismatch, StoreError
from fiberaug.models.unet import UNet

__all__ = ["start_from"]

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_CONDITIONER = "conditioner.safetensors"


def start_from(unet: UNet, path: str | Path) -> list[str]:
    """Copy the weights of a checkpoint that fit by name and shape; return the others.

    Args:
        unet: Its weights are replaced, where they fit.
        path: A folder of ours, or of a ``UNet2DModel`` or a pipeline with one, or its
            file of weights. Only safetensors are read.

    Returns:
        Names of the weights that were left as they were, such as those of classes.

    Raises:
        DataRefused: There is no such file, it is broken, or has values that are not
            finite.
        StateMismatch: Less than half of the numbers fit: it is another architecture.
        StoreError: It cannot be read.
    """
    file, beside = _files(Path(path))
    mine = unet.inner.state_dict()
    found = {f"inner.{name}": one for name, one in _fitting(file, mine).items()}
    if unet.conditioner is not None and beside is not None and beside.is_file():
        told = _fitting(beside, unet.conditioner.state_dict())
        found |= {f"conditioner.{name}": one for name, one in told.items()}
    here = unet.state_dict()
    fits = sum(one.numel() for one in found.values())
    total = sum(one.numel() for one in here.values())
    if 2 * fits < total:
        raise StateMismatch(
            f"{file} fits {fits:,} of {total:,} numbers, {len(found)} of {len(here)}"
            " weights, and at least half must: choose size, width and places as there"
        )
    unet.load_state_dict(found, strict=False)
    return [name for name in here if name not in found]


def _files(path: Path) -> tuple[Path, Path | None]:
    """Return the file of weights, and where a conditioner's would be.

    Raises:
        DataRefused: There is none.
    """
    if path.suffix == ".safetensors" and path.is_file():
        return path, None
    for file in (path / "unet" / _WEIGHTS, path / _WEIGHTS):
        if file.is_file():
            return file, path / _CONDITIONER
    raise DataRefused(
        f"{path} holds no weights to start from: no unet/{_WEIGHTS}, no {_WEIGHTS};"
        " other formats than safetensors are not read"
    )


def _fitting(file: Path, mine: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file that have name and shape of ours; others stay there.

    Raises:
        DataRefused: The file is broken, or has values that are not finite.
        StoreError: It cannot be read.
    """
    found: dict[str, torch.Tensor] = {}
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            for name in opened.keys():  # noqa: SIM118  # no mapping
                shape = tuple(opened.get_slice(name).get_shape())
                if name in mine and shape == tuple(mine[name].shape):
                    found[name] = opened.get_tensor(name).to(
                        mine[name].dtype, copy=True
                    )
    except SafetensorError as error:
        raise DataRefused(f"{file} is no sound safetensors file: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataRefused(f"{file} has values in {name[:80]} that are not finite")
    return found
