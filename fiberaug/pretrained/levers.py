"""What makes a pretrained pipeline take less memory, cheapest in quality first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from fiberaug.pretrained.quiet import quiet

__all__ = ["TILE", "Levers", "ladder", "pull"]

TILE = 256
"""Sides of the windows that the VAE works on where it is tiled, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Levers:
    """Those that are taken."""

    vae_slicing: bool = False
    """Of several images the VAE makes one at a time: the same images."""

    offload: str | None = None
    """Weights wait in the memory of the CPU: ``model``, all but the component at work;
    ``group``, all but the layer at work. The same images, slower; on a GPU alone."""

    bf16: bool = False
    """bfloat16 in place of float32: nearly the same images."""

    vae_tiling: bool = False
    """The VAE works on windows of 256 px, blended: tones can differ between them."""

    fp8: bool = False
    """Weights of the UNet are kept as float8 and computed with as before: each is
    rounded to 3 bits."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are taken, as text."""
        told = {
            "VAE one image at a time": self.vae_slicing,
            f"offload by {self.offload}": self.offload is not None,
            "bfloat16": self.bf16,
            f"VAE in windows of {TILE} px": self.vae_tiling,
            "UNet kept as float8": self.fp8,
        }
        return tuple(name for name, taken in told.items() if taken)

    @property
    def changing(self) -> tuple[str, ...]:
        """Fields of those that change images, dtype left out."""
        return tuple(name for name in ("vae_tiling", "fp8") if getattr(self, name))


def ladder(
    *, cuda: bool, rows: int, may_bf16: bool, may_fp8: bool, start: Levers | None = None
) -> Iterator[Levers]:
    """Yield levers, each with one more than the one before, the first with none.

    Args:
        cuda: Whether it runs on a GPU.
        rows: Images that are made at a time.
        may_bf16: Whether nobody asked for another type of weights.
        may_fp8: Whether weights may be float8: with adapters they may not.
        start: Those that are taken already.
    """
    steps: list[dict[str, Any]] = []
    if rows > 1:
        steps.append({"vae_slicing": True})
    if cuda:
        steps.append({"offload": "model"})
    elif may_bf16:
        steps.append({"bf16": True})
    steps.append({"vae_tiling": True})
    if cuda:
        steps.append({"offload": "group"})
        if may_fp8:  # on a CPU they are there as float32 while they are converted
            steps.append({"fp8": True})
    found = start or Levers()
    yield found
    done = found.offload == "group"
    for step in steps:
        if step == {"offload": "model"} and done:
            continue
        more = replace(found, **step)
        if more != found:
            found = more
            yield found


def pull(pipeline: Any, levers: Levers, device: torch.device) -> None:  # noqa: ANN401
    """Apply levers to a pipeline and put it where it computes.

    Args:
        pipeline: Of diffusers.
        levers: Those to take; none that is taken already is let go.
        device: Where it computes.
    """
    vae = pipeline.vae
    if levers.vae_slicing:
        vae.enable_slicing()
    if levers.vae_tiling:
        vae.enable_tiling()
        vae.tile_sample_min_size = TILE
        vae.tile_latent_min_size = TILE // 2 ** (len(vae.config.block_out_channels) - 1)
    with quiet():
        if levers.bf16 and vae.dtype != torch.bfloat16:
            pipeline.to(dtype=torch.bfloat16)
        if levers.fp8:
            pipeline.unet.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=pipeline.unet.dtype
            )
        _place(pipeline, levers, device)


def _place(pipeline: Any, levers: Levers, device: torch.device) -> None:  # noqa: ANN401
    if levers.offload is None or device.type != "cuda":
        pipeline.to(device)
        return
    pipeline.remove_all_hooks()
    pipeline.to("cpu")
    if levers.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            onload_device=device, offload_device=torch.device("cpu"),
            offload_type="leaf_level", use_stream=True,
        )  # fmt: skip
