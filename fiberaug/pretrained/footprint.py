"""What a pretrained pipeline takes, found from its configs and the heads of its files.

No weight is read: a plan can be made for a model that would not fit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from fiberaug.models.extras import import_diffusers
from fiberaug.pretrained.inspecting import Inspected, read_json
from fiberaug.pretrained.levers import TILE, Levers
from fiberaug.pretrained.quiet import quiet
from fiberaug.pretrained.tracing import traced_bytes

__all__ = ["Footprint"]

_CPU_BASE = 540 * 10**6
_GPU_BASE = 600 * 10**6
"""Bytes of a process, or of a GPU, without a model: the interpreter with torch,
diffusers and transformers, as they were measured here; CUDA's context with its
libraries, not measured here."""

_TOKENS = 77


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """A model, the images that are asked of it, and where it runs."""

    inspected: tuple[Inspected, ...]
    """Its folder, and that of a ControlNet."""

    size: tuple[int, int]
    """Height and width of an image, px."""

    rows: int
    """Images that are made at a time."""

    cuda: bool
    dtype: torch.dtype
    """Of the weights, where no lever says otherwise."""

    edits: bool
    """Whether images are encoded, too."""

    _known: dict[Levers, dict[str, int]] = field(default_factory=dict, compare=False)

    def needs(self, levers: Levers) -> int:
        """Return the bytes at the worst moment, of the process or of its GPU."""
        return sum(self.parts(levers).values())

    def parts(self, levers: Levers) -> dict[str, int]:
        """Return the bytes at the worst moment: base, weights, work."""
        if levers not in self._known:
            self._known[levers] = self._parts(levers)
        return dict(self._known[levers])

    def _parts(self, levers: Levers) -> dict[str, int]:
        each = 2 if levers.bf16 else self.dtype.itemsize
        worst = {"weights": 0, "work": 0}
        for names, work in self._phases(levers):
            weights = self._resident(names, levers, each)
            if weights + work > sum(worst.values()):
                worst = {"weights": weights, "work": work}
        if not self.cuda:
            loading = self._loading(each)
            if loading > sum(worst.values()):
                worst = {"weights": loading, "work": 0}
        base = _GPU_BASE if self.cuda else _CPU_BASE
        return {"base": base, **worst}

    def _loading(self, each: int) -> int:
        """Return the bytes while weights are read: of a component both, if converted.

        Pages of a file that are read count for the process.
        """
        most = there = 0
        for name, numbers in self.parameters.items():
            stored = self._stored[name]
            most = max(most, there + stored + (each * numbers if each < 4 else 0))
            there += each * numbers
        return most

    @cached_property
    def parameters(self) -> Mapping[str, int]:
        """Weights of each component, by name."""
        found: dict[str, int] = {}
        for i, one in enumerate(self.inspected):
            for path in one.files:
                if path.suffix != ".safetensors":
                    continue
                name = "controlnet" if i else path.parent.name
                found[name] = found.get(name, 0) + sum(_numbers(path))
        return found

    @cached_property
    def _stored(self) -> Mapping[str, int]:
        """Bytes of each component's files."""
        found: dict[str, int] = {}
        for i, one in enumerate(self.inspected):
            for path in one.files:
                if path.suffix == ".safetensors":
                    name = "controlnet" if i else path.parent.name
                    found[name] = found.get(name, 0) + path.stat().st_size
        return found

    @cached_property
    def _largest(self) -> int:
        """Weights of the largest layer."""
        return max(
            max(_numbers(path), default=0)
            for one in self.inspected
            for path in one.files
            if path.suffix == ".safetensors"
        )

    def _resident(self, names: tuple[str, ...], levers: Levers, each: int) -> int:
        if levers.offload == "group":
            return 2 * each * self._largest  # the one at work, and the next
        counted = self.parameters if levers.offload is None else names
        total = 0
        for name in counted:
            kept = 1 if levers.fp8 and name == "unet" else each
            total += kept * self.parameters.get(name, 0)
        return total + (each * self._largest if levers.fp8 else 0)

    def _phases(self, levers: Levers) -> list[tuple[tuple[str, ...], int]]:
        """Return what is at work at each moment, and the bytes that it makes."""
        dtype = torch.bfloat16 if levers.bf16 else self.dtype
        rows = 1 if levers.vae_slicing else self.rows
        phases = [
            (("text_encoder",), 0),
            (("unet", "controlnet"), self._denoising(dtype)),
            (("vae",), self._vae("decode", rows, dtype, tiled=levers.vae_tiling)),
        ]
        if self.edits:
            work = self._vae("encode", rows, dtype, tiled=levers.vae_tiling)
            phases.append((("vae",), work))
        if "safety_checker" in self.parameters:
            phases.append((("safety_checker",), 0))
        return phases

    def _denoising(self, dtype: torch.dtype) -> int:
        unet = self._made(
            "UNet2DConditionModel", self.inspected[0].folder / "unet", dtype
        )
        batch = 2 * self.rows  # with and without the prompt
        height, width = (side // 8 for side in self.size)
        config = unet.config
        latents = _meta(batch, config.in_channels, height, width, dtype=dtype)
        context = _meta(batch, _TOKENS, config.cross_attention_dim, dtype=dtype)
        time = torch.empty((), dtype=torch.int64, device="meta")
        steered: Any = None
        if len(self.inspected) > 1:
            net = self._made("ControlNetModel", self.inspected[1].folder, dtype)
            picture = _meta(batch, 3, *self.size, dtype=dtype)
            steered = lambda: net(  # noqa: E731
                latents, time, encoder_hidden_states=context,
                controlnet_cond=picture, return_dict=False,
            )  # fmt: skip

        def run() -> None:
            more = {}
            if steered is not None:
                down, middle = steered()
                more = {
                    "down_block_additional_residuals": down,
                    "mid_block_additional_residual": middle,
                }
            unet(latents, time, encoder_hidden_states=context, **more)

        return traced_bytes(run, cpu=not self.cuda)

    def _vae(self, part: str, rows: int, dtype: torch.dtype, *, tiled: bool) -> int:
        vae = self._made("AutoencoderKL", self.inspected[0].folder / "vae", dtype)
        height, width = self.size
        tiled = tiled and max(self.size) > TILE
        sides = (min(height, TILE), min(width, TILE)) if tiled else (height, width)
        if part == "encode":
            given = _meta(rows, 3, *sides, dtype=dtype)
            work = traced_bytes(lambda: vae.encoder(given), cpu=not self.cuda)
        else:
            given = _meta(
                rows, vae.config.latent_channels, sides[0] // 8, sides[1] // 8,
                dtype=dtype,
            )  # fmt: skip
            work = traced_bytes(lambda: vae.decoder(given), cpu=not self.cuda)
        # images as they are told and given back, float32, and windows before blending
        kept = (3 if tiled else 2) * 4 * 3 * self.rows * height * width
        return work + kept

    def _made(self, kind: str, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401
        diffusers = import_diffusers()
        with quiet(), torch.device("meta"):
            made = (
                getattr(diffusers, kind)
                .from_config(read_json(folder / "config.json"))
                .to(dtype)
            )
        return made.eval()


def _meta(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _numbers(path: Path) -> list[int]:
    """Return how many numbers each tensor of a file has."""
    with safe_open(path, "pt") as file:
        return [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118  # it is no mapping
