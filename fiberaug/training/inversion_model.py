"""A text-to-image model that learns one word: latents once, prompts at each step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.training.contracts import RealBatch, Source
from fiberaug.training.inversion_options import InversionOptions
from fiberaug.training.inversion_word import Reader, Word, WordedModel, save_word
from fiberaug.training.lora_latents import LatentSource, key_of
from fiberaug.training.lora_noising import LatentDraws, LatentStep, Prompts
from fiberaug.training.lora_opening import Wanted
from fiberaug.training.lora_prior import WithPrior
from fiberaug.training.lora_prompted import CACHE, GUIDANCE, TextModel
from fiberaug.training.lora_task import LoRATask, Stepper
from fiberaug.training.lora_text import TextBase
from fiberaug.training.lora_workload import LoRAWorkload, Part
from fiberaug.training.ranking import Ranks
from fiberaug.training.stepping import Share

__all__ = ["InversionModel", "InversionTask", "InversionWanted", "InversionWorkload"]


class InversionStep(LatentStep):
    """The gradient of a word: it goes through the UNet and the text encoder.

    Args:
        network: Both of them.
        ids: Tokens of prompts, int64 [P + 1, tokens]; the last one is empty.
        given: See :class:`fiberaug.training.lora_noising.LatentStep`.
    """

    def __init__(
        self,
        network: WordedModel,
        *,
        ids: torch.Tensor,
        **given: Any,  # noqa: ANN401  # of the class that it is made of
    ) -> None:
        prompts = Prompts(told=torch.zeros(0), weights=torch.ones(len(ids) - 1))
        super().__init__(network.unet, prompts=prompts, **given)
        self.network, self.ids = network, ids

    def gradient(
        self, batch: RealBatch, *, step: int, share: Share
    ) -> dict[str, torch.Tensor]:
        """Add the gradient to the word; see the class that it is made of."""
        found = super().gradient(batch, step=step, share=share)
        for one in self.network.word.parameters():
            if one.grad is not None and self.raised != 1:
                one.grad /= self.raised
        return found

    def _told(self, batch: RealBatch, draws: LatentDraws, rows: slice) -> torch.Tensor:
        numbers = torch.zeros(len(batch.images), dtype=torch.int64)
        numbers = numbers if batch.labels is None else batch.labels
        empty = torch.full_like(numbers, len(self.ids) - 1)
        dropped = draws.dropped.to(numbers.device)
        chosen = torch.where(dropped, empty, numbers)[rows]
        return self.network.told(self.ids.to(chosen.device)[chosen])


class InversionTask(LoRATask):
    """A word in training; all else is frozen."""

    kind = "inversion"
    part = "word"

    @classmethod
    def of(cls, network: nn.Module) -> Word:
        """Return what is trained of a network."""
        assert isinstance(network, WordedModel)  # noqa: S101  # for the type
        return network.word


@dataclass(frozen=True, kw_only=True)
class InversionWorkload(LoRAWorkload):
    """A frozen model with a word in it."""

    averaged = "word"
    task_type = InversionTask


class InversionModel(TextModel):
    """A text-to-image model with a new word.

    Args:
        base: Its parts; the text encoder goes into the network.
        size: (height, width) of the images, px.
        options: How it is trained.
        prompt: With the token; None: the captions.
        captioned: Whether classes are captions.
        steps: Of pictures.

    Raises:
        UsageError: The token is there already, or the word that it begins with is
            several tokens.
    """

    def __init__(
        self,
        base: TextBase,
        *,
        size: tuple[int, int],
        options: InversionOptions,
        prompt: str | None,
        captioned: bool,
        steps: int,
    ) -> None:
        super().__init__(
            base, size=size, options=options, prompt=prompt, captioned=captioned,
            prior_prompt=None, steps=steps,
        )  # fmt: skip
        self.token = options.token
        self.reader = Reader(base.tokenizer, options.token, options.vectors)
        rows = base.text_encoder.get_input_embeddings().weight
        begun = rows[self.reader.id_of(options.begin)].detach()
        word = Word(begun.expand(options.vectors, -1))
        encoder, base.text_encoder = base.text_encoder, None
        self.worded = WordedModel(base.unet, encoder, word, self.reader.first)
        self.network = self.worded

    def prompts(self, classes: Sequence[str]) -> list[str]:
        """Return the prompts of classes.

        Raises:
            UsageError: None has the token.
        """
        found = super().prompts(classes)
        if not any(self.token in one for one in found):
            raise UsageError(
                f"no prompt has the token {self.token}, such as {found[0]!r:.160}: give"
                f' prompt="a photo of {self.token}"'
            )
        return found

    def _ids(self, source: Source) -> torch.Tensor:
        return self.reader.ids([*self.prompts(source.classes), ""])

    def fits(self, source: Source) -> None:
        """Refuse what no prompt can be made of, or a prompt that is too long."""
        self._ids(source)

    def prepare(
        self,
        source: LatentSource | WithPrior,
        out: Path,
        ranks: Ranks,
        *,
        images: int,
        progress: bool,
    ) -> None:
        """Encode photos, once, and free the VAE.

        Args:
            source: The photos.
            out: Folder of the training.
            ranks: The processes that train.
            images: Photos that will be shown.
            progress: Show how far it is.

        Raises:
            StoreError: The disk is full.
        """
        assert isinstance(source, LatentSource)  # noqa: S101  # for the type
        folder = out / CACHE
        folder.mkdir(parents=True, exist_ok=True)
        self._cache = folder / "vae.safetensors"
        if ranks.is_first:
            self.base.keep_vae(self._cache)
        key = key_of(base=self.base.sha256, size=list(self.image[1:]))
        source.encode(folder, key, needed=images, progress=progress)
        ranks.told(None)
        self.base.free()

    def stepper(self, source: Source) -> Callable[[nn.Module], Stepper]:
        """Return what makes a stepper of a network as large as this one."""
        options = self.options
        made: Any = partial(
            InversionStep, ids=self._ids(source), schedule=self.base.schedule,
            min_snr=options.min_snr, dropped=options.dropped,
            noise_offset=options.noise_offset, seed=options.seed,
        )  # fmt: skip
        found: Callable[[nn.Module], Stepper] = made
        return found

    def sampler(self, source: Source) -> Any:  # noqa: ANN401  # see LoRAModel
        """Return what makes images."""
        ids = self._ids(source)

        def sample(seeds: Any, labels: Any, places: Any) -> Any:  # noqa: ANN401
            del places
            numbers = list(labels) if source.classes else [0] * len(seeds)
            with torch.no_grad():  # one by one: none depends on those beside it
                told = torch.cat(
                    [self.worded.told(ids[[one]]).cpu() for one in [*numbers, -1]]
                )
            return self.base.paint(
                told, [int(seed) for seed in seeds], size=self.image[1:],
                steps=self.steps, guidance=GUIDANCE, vae=self._cache,
            )  # fmt: skip

        return sample

    def save(
        self,
        source: Source,
        notes: Mapping[str, Any],
        adapters: nn.Module,
        folder: Path,
    ) -> None:
        """Write the word alone."""
        assert isinstance(adapters, Word)  # noqa: S101  # for the type
        save_word(
            folder, adapters, token=self.token, base=self.called,
            prompts=self.prompts(source.classes), classes=source.classes,
            size=self.image[1:], notes=notes,
        )  # fmt: skip

    def parts(self) -> Sequence[Part]:
        """Return what encodes photos and decodes pictures, while it is there."""
        return () if self.base.vae is None else super().parts()


@dataclass(frozen=True, kw_only=True, eq=False)
class InversionWanted(Wanted):
    """Which model, and the word that it is to learn."""

    def open(self, known: str) -> tuple[InversionModel, str]:
        """Return the model with the word in it, and its hash.

        Args:
            known: Not asked: the hash is that of the files.

        Raises:
            UsageError: It is no text-to-image model, or see :class:`InversionModel`.
            DataRefused: Its folder is broken, or brings what could run.
            StoreError: It cannot be read or fetched.
        """
        del known
        base, options = self.base, self.options
        assert isinstance(options, InversionOptions)  # noqa: S101  # for the type
        if not isinstance(base, str | Path):
            raise UsageError(
                "base must be a text-to-image model: a folder of diffusers, or an id of"
                f" the Hub, got {type(base).__name__}"
            )
        text = TextBase.open(
            base, revision=self.revision, download=self.download, device=self.device,
            dtype=self.dtype,
        )  # fmt: skip
        model = InversionModel(
            text, size=self.size or text.size, options=options, prompt=self.prompt,
            captioned=self.captioned, steps=self.steps,
        )  # fmt: skip
        return model, text.sha256
