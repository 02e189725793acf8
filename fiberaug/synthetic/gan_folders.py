"""The folder of a GAN's generator: ``generator.json`` and weights, without code."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.errors import DataRefused, LimitExceeded, StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.models.config import GeneratorConfig
from fiberaug.models.storing import load_weights, save_network
from fiberaug.synthetic.gan_places import Frames

__all__ = ["OWN", "SHIPPED", "GANFile", "read_gan_file", "save_gan", "weights_into"]

SHIPPED, OWN = "gan", "gan-own"
"""Kinds: of :class:`fiberaug.models.Generator`, and of a network of the user's."""

_FILE, _NAME, _VERSION = "generator.json", "generator", 1
_MOST_BYTES = 2**20
_MOST_LATENT = 2**20
_HASH = re.compile("[0-9a-f]{64}")


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
            "v": _VERSION, "kind": self.kind, "class": self.named, "config": config,
            "latent": list(self.latent), "classes": list(self.classes),
            "notes": dict(self.notes), "sha256": self.sha256,
        }  # fmt: skip


def save_gan(folder: Path, module: nn.Module, file: GANFile) -> Path:
    """Write weights, then ``generator.json``, and return the folder.

    Raises:
        UsageError: The folder holds a generator already, or notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    if (folder / _FILE).exists():
        raise UsageError(f"{folder} holds a generator already; choose another folder")
    _plain(file.to_dict())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}") from error
    digest = save_network(folder, _NAME, module)
    write_atomically(folder / _FILE, _plain(replace(file, sha256=digest).to_dict()))
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
    path = folder / _FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise DataRefused(f"{folder} holds no generator: no {_FILE}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise LimitExceeded(f"{path} is larger than {_MOST_BYTES} bytes")
    try:
        return _checked(json.loads(content))
    except (UsageError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataRefused(f"{path} is no sound description: {error!s:.300}") from error


def _plain(told: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(told, indent=1, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"notes must be fit for JSON: {error}") from error
    if len(text) > _MOST_BYTES:
        raise UsageError(
            f"notes and classes are {len(text)} characters long, at most {_MOST_BYTES}"
            " are read"
        )
    return text.encode() + b"\n"


def _checked(said: Any) -> GANFile:  # noqa: ANN401  # whatever a stranger wrote
    """Return the description that is said.

    Raises:
        UsageError: It is not sound.
        KeyError: Something is missing.
    """
    if said["v"] != _VERSION or said["kind"] not in {SHIPPED, OWN}:
        raise UsageError(
            f"version {said['v']!r:.20} and kind {said['kind']!r:.20}; this release"
            f" reads version {_VERSION} of {SHIPPED} and {OWN}"
        )
    classes, notes = said.get("classes", []), said.get("notes", {})
    if (
        not isinstance(classes, list)
        or not all(isinstance(name, str) and name for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise UsageError("classes must be different texts")
    if not isinstance(notes, dict):
        raise UsageError("notes must be an object")
    Frames.of(notes)
    digest = said["sha256"]
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        raise UsageError("sha256 must be 64 hexadecimal digits")
    config = (
        GeneratorConfig.from_dict(said["config"]) if said["kind"] == SHIPPED else None
    )
    latent = (config.z_dim,) if config is not None else _latent(said["latent"])
    if config is not None and classes and len(classes) != config.classes:
        raise UsageError(f"{len(classes)} names for {config.classes} classes")
    return GANFile(
        kind=said["kind"], config=config, named=str(said.get("class", ""))[:200],
        latent=latent, classes=tuple(classes), notes=notes, sha256=digest,
    )  # fmt: skip


def _latent(told: Any) -> tuple[int, ...]:  # noqa: ANN401  # whatever is there
    sides = tuple(told)
    if not 1 <= len(sides) <= 4 or not all(
        type(side) is int and 1 <= side <= _MOST_LATENT for side in sides
    ):
        raise UsageError("latent must be 1 to 4 sides")
    return sides
