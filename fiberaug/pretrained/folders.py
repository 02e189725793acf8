"""Pretrained models loaded: safetensors only, and no code but that of the libraries."""

from pathlib import Path
from typing import Any

import torch

from fiberaug.errors import DataRefused
from fiberaug.models.extras import import_diffusers
from fiberaug.pretrained.inspecting import (
    Inspected,
    inspect_model,
    inspect_pipeline,
)
from fiberaug.pretrained.places import find_folder
from fiberaug.pretrained.quiet import quiet

__all__ = ["inspect_controlnet", "load_controlnet", "load_inspected", "load_pipeline"]


def load_pipeline(
    base: str | Path,
    *,
    revision: str | None = None,
    download: bool = False,
    dtype: torch.dtype | None = None,
) -> Any:  # noqa: ANN401  # of diffusers, without types
    """Return a ``StableDiffusionPipeline`` for text-to-image, on the CPU.

    The folder is looked at before diffusers reads it: see
    :mod:`fiberaug.pretrained.inspecting`. Its safety checker is not loaded.

    Args:
        base: A folder with ``model_index.json``, or an id of the Hub.
        revision: Of an id: its commit, 40 hex digits.
        download: Fetch it. False: no socket is opened.
        dtype: Of its weights. None: float32.

    Raises:
        UsageError: There is no such folder, the revision is no commit, or diffusers is
            not installed or too old.
        DataRefused: It is broken, or brings what could run: SecurityRefused.
        StoreError: It cannot be read or fetched.
    """
    folder = find_folder(base, revision=revision, download=download)
    return load_inspected(inspect_pipeline(folder), dtype=dtype)


def load_inspected(
    inspected: Inspected, *, dtype: torch.dtype | None = None, safety: bool = False
) -> Any:  # noqa: ANN401
    """Return the pipeline of a folder that was looked at.

    Raises:
        UsageError: diffusers is not installed or too old.
        DataRefused: It is broken.
    """
    diffusers = import_diffusers()
    without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    with quiet():  # transformers gives advice as soon as the class is looked up
        kind = diffusers.StableDiffusionPipeline
        return _read(
            kind, inspected.folder, dtype, requires_safety_checker=safety,
            **({} if safety else without),
        )  # fmt: skip


def load_controlnet(inspected: Inspected, *, dtype: torch.dtype | None = None) -> Any:  # noqa: ANN401
    """Return the ``ControlNetModel`` of a folder that was looked at.

    Raises:
        UsageError: diffusers is not installed or too old.
        DataRefused: It is broken.
    """
    diffusers = import_diffusers()
    with quiet():
        kind = diffusers.ControlNetModel
        return _read(kind, inspected.folder, dtype).eval()


def inspect_controlnet(
    base: str | Path, *, revision: str | None = None, download: bool = False
) -> Inspected:
    """Return the folder of a ControlNet, looked at.

    Raises:
        UsageError: See :func:`load_pipeline`.
        DataRefused: See :func:`load_pipeline`.
        StoreError: See :func:`load_pipeline`.
    """
    folder = find_folder(base, revision=revision, download=download)
    return inspect_model(folder, "ControlNetModel")


def _read(kind: Any, folder: Path, dtype: torch.dtype | None, **more: Any) -> Any:  # noqa: ANN401
    try:
        return kind.from_pretrained(
            str(folder), use_safetensors=True, trust_remote_code=False,
            local_files_only=True, dtype=dtype or torch.float32, **more,
        )  # fmt: skip
    except MemoryError:
        raise
    except Exception as error:  # of diffusers, transformers, safetensors: any
        reason = str(error).strip().partition("\n")[0]
        raise DataRefused(
            f"{folder} cannot be read as a {kind.__name__}:"
            f" {type(error).__name__}: {reason:.300}"
        ) from error
