"""The folder of a diffusion model: ours, without code, and one that diffusers loads."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from fiberaug.errors import DataRefused, StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.models.storing import load_weights, save_network, weights_sha256
from fiberaug.models.unet import UNet
from fiberaug.models.unet_config import UNetConfig
from fiberaug.synthetic.denoisers import check_shape
from fiberaug.synthetic.descriptions import (
    FILE,
    VERSION,
    checked_names,
    checked_sha256,
    plain,
    read_description,
    refuse_second,
)
from fiberaug.synthetic.samplers import make_sampler
from fiberaug.synthetic.sampling import Sampling

__all__ = [
    "OWN",
    "SHIPPED",
    "DiffusionFile",
    "fill_weights",
    "hash_weights",
    "read_diffusion_file",
    "save_diffusion",
]

SHIPPED, OWN = "diffusion", "diffusion-own"
"""Kinds: of :class:`fiberaug.models.UNet`, and of a network of the user's."""

_WEIGHTS = "diffusion_pytorch_model"  # as diffusers calls them
_UNET, _CONDITIONER, _OWN_WEIGHTS = "unet", "conditioner", "generator"


@dataclass(frozen=True, kw_only=True)
class DiffusionFile:
    """What ``generator.json`` says."""

    kind: str
    """``diffusion`` or ``diffusion-own``."""

    config: UNetConfig | None
    """Of ``diffusion``: what it is built from."""

    named: str
    """The module's class, for people."""

    shape: tuple[int, int, int]
    """(channels, height, width) of the images."""

    sampling: Sampling
    """How images are made where nothing else is asked for."""

    classes: tuple[str, ...] = ()
    """Class names by label."""

    notes: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else should be known, fit for JSON."""

    sha256: Mapping[str, str] = field(default_factory=dict)
    """Of each file of weights, by its name without ending."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        config = None if self.config is None else self.config.to_dict()
        return {
            "v": VERSION, "kind": self.kind, "class": self.named, "config": config,
            "shape": list(self.shape), "classes": list(self.classes),
            "notes": dict(self.notes), "sampling": self.sampling.to_dict(),
            "sha256": dict(self.sha256),
        }  # fmt: skip


def save_diffusion(folder: Path, module: nn.Module, file: DiffusionFile) -> Path:
    """Write weights and what diffusers reads, then ``generator.json``.

    Returns:
        The folder.

    Raises:
        UsageError: The folder holds a generator already, or notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    refuse_second(folder)
    plain(file.to_dict())
    hashes = {}
    try:
        for path, part in _parts(module).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            hashes[path] = save_network((folder / path).parent, Path(path).name, part)
        if isinstance(module, UNet):
            _for_diffusers(folder, module, file.sampling)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    write_atomically(folder / FILE, plain(replace(file, sha256=hashes).to_dict()))
    return folder


def _for_diffusers(folder: Path, unet: UNet, sampling: Sampling) -> None:
    """Write the configurations that diffusers reads, and we do not."""
    unet.inner.save_config(folder / _UNET)
    sampler = make_sampler(sampling.sampler, sampling.steps)
    sampler.save_config(folder / "scheduler")
    if unet.config.context_dim or unet.config.places:
        return  # no pipeline of diffusers tells a network these
    from fiberaug.synthetic.pipelines import ClassConditionalPipeline  # noqa: PLC0415

    ClassConditionalPipeline(unet.inner, sampler).save_config(folder)


def fill_weights(module: nn.Module, folder: Path, file: DiffusionFile) -> None:
    """Fill a module with the weights of a folder.

    Raises:
        DataRefused: A file is missing, broken, or not the one on record.
        StateMismatch: One is of another architecture.
        StoreError: One cannot be read.
    """
    parts = _parts(module)
    if set(parts) != set(file.sha256):
        raise DataRefused(
            f"{folder} must have the weights {', '.join(parts)}; {FILE} names"
            f" {', '.join(file.sha256):.200}"
        )
    for path, part in parts.items():
        load_weights(folder / f"{path}.safetensors", part, sha256=file.sha256[path])


def hash_weights(module: nn.Module) -> str:
    """Return one sha256 of all weights; of one file, that of the file."""
    hashes = [weights_sha256(part) for part in _parts(module).values()]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """Return what is saved in a file of its own, by the file's name without ending."""
    if not isinstance(module, UNet):
        return {_OWN_WEIGHTS: module}
    parts: dict[str, nn.Module] = {f"{_UNET}/{_WEIGHTS}": module.inner}
    if module.conditioner is not None:
        parts[_CONDITIONER] = module.conditioner
    return parts


def read_diffusion_file(folder: Path) -> DiffusionFile:
    """Return what ``generator.json`` of a folder says, checked.

    Raises:
        DataRefused: It is missing, broken, of another kind, or has values out of range.
        LimitExceeded: It is larger than 1 MiB.
        StoreError: It cannot be read.
    """
    return read_description(folder, _checked)


def _checked(said: Any) -> DiffusionFile:  # noqa: ANN401  # whatever a stranger wrote
    """Return the description that is said.

    Raises:
        UsageError: It is not sound.
        KeyError: Something is missing.
    """
    config = UNetConfig.from_dict(said["config"]) if said["kind"] == SHIPPED else None
    classes = checked_names(
        said, (SHIPPED, OWN), None if config is None else config.classes
    )
    return DiffusionFile(
        kind=said["kind"], config=config, named=str(said.get("class", ""))[:200],
        shape=check_shape(said["shape"]) if config is None else config.shape,
        sampling=Sampling.from_dict(said["sampling"]), classes=classes,
        notes=said.get("notes", {}), sha256=_hashes(said["sha256"]),
    )  # fmt: skip


def _hashes(told: Any) -> dict[str, str]:  # noqa: ANN401  # whatever is there
    if not isinstance(told, dict):
        raise UsageError("sha256 must give each file of weights 64 hexadecimal digits")
    return {name: checked_sha256(one) for name, one in told.items()}
