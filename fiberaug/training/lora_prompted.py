"""Adapters of a text-to-image model: latents, prompts, and helpers that go."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.pretrained.prompts import fill
from fiberaug.training.contracts import Source
from fiberaug.training.lora_adapters import Adapters, scaled
from fiberaug.training.lora_folder import save_lora
from fiberaug.training.lora_latents import LatentSource, key_of
from fiberaug.training.lora_models import LoRAModel
from fiberaug.training.lora_noising import LatentStep, Prompts
from fiberaug.training.lora_options import LoRAOptions
from fiberaug.training.lora_prior import GeneratedSource, WithPrior
from fiberaug.training.lora_task import Sampler, Stepper
from fiberaug.training.lora_text import TextBase
from fiberaug.training.lora_workload import Part
from fiberaug.training.ranking import Ranks

__all__ = ["CACHE", "GUIDANCE", "TextModel"]

CACHE = "cache"
"""Folder of latents, embedded prompts and the VAE, in that of a training."""

_LABEL = "a photo of a {label}"
GUIDANCE = 5.0
"""Of pictures."""

_VIEWS = 8


class TextModel(LoRAModel):
    """A text-to-image model.

    Args:
        base: Its parts; the UNet has adapters.
        size: (height, width) of the images, px.
        options: How it is trained.
        prompt: With ``{label}`` or ``{caption}``; None: of the classes.
        captioned: Whether classes are captions.
        prior_prompt: Of images of the prior; None: there is no prior.
        steps: Of pictures.
    """

    wants_places = False

    def __init__(
        self,
        base: TextBase,
        *,
        size: tuple[int, int],
        options: LoRAOptions,
        prompt: str | None,
        captioned: bool,
        prior_prompt: str | None,
        steps: int,
    ) -> None:
        self.base, self.network, self.options = base, base.unet, options
        self.image = (3, *size)
        self.latent = base.latent_of(size)
        self.prompt, self.captioned = prompt, captioned
        for one in (self.template, prior_prompt or ""):
            fill(one, "label", "caption")  # what is unknown in it is refused
        self.prior_prompt, self.steps = prior_prompt, steps
        self.each = 1 if prior_prompt is None else 2
        self.wants_labels = None if prompt is None else "{" in prompt
        self._told: Prompts | None = None
        self._cache: Path | None = None

    @property
    def template(self) -> str:
        """What photos are called, with placeholders."""
        if self.prompt is not None:
            return self.prompt
        return "{caption}" if self.captioned else _LABEL

    def prompts(self, classes: Sequence[str]) -> list[str]:
        """Return the prompts of classes, and that of the prior; later the empty one.

        Raises:
            UsageError: There is neither a prompt nor what one could be made of.
        """
        template = self.template
        if self.prompt is None:
            numbers = all(name.isdigit() for name in classes)
            if not classes or (numbers and not self.captioned):
                has = "only numbers for classes" if classes else "no classes"
                raise UsageError(
                    f"there is no prompt, and the data has {has} and no captions: give"
                    ' prompt="a photo of sks dog", classes=("cat", ...), or a pair'
                    " (images, captions)"
                )
        if not classes:
            found = [fill(template, None, None)]
        else:
            found = [
                fill(template, name, name if self.captioned else None)
                for name in classes
            ]
        if self.prior_prompt is not None:
            found.append(fill(self.prior_prompt, None, None))
        return found

    def fits(self, source: Source) -> None:
        """Refuse what no prompt can be made of."""
        self.prompts(source.classes)

    def row_shape(self) -> tuple[int, int, int]:
        """Return the shape of a latent's mean and standard deviation."""
        channels, height, width = self.latent
        return 2 * channels, height, width

    def source(
        self,
        photos: Source,
        prior: Source | int | None,
        *,
        rows: int,
        views: int | None,
        ranks: Ranks,
    ) -> LatentSource | WithPrior:
        """Return latents of photos, with a prior beside them.

        Args:
            photos: Dealt to one process.
            prior: Photos of the class, or how many are made of the prior's prompt.
            rows: Of a step, over all ranks.
            views: Cuts of each photo; None: 8 where windows are cut, else 1.
            ranks: The processes that train.
        """
        usual = _VIEWS if photos.has_places else 1

        def latents(inner: Source, first: int, many: int) -> LatentSource:
            return LatentSource(
                inner, self._encode, rows=rows, views=many, seed=self.options.seed,
                ranks=ranks, first=first,
            )  # fmt: skip

        mine = latents(photos, 0, views or usual)
        if prior is None:
            return mine
        last = max(1, len(photos.classes))
        inner: Source | GeneratedSource
        if isinstance(prior, int):
            inner = GeneratedSource(
                self._painter(last), prior, size=photos.size, rows=rows,
                facts={"prompt": self.prior_prompt, "steps": self.steps},
            )  # fmt: skip
        else:
            inner = prior
        return WithPrior(mine, latents(inner, last, 1))

    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.base.moments(images)

    def _painter(self, number: int) -> Any:  # noqa: ANN401  # see GeneratedSource
        def paint(seeds: Sequence[int]) -> Any:  # noqa: ANN401
            with scaled(self.network, 0.0):
                return self._paint(seeds, [number] * len(seeds))

        return paint

    def prepare(
        self,
        source: LatentSource | WithPrior,
        out: Path,
        ranks: Ranks,
        *,
        images: int,
        progress: bool,
    ) -> None:
        """Embed prompts and encode photos, once, and free what did it.

        Args:
            source: The photos.
            out: Folder of the training.
            ranks: The processes that train.
            images: Photos that will be shown.
            progress: Show how far it is.

        Raises:
            UsageError: A prompt is longer than the text encoder reads.
            StoreError: The disk is full.
        """
        folder = out / CACHE
        folder.mkdir(parents=True, exist_ok=True)
        self._cache = folder / "vae.safetensors"
        prompts = self.prompts(source.classes)
        key = {"base": self.base.sha256, "size": list(self.image[1:])}
        path = folder / f"prompts-{key_of(prompts=prompts, **key)}.safetensors"
        if not path.exists() and ranks.is_first:
            save_file({"told": self.base.embed([*prompts, ""])}, path)
        ranks.told(None)
        self._told = self._weighted(load_file(path)["told"])
        if ranks.is_first:
            self.base.keep_vae(self._cache)
        parts = [source] if isinstance(source, LatentSource) else []
        if isinstance(source, WithPrior):
            parts = [source.own, source.prior]
        for one in parts:
            one.encode(folder, key_of(**key), needed=images, progress=progress)
        ranks.told(None)
        self.base.free()

    def _weighted(self, told: torch.Tensor) -> Prompts:
        weights = torch.ones(len(told) - 1)
        if self.prior_prompt is not None:
            weights[-1] = self.options.prior_weight
        return Prompts(told=told, weights=weights)

    def stepper(self, source: Source) -> Callable[[nn.Module], Stepper]:
        """Return what makes a stepper; of prompts without values before they are."""
        options, told = self.options, self._told
        if told is None:
            count = len(self.prompts(source.classes)) + 1
            told = self._weighted(torch.zeros(count, *self.base.prompt_shape))
        return partial(
            LatentStep, schedule=self.base.schedule, prompts=told,
            min_snr=options.min_snr, dropped=options.dropped,
            noise_offset=options.noise_offset, seed=options.seed, each=self.each,
        )  # fmt: skip

    def sampler(self, source: Source) -> Sampler:
        """Return what makes images."""

        def sample(seeds: Any, labels: Any, places: Any) -> Any:  # noqa: ANN401
            del places
            numbers = labels if source.classes else [0] * len(seeds)
            return self._paint(seeds, numbers)

        return sample

    def _paint(self, seeds: Sequence[int], numbers: Sequence[int]) -> Any:  # noqa: ANN401
        assert self._told is not None  # noqa: S101  # prepare was called
        told = self._told.told
        rows = torch.cat([told[list(numbers)], told[-1:]])
        return self.base.paint(
            rows, [int(seed) for seed in seeds], size=self.image[1:], steps=self.steps,
            guidance=GUIDANCE, vae=self._cache,
        )  # fmt: skip

    def save(
        self,
        source: Source,
        notes: Mapping[str, Any],
        adapters: nn.Module,
        folder: Path,
    ) -> None:
        """Write the adapters alone."""
        assert isinstance(adapters, Adapters)  # noqa: S101  # for the type
        save_lora(
            folder, adapters, scale=self.options.scale, base=self.called,
            prompts=self.prompts(source.classes), classes=source.classes,
            size=self.image[1:], notes=notes,
        )  # fmt: skip

    @property
    def called(self) -> dict[str, str]:
        """Name and hash of the base, without the place where it lies."""
        name = self.base.name
        name = Path(name).name if Path(name).is_dir() else name
        return {"name": name, "sha256": self.base.sha256}

    def parts(self) -> Sequence[Part]:
        """Return what encodes photos and decodes pictures, while it is there."""
        vae = self.base.vae
        if vae is None:
            return ()
        image, latent = (1, *self.image), (1, *self.latent)
        text = self.base.text_encoder
        return [
            Part(
                network=vae, run=lambda copy: copy.encode(_like(copy, image)),
                beside=0 if text is None else _bytes(text),
            ),
            Part(network=vae, run=lambda copy: copy.decode(_like(copy, latent))),
        ]  # fmt: skip

    def helpers(self) -> int:
        """Return the bytes of VAE and text encoder."""
        found = (self.base.vae, self.base.text_encoder)
        return sum(_bytes(one) for one in found if one is not None)


def _bytes(module: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in module.parameters())


def _like(module: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, device=next(module.parameters()).device)
