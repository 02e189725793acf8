"""A text-to-image model as adapters need it: a frozen UNet, and helpers that go.

VAE and text encoder are used once, before training; then both are freed. The VAE is
kept on the disk, and comes back for a moment when a picture is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from fiberaug.allocator import give_back_freed_memory
from fiberaug.errors import UsageError
from fiberaug.models.extras import import_diffusers
from fiberaug.models.latents import to_levels
from fiberaug.models.storing import load_weights
from fiberaug.pretrained.folders import load_inspected
from fiberaug.pretrained.inspecting import inspect_pipeline
from fiberaug.pretrained.places import find_folder
from fiberaug.pretrained.prompts import check_prompt
from fiberaug.pretrained.quiet import quiet
from fiberaug.synthetic.noises import generators_of
from fiberaug.training.lora_noising import Schedule

__all__ = ["TextBase"]

_MULTIPLE = 8  # px that sides are a multiple of, at least
_PREDICTS = ("epsilon", "v_prediction")


@dataclass(eq=False)
class TextBase:
    """A text-to-image model of the class of Stable Diffusion."""

    unet: nn.Module
    """Frozen."""

    vae: Any
    """None: it was freed."""

    text_encoder: Any
    """None: it was freed."""

    tokenizer: Any
    scheduler: Any
    """As the folder has it."""

    name: str
    """As the user named it."""

    sha256: str
    """Of the files that were read."""

    vae_config: dict[str, Any]

    @classmethod
    def open(
        cls,
        base: str | Path,
        *,
        revision: str | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> "TextBase":
        """Return the model of a folder, or of the Hub.

        Args:
            base: See :func:`fiberaug.pretrained.folders.load_pipeline`.
            revision: See there.
            download: See there.
            device: Where it is put.
            dtype: Of the UNet; None: bfloat16 or float16 on a GPU, else float32.

        Raises:
            UsageError: It is no text-to-image model of this class.
            DataRefused: See :func:`fiberaug.pretrained.folders.load_pipeline`.
            StoreError: See there.
        """
        folder = find_folder(base, revision=revision, download=download)
        inspected = inspect_pipeline(folder)
        pipeline = load_inspected(inspected)
        _check(pipeline, str(base))
        where = torch.device(device or "cpu")
        held = dtype or _dtype_on(where)
        found = cls(
            unet=pipeline.unet.eval().requires_grad_(requires_grad=False),
            vae=pipeline.vae.eval().requires_grad_(requires_grad=False),
            text_encoder=pipeline.text_encoder.eval().requires_grad_(
                requires_grad=False
            ),
            tokenizer=pipeline.tokenizer, scheduler=pipeline.scheduler, name=str(base),
            sha256=inspected.sha256(), vae_config=dict(pipeline.vae.config),
        )  # fmt: skip
        for one in (found.unet, found.vae, found.text_encoder):
            _own(one)
        found.unet.to(where)
        if held != torch.float32:
            with quiet():
                found.unet.to(held)
        found.vae.to(where)
        found.text_encoder.to(where)
        return found

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.unet.parameters()).device

    @property
    def schedule(self) -> Schedule:
        """How much noise each time stands for, and what the UNet predicts."""
        config = self.scheduler.config
        kept = import_diffusers().DDPMScheduler.from_config(config).alphas_cumprod
        return Schedule(
            kept=kept, predicts=config.prediction_type,
            scale=float(self.vae_config.get("scaling_factor") or 1.0),
            shift=float(self.vae_config.get("shift_factor") or 0.0),
        )  # fmt: skip

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that it is made for, px."""
        config: Any = self.unet.config
        side = config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        factor = 2 ** (len(self.vae_config["block_out_channels"]) - 1)
        return factor * height, factor * width

    @property
    def multiple(self) -> int:
        """Px that sides must be multiples of."""
        levels = len(self.vae_config["block_out_channels"]) - 1
        return max(_MULTIPLE, int(2**levels))

    def latent_of(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Return (channels, height, width) of the latent of an image.

        Args:
            size: (height, width), px.

        Raises:
            UsageError: A side is no multiple of 8.
        """
        many = self.multiple
        if any(side % many or side < many for side in size):
            near = "x".join(str(max(many, round(side / many) * many)) for side in size)
            raise UsageError(
                f"size must be (height, width) in multiples of {many} px, as the VAE of"
                f" {self.name} takes them, got {size[0]}x{size[1]}; {near} is near"
            )
        factor = 2 ** (len(self.vae_config["block_out_channels"]) - 1)
        height, width = (side // factor for side in size)
        return int(self.vae_config["latent_channels"]), height, width

    @property
    def prompt_shape(self) -> tuple[int, int]:
        """(tokens, numbers) of an embedded prompt."""
        config: Any = self.unet.config
        return int(self.tokenizer.model_max_length), int(config.cross_attention_dim)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return what the UNet is told of prompts, float32 [P, tokens, numbers].

        Raises:
            UsageError: A prompt is longer than the text encoder reads, or has a token
                that it does not know.
        """
        for one in prompts:
            if one:
                check_prompt(one, _Reader(self.tokenizer))
        found = []
        for one in prompts:
            ids = self.tokenizer(
                one, padding="max_length", truncation=True, return_tensors="pt",
                max_length=self.tokenizer.model_max_length,
            ).input_ids  # fmt: skip
            found.append(self.text_encoder(ids.to(self.device))[0].float().cpu())
        return torch.cat(found)

    @torch.no_grad()
    def moments(self, images: torch.Tensor) -> torch.Tensor:
        """Return mean and standard deviation of latents, float32 [B, 2 C, h, w].

        One image at a time, so that none depends on those beside it.

        Args:
            images: float32 [B, 3, H, W] in [-1, 1].
        """
        found = []
        for at in range(len(images)):
            one = images[at : at + 1]
            told = self.vae.encode(one.to(self.device)).latent_dist
            found.append(torch.cat([told.mean, told.std], 1).float().cpu())
        return torch.cat(found)

    def keep_vae(self, path: Path) -> None:
        """Write the VAE's weights, from which :meth:`paint` brings it back."""
        held = {
            name: one.detach().cpu().contiguous()
            for name, one in self.vae.state_dict().items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(held, path)

    def free(self) -> None:
        """Let VAE and text encoder go, and give their memory back."""
        self.vae = self.text_encoder = None
        give_back_freed_memory()

    def _vae(self, path: Path | None) -> Any:  # noqa: ANN401
        if self.vae is not None:
            return self.vae
        if path is None:
            raise UsageError("the VAE was freed and kept nowhere")
        with torch.device("meta"):
            vae = import_diffusers().AutoencoderKL.from_config(self.vae_config)
        load_weights(path, vae)
        return vae.eval().requires_grad_(requires_grad=False).to(self.device)

    def paint(
        self,
        prompts: torch.Tensor,
        seeds: Sequence[int],
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
        vae: Path | None = None,
    ) -> NDArray[np.uint8]:
        """Return images, uint8 [N, H, W, 3], each of its seed and prompt alone.

        Args:
            prompts: Embedded, float32 [N + 1, tokens, numbers]; the last one is the
                empty prompt.
            seeds: One for each image.
            size: (height, width), px.
            steps: From noise to image.
            guidance: 1: as trained; more: nearer to the prompt.
            vae: Where :meth:`keep_vae` wrote it.
        """
        library = import_diffusers()
        there = self._vae(vae)
        with quiet():
            pipeline = library.StableDiffusionPipeline(
                vae=there, unet=self.unet, text_encoder=None, tokenizer=None,
                scheduler=library.DPMSolverMultistepScheduler.from_config(
                    self.scheduler.config
                ),
                safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            told = prompts.to(self.device, next(self.unet.parameters()).dtype)
            made = [np.empty((0, *size, 3), np.uint8)]
            for at, seed in enumerate(seeds):
                latents = pipeline(
                    prompt_embeds=told[at : at + 1], negative_prompt_embeds=told[-1:],
                    generator=generators_of([seed]), num_inference_steps=steps,
                    guidance_scale=guidance, height=size[0], width=size[1],
                    output_type="latent",
                ).images  # fmt: skip
                made.append(self._decoded(there, latents))
        return np.concatenate(made)

    @torch.no_grad()
    def _decoded(self, vae: Any, latents: torch.Tensor) -> NDArray[np.uint8]:  # noqa: ANN401
        """Return the images of latents; in float32, whatever the UNet has."""
        schedule = self.schedule
        images = vae.decode(latents.float() / schedule.scale + schedule.shift).sample
        return to_levels(images)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What :func:`check_prompt` wants of a pipeline."""

    tokenizer: Any

    def maybe_convert_prompt(self, prompt: str, tokenizer: Any) -> str:  # noqa: ANN401
        """Return a prompt as it is: tokens of several vectors are not there."""
        del tokenizer
        return prompt


def _check(pipeline: Any, name: str) -> None:  # noqa: ANN401
    """Refuse what is no text-to-image model of this class."""
    unet = pipeline.unet
    why = ""
    if type(unet).__name__ != "UNet2DConditionModel":
        why = f"its denoiser is a {type(unet).__name__}"
    elif unet.config.in_channels != pipeline.vae.config.latent_channels:
        why = (
            f"its UNet takes {unet.config.in_channels} channels and not the"
            f" {pipeline.vae.config.latent_channels} of a latent: it is made for"
            " inpainting or edits"
        )
    elif getattr(unet.config, "addition_embed_type", None) is not None:
        why = "its UNet wants more than a prompt, as that of SDXL does"
    elif pipeline.scheduler.config.prediction_type not in _PREDICTS:
        why = (
            f"it predicts {pipeline.scheduler.config.prediction_type!r:.40}, and"
            f" {' and '.join(_PREDICTS)} can be trained"
        )
    if why:
        raise UsageError(
            f"{name} is no text-to-image model of the class of Stable Diffusion 1 or 2:"
            f" {why}"
        )


def _dtype_on(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _own(module: nn.Module) -> None:
    """Let weights be this process's: files that are mapped may change meanwhile."""
    for one in (*module.parameters(), *module.buffers()):
        one.data = one.data.clone()
