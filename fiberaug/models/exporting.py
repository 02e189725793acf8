"""A network as a program that runs without this package."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from fiberaug.errors import UsageError

__all__ = ["export_network"]

_WANTED = ("onnx", "onnxscript")
_ROWS = 2  # of the example: one would be taken for a constant


def export_network(
    module: nn.Module, path: str | Path, latent: tuple[int, ...]
) -> Path:
    """Write a module (latents, labels) -> images as a program; return its file.

    Args:
        module: It takes float32 [B, *latent] and int64 [B], of any B.
        path: Its ending says the format: ``.pt2``, what ``torch.export.load`` opens, or
            ``.onnx``, which needs the packages onnx and onnxscript. Open such files of
            your own alone: they can run code.
        latent: Shape of one latent.

    Raises:
        UsageError: The ending is another one, the folder is not there, or a package is
            missing.
    """
    file = Path(path)
    if file.suffix not in {".pt2", ".onnx"}:
        raise UsageError(
            f"a program is written to a .pt2 (torch.export) or .onnx file, got {file}"
        )
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent} is no folder: make it first")
    device = next(module.parameters()).device
    example = (
        torch.zeros(_ROWS, *latent, device=device),
        torch.zeros(_ROWS, dtype=torch.int64, device=device),
    )
    rows = torch.export.Dim("rows", min=1)
    shapes = ({0: rows}, {0: rows})
    beside = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        if file.suffix == ".pt2":
            program = torch.export.export(module, example, dynamic_shapes=shapes)
            torch.export.save(program, beside)
        else:
            _check_onnx()
            torch.onnx.export(
                module, example, beside, dynamo=True, dynamic_shapes=shapes,
                input_names=["latents", "labels"], output_names=["images"],
                external_data=False, verbose=False,
            )  # fmt: skip
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    return file


def _check_onnx() -> None:
    missing = [one for one in _WANTED if importlib.util.find_spec(one) is None]
    if missing:
        raise UsageError(
            f"writing .onnx needs {' and '.join(missing)}: pip install"
            f" {' '.join(missing)}; or write a .pt2 file"
        )
