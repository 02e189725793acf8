"""The folder of a GAN's generator: ``generator.json`` and weights, without code."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.errors import StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.models.config import GeneratorConfig
from fiberaug.models.storing import load_weights, save_network
from fiberaug.synthetic.descriptions import (
    FILE,
    VERSION,
    checked_names,
    checked_sha256,
    plain,
    read_description,
    refuse_second,
)

__all__ = ["OWN", "SHIPPED", "GANFile", "read_gan_file", "save_gan", "weights_into"]

SHIPPED, OWN = "gan", "gan-own"
"""Kinds: of :class:`fiberaug.models.Generator`, and of a network of the user's."""

_NAME = "generator"
_MOST_LATENT = 2**20


@dataclass(frozen=True, kw_only=True)
class GANFile:
    """What ``generator.json`` says."""

    kind: str
    """``gan`` or ``gan-own``."""

    config: GeneratorConfig | None
    """Of ``gan``: what it is built from."""

    named: str
    """The module's class, for people."""

    latent: tuple[int, ...]
    """Shape of one latent."""

    classes: tuple[str, ...] = ()
    """Class names by label."""

    notes: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else should be known, fit for JSON."""

    sha256: str = ""
    """Of the file of weights."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        config = None if self.config is None else self.config.to_dict()
        return {
            "v": VERSION, "kind": self.kind, "class": self.named, "config": config,
            "latent": list(self.latent), "classes": list(self.classes),
            "notes": dict(self.notes), "sha256": self.sha256,
        }  # fmt: skip


def save_gan(folder: Path, module: nn.Module, file: GANFile) -> Path:
    """Write weights, then ``generator.json``, and return the folder.

    Raises:
        UsageError: The folder holds a generator already, or notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    refuse_second(folder)
    plain(file.to_dict())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}") from error
    digest = save_network(folder, _NAME, module)
    write_atomically(folder / FILE, plain(replace(file, sha256=digest).to_dict()))
    return folder


def weights_into(module: nn.Module, folder: Path, file: GANFile) -> None:
    """Fill a module with the weights of a folder.

    Raises:
        DataRefused: The file is missing, broken, or not the one on record.
        StateMismatch: It is of another architecture.
        StoreError: It cannot be read.
    """
    load_weights(folder / f"{_NAME}.safetensors", module, sha256=file.sha256)


def read_gan_file(folder: Path) -> GANFile:
    """Return what ``generator.json`` of a folder says, checked.

    Raises:
        DataRefused: It is missing, broken, of another kind, or has values out of range.
        LimitExceeded: It is larger than 1 MiB.
        StoreError: It cannot be read.
    """
    return read_description(folder, _checked)


def _checked(said: Any) -> GANFile:  # noqa: ANN401  # whatever a stranger wrote
    """Return the description that is said.

    Raises:
        UsageError: It is not sound.
        KeyError: Something is missing.
    """
    config = (
        GeneratorConfig.from_dict(said["config"]) if said["kind"] == SHIPPED else None
    )
    classes = checked_names(
        said, (SHIPPED, OWN), None if config is None else config.classes
    )
    latent = (config.z_dim,) if config is not None else _latent(said["latent"])
    return GANFile(
        kind=said["kind"], config=config, named=str(said.get("class", ""))[:200],
        latent=latent, classes=classes, notes=said.get("notes", {}),
        sha256=checked_sha256(said["sha256"]),
    )  # fmt: skip


def _latent(told: Any) -> tuple[int, ...]:  # noqa: ANN401  # whatever is there
    sides = tuple(told)
    if not 1 <= len(sides) <= 4 or not all(
        type(side) is int and 1 <= side <= _MOST_LATENT for side in sides
    ):
        raise UsageError("latent must be 1 to 4 sides")
    return sides
