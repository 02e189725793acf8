"""The model that gets adapters, opened from whatever a user names."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.loading import FILE, load
from fiberaug.training.lora_adapters import inject
from fiberaug.training.lora_models import LoRAModel
from fiberaug.training.lora_options import LoRAOptions
from fiberaug.training.lora_own import OwnModel
from fiberaug.training.lora_prompted import TextModel
from fiberaug.training.lora_text import TextBase
from fiberaug.training.networks import check_network, unwrapped
from fiberaug.training.unets import unet_made_for

__all__ = ["Wanted"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """Which model, and what it is to learn."""

    base: str | Path | nn.Module | DiffusionGenerator
    """A folder, an id of the Hub, or a diffusion model."""

    options: LoRAOptions
    size: tuple[int, int] | None
    """(height, width), px; None: what the model is made for."""

    prompt: str | None
    captioned: bool
    prior_prompt: str | None
    revision: str | None
    download: bool
    device: str | torch.device | None
    dtype: torch.dtype | None
    steps: int
    """Of pictures."""

    def open(self, known: str) -> tuple[LoRAModel, str]:
        """Return the model with adapters in it, and its hash.

        Args:
            known: Its hash, where it was opened before; empty: it was not.

        Raises:
            UsageError: It is neither kind of model, or a target is no module of it.
            DataRefused: Its folder is broken, or brings what could run.
            StoreError: It cannot be read or fetched.
        """
        found: Any = self.base
        if isinstance(found, str | Path) and (Path(found) / FILE).is_file():
            found = load(found)
            if not isinstance(found, DiffusionGenerator):
                raise UsageError(
                    f"{self.base} holds a {type(found).__name__}, and adapters are of a"
                    " text-to-image model (a folder with model_index.json) or of a"
                    " diffusion model"
                )
        if isinstance(found, DiffusionGenerator | nn.Module):
            return self._own(found, known)
        if not isinstance(found, str | Path):
            raise UsageError(
                "base must be a folder, an id of the Hub, a fiberaug.models.UNet or a"
                f" diffusion model, got {type(found).__name__}"
            )
        text = TextBase.open(
            found, revision=self.revision, download=self.download, device=self.device,
            dtype=self.dtype,
        )  # fmt: skip
        self._inject(text.unet)
        model = TextModel(
            text, size=self.size or text.size, options=self.options, prompt=self.prompt,
            captioned=self.captioned, prior_prompt=self.prior_prompt, steps=self.steps,
        )  # fmt: skip
        return model, text.sha256

    def _own(
        self, base: DiffusionGenerator | nn.Module, known: str
    ) -> tuple[OwnModel, str]:
        given = {
            "prompt": self.prompt, "prior": self.prior_prompt,
            "revision": self.revision, "dtype": self.dtype,
        }  # fmt: skip
        for name, value in given.items():
            if value is not None:
                raise UsageError(
                    f"{name} is for text-to-image models, and the base is a diffusion"
                    " model without text: leave it out"
                )
        classes: tuple[str, ...] = ()
        network: Any = base
        if isinstance(base, DiffusionGenerator):
            network, classes = base.unet, base.classes
        network = unwrapped(network).eval()
        made_for = unet_made_for(network, size=self.size, channels=None)
        sha256 = known or _hash_of(check_network(network, "base"))
        network = _apart(network)
        if self.device is not None:
            network.to(self.device)
        self._inject(network)
        return OwnModel(network, made_for, classes, self.options), sha256

    def _inject(self, network: nn.Module) -> None:
        options = self.options
        inject(
            network, rank=options.rank, scale=options.scale, targets=options.targets,
            seed=options.seed,
        )  # fmt: skip


def _apart(network: nn.Module) -> nn.Module:
    """Return a network of the same weights that can get adapters by itself."""
    memo: dict[int, Any] = {
        id(one): nn.Parameter(one.detach(), requires_grad=False)
        for one in network.parameters()
    }
    return copy.deepcopy(network, memo)


def _hash_of(named: Sequence[tuple[str, nn.Parameter]]) -> str:
    """Return a hash of weights with their names."""
    digest = hashlib.sha256()
    for name, one in named:
        digest.update(name.encode() + b"\0")
        digest.update(one.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
