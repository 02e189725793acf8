"""Teach a pretrained model a new word for what photos show: textual inversion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fiberaug.allocator import give_back_freed_memory
from fiberaug.pretrained.pipeline import PretrainedPipeline
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.training.contracts import Watcher
from fiberaug.training.inversion_model import InversionWanted, InversionWorkload
from fiberaug.training.inversion_options import InversionOptions
from fiberaug.training.lora import LoRATrainer
from fiberaug.training.lora_arguments import (
    captioned,
    check_asked,
    classes_of,
    dtype_of,
    pair_of,
)
from fiberaug.training.trainer import Trainer

__all__ = ["TextualInversionTrainer"]


class TextualInversionTrainer(LoRATrainer):
    """Trains the embeddings of one new word, and nothing else (Gal et al. 2022).

    The gradient goes through the frozen UNet and the frozen text encoder to the word.
    Photos become latents once, before training, and the VAE is then freed.

    Args:
        base: Folder of a Stable Diffusion 1 or 2 as diffusers stores it, or an id of
            the Hub (with ``revision``).
        data: See :class:`fiberaug.training.LoRATrainer`, as of all that is not named
            here.
        token: The new word, in angle brackets: ``<thing>``.
        begin: A word that the model has as one token, whose embedding it begins with.
        vectors: Embeddings that the word stands for, 1 to 32; as many tokens of a
            prompt.
        prompt: What photos are called, with the token; ``{label}`` and ``{caption}``
            are filled in. None: ``a photo of <thing>``, or the caption.
        size: (height, width) of what is trained on, px.
        classes: Names by label, for data that has none.
        memory: Most that the training may use.
        out: Folder of the training. It goes on from what is there.
        batch_size: Photos of a step, over all ranks.
        seed: Of order, noise and times, in [0, 2**64).
        device: Where it is trained; None: the CPU.
        dtype: Of the frozen UNet. The word is float32.
        revision: Of an id of the Hub: its commit.
        download: Fetch it. False: no socket is opened.
        held_out: Share of the photos that is never trained on.
        windows: Train on windows of photos.
        scales: Least and most photo px per window px.
        views: Cuts of each photo that are encoded.
        num_workers: Processes that read photos.
        lr: Learning rate over the run, such as ``"cosine 5e-3 5e-4"``.
        betas: Adam's.
        min_snr: Most signal-to-noise ratio that a time is weighted with; None: all
            times count alike.
        dropped: Share of rows that learn with the empty prompt: none of the word.
        noise_offset: Standard deviation of noise that a whole channel has in common.
        longest: Most norm of a gradient.
        half_life: Images after which a value counts half in the averaged word.
        bf16: Compute in bfloat16; None: on a GPU that can, or to save memory.
        sample_every: Images from one picture to the next.
        sample_steps: From noise to image, of pictures.
        board: Write for TensorBoard, too.
        progress: Show how far it is.
        watchers: Your own.
        save_every: Images between two states.
        licence: Of what is generated.

    Raises:
        UsageError: An argument is out of range, the token is there already, or the word
            it begins with is several tokens.
        DataRefused: The base's folder is broken, or brings what could run.
        StoreError: It cannot be read or fetched.

    Example:
        >>> trainer = TextualInversionTrainer(  # doctest: +SKIP
        ...     "sd/", "shards/", token="<thing>", begin="dog"
        ... )
        >>> generator = trainer.train(images=3_000)  # doctest: +SKIP
    """

    kind = "inversion"
    workload_type = InversionWorkload

    def __init__(
        self,
        base: str | Path,
        data: Any,  # noqa: ANN401  # see the docstring
        *,
        token: str,
        begin: str,
        vectors: int = 1,
        prompt: str | None = None,
        size: int | str | tuple[int, int] | None = None,
        classes: Sequence[str] = (),
        memory: int | str | None = None,
        out: str | Path | None = None,
        batch_size: int = 1,
        seed: int = 0,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        download: bool = False,
        held_out: float = 0.0,
        windows: bool | None = None,
        scales: tuple[float, float] | None = None,
        views: int | None = None,
        num_workers: int = 0,
        lr: str | float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        min_snr: float | None = None,
        dropped: float = 0.0,
        noise_offset: float = 0.0,
        longest: float = 1.0,
        half_life: float = 200,
        bf16: bool | None = None,
        sample_every: int | None = None,
        sample_steps: int = 8,
        board: bool = False,
        progress: bool = True,
        watchers: Sequence[Watcher] = (),
        save_every: int | None = None,
        licence: str | None = None,
    ) -> None:
        options = InversionOptions(
            token=token, begin=begin, vectors=vectors, lr=lr, betas=betas,
            min_snr=min_snr, dropped=dropped, noise_offset=noise_offset,
            longest=longest, half_life=half_life, seed=seed,
        )  # fmt: skip
        check_asked(
            prior=None, prior_prompt=None, views=views, sample_every=sample_every,
            sample_steps=sample_steps,
        )  # fmt: skip
        given = captioned(data, prompt, classes)
        self.captioned, self._filed = given.captioned, given.filed
        self.class_names = given.classes
        if prompt is None and not self.captioned:
            prompt = f"a photo of {token}"
        self.wanted = InversionWanted(
            base=base, options=options, size=pair_of(size), prompt=prompt,
            captioned=self.captioned, prior_prompt=None, revision=revision,
            download=download, device=device, dtype=dtype_of(dtype),
            steps=sample_steps,
        )  # fmt: skip
        self.prior, self.views, self.sample_every = None, views, sample_every
        self._model, self._base_hash = None, ""
        Trainer.__init__(
            self, {"network": self.model.network}, given.data, options=options,
            memory=memory, out=out, batch_size=batch_size, device=None,
            conditional=None, held_out=held_out, windows=windows, scales=scales,
            num_workers=num_workers, bf16=bf16, judge=False, guard=False, board=board,
            progress=progress, watchers=watchers, save_every=save_every,
            licence=licence,
        )  # fmt: skip

    def _opened(self, folder: Path) -> ImageGenerator:
        wanted, size = self.wanted, self.model.image[1:]
        assert isinstance(wanted.base, str | Path)  # noqa: S101  # for the type
        # Opened once more, with the word: two of them would be more than was planned.
        self._model, self.networks = None, {}
        give_back_freed_memory()
        return PretrainedPipeline.open(
            wanted.base, embeddings=[folder], prompt=wanted.prompt or "{caption}",
            size=size, classes=() if self.captioned else classes_of(folder),
            revision=wanted.revision, download=wanted.download,
            device=wanted.device or "cpu", dtype=wanted.dtype,
        )  # fmt: skip
