"""The folder of adapters: what diffusers loads, and of which base they are."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fiberaug.files import write_atomically
from fiberaug.synthetic.adapter_folders import KIND
from fiberaug.synthetic.descriptions import FILE, VERSION, plain, refuse_second
from fiberaug.training.lora_adapters import WEIGHTS, Adapters

__all__ = ["save_lora"]

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
    with (folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said = {
        "v": VERSION, "kind": KIND, "class": "StableDiffusionPipeline",
        "base": dict(base), "prompts": list(prompts), "classes": list(classes),
        "size": list(size), "sha256": {WEIGHTS: digest}, "notes": dict(notes),
    }  # fmt: skip
    write_atomically(folder / FILE, plain(said))
    return folder
