"""The folder of adapters: what diffusers loads, and of which base they are."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fiberaug.files import write_atomically
from fiberaug.synthetic.adapter_folders import KIND
from fiberaug.synthetic.descriptions import FILE, VERSION, plain, refuse_second
from fiberaug.training.lora_adapters import WEIGHTS, Adapters

__all__ = ["save_lora", "write_description"]

_UNET = "unet."  # what diffusers calls the network in names of weights


def save_lora(
    folder: Path,
    adapters: Adapters,
    *,
    scale: float,
    base: Mapping[str, Any],
    prompts: Sequence[str],
    classes: Sequence[str],
    size: tuple[int, int],
    notes: Mapping[str, Any],
) -> Path:
    """Write adapters as ``load_lora_weights`` of diffusers opens them.

    Args:
        folder: It is there and empty.
        adapters: Of a UNet.
        scale: What an adapter adds is multiplied by it; it goes into the weights.
        base: ``name`` and ``sha256`` of what they belong to. The name is for people:
            nothing opens it.
        prompts: That were trained on.
        classes: Names by label.
        size: (height, width) of the images, px.
        notes: Whatever else should be known, fit for JSON.

    Raises:
        UsageError: The folder holds a generator already, or notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    refuse_second(folder)
    adapters.write(folder, prefix=_UNET, scale=scale)
    write_description(
        folder, WEIGHTS, base=base, prompts=prompts, classes=classes, size=size,
        notes=notes,
    )  # fmt: skip
    return folder


def write_description(
    folder: Path,
    weights: str,
    *,
    base: Mapping[str, Any],
    prompts: Sequence[str],
    classes: Sequence[str],
    size: tuple[int, int],
    notes: Mapping[str, Any],
    **more: Any,  # noqa: ANN401  # fit for JSON
) -> None:
    """Write ``generator.json`` of what is nothing without its base.

    Args:
        folder: With the weights.
        weights: Name of their file.
        base: See :func:`save_lora`, as of all that is not named here.
        prompts: That were trained on.
        classes: Names by label.
        size: (height, width) of the images, px.
        notes: Whatever else should be known, fit for JSON.
        more: Other entries.

    Raises:
        UsageError: Notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    with (folder / weights).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said = {
        "v": VERSION, "kind": KIND, "class": "StableDiffusionPipeline", **more,
        "base": dict(base), "prompts": list(prompts), "classes": list(classes),
        "size": list(size), "sha256": {weights: digest}, "notes": dict(notes),
    }  # fmt: skip
    write_atomically(folder / FILE, plain(said))
