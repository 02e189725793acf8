"""A folder of adapters, which is no generator without the model that they change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from fiberaug.errors import UsageError

__all__ = ["KIND", "refuse_without_base"]

KIND = "lora"
"""Of ``generator.json``."""


def refuse_without_base(folder: Path, said: Mapping[str, Any]) -> NoReturn:
    """Say how adapters are opened: a folder alone never makes us open another one.

    Raises:
        UsageError: Always.
    """
    base = said.get("base")
    told = base if isinstance(base, Mapping) else {}
    name, sha256 = str(told.get("name", "?")), str(told.get("sha256", "?"))
    what, how, option = "adapters (LoRA)", "lora", "lora"
    if "token" in said:
        what, how, option = "a learned word", "embeddings", "embedding"
    raise UsageError(
        f"{folder} holds {what} and not the model that it was trained with"
        f" ({name:.80}, sha256 {sha256:.12}...): open both,"
        f" fiberaug.pretrained.PretrainedPipeline.open(BASE, {how}={str(folder)!r}), or"
        f" `fiberaug generate BASE --{option} {folder}`"
    )
