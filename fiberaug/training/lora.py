"""Fine-tune a pretrained model on photos: it stays frozen, thin adapters learn."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from fiberaug.allocator import give_back_freed_memory
from fiberaug.errors import DataRefused
from fiberaug.pretrained.pipeline import PretrainedPipeline
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.loading import load
from fiberaug.training.contracts import Source, Watcher
from fiberaug.training.feeding import open_source
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.lora_adapters import merged
from fiberaug.training.lora_arguments import (
    captioned,
    check_asked,
    classes_of,
    dtype_of,
    pair_of,
)
from fiberaug.training.lora_models import LoRAModel
from fiberaug.training.lora_opening import Wanted
from fiberaug.training.lora_options import TARGETS, LoRAOptions
from fiberaug.training.lora_own import OwnModel
from fiberaug.training.lora_prompted import TextModel
from fiberaug.training.lora_task import LoRATask
from fiberaug.training.lora_workload import LoRAWorkload
from fiberaug.training.ranking import Ranks
from fiberaug.training.refusals import check_looks
from fiberaug.training.saving import notes_of
from fiberaug.training.trainer import Trainer
from fiberaug.training.watching import standard_watchers

__all__ = ["LoRATrainer"]

_FEWEST = 4  # photos; below, adapters learn them by heart
_PICTURES, _COLUMNS = 10, 4
_APART = 160  # photos at least between two pictures, which take the time of some 16


class LoRATrainer(Trainer):
    """Trains adapters (LoRA) of a text-to-image model, or of a diffusion model of ours.

    Of the model nothing is changed: beside each projection of attention come two thin
    matrices, and these are trained (Hu et al. 2021). Photos become latents and prompts
    become embeddings once, before training, and VAE and text encoder are then freed.

    Args:
        base: Folder of a Stable Diffusion 1 or 2 as diffusers stores it, an id of the
            Hub (with ``revision``), a folder of our diffusion model, or such a model.
        data: See :class:`fiberaug.training.GANTrainer`; also a pair (images, captions).
        prompt: What photos are called; ``{label}`` is the class's name, ``{caption}``
            the caption. None: ``a photo of a {label}``, or the caption.
        size: (height, width) of what is trained on, px, multiples of 8. None: what the
            model is made for.
        classes: Names by label, for data that has none.
        rank: Columns of an adapter.
        alpha: What adapters add is multiplied by alpha / rank; None: by 1.
        targets: Ends of the names of the modules that get adapters.
        prior: Images of the class that is not to be forgotten: data as ``data``, or how
            many the model makes of ``prior_prompt`` before it is trained.
        prior_prompt: What images of the prior are called, such as ``a photo of a dog``.
        prior_weight: What an image of the prior counts beside a photo.
        memory: Most that the training may use, such as ``"8GB"``; None: 85 % of what is
            free on the device.
        out: Folder of the training. It goes on from what is there. None: a new one in
            ``runs/``.
        batch_size: Photos of a step, over all ranks; with little memory they are worked
            through one by one.
        seed: Of order, noise, times and first adapters, in [0, 2**64).
        device: Where it is trained; None: the CPU.
        dtype: Of the frozen UNet, such as ``"bfloat16"``. None: bfloat16 or float16 on
            a GPU, float32 on a CPU. Adapters are float32.
        revision: Of an id of the Hub: its commit.
        download: Fetch it. False: no socket is opened.
        conditional: Whether prompts differ by class; None: where ``prompt`` says so.
        held_out: Share of the photos that is never trained on.
        windows: Train on windows of photos, see :class:`fiberaug.training.GANTrainer`.
        scales: Least and most photo px per window px; None: from 1 to what fits.
        views: Cuts of each photo that are encoded; then they come again. None: 8 where
            windows are cut, else 1.
        num_workers: Processes that read photos.
        lr: Learning rate over the run, such as ``"cosine 1e-4 1e-6"``.
        betas: Adam's.
        min_snr: Most signal-to-noise ratio that a time is weighted with; None: all
            times count alike.
        dropped: Share of rows that learn with the empty prompt, or without class.
        noise_offset: Standard deviation of noise that a whole channel has in common.
        longest: Most norm of a gradient.
        half_life: Images after which a weight counts half in the averaged adapters.
        eight_bit: Adam's moments in 8 bits, by bitsandbytes.
        bf16: Compute in bfloat16; None: on a GPU that can, or to save memory.
        sample_every: Images from one picture to the next; None: a tenth of the run, at
            least 160.
        sample_steps: From noise to image, of pictures and of the prior.
        judge: See :class:`fiberaug.training.GANTrainer`; it takes thousands of images.
        guard: End a training that learns nothing more.
        board: Write for TensorBoard, too.
        progress: Show how far it is.
        watchers: Your own, see :class:`fiberaug.training.Watcher`.
        save_every: Images between two states; None: a fortieth of the run.
        licence: Of what is generated, noted in each sample.

    Raises:
        UsageError: An argument is out of range, the base is neither kind of model, or
            diffusers or peft is not installed.
        DataRefused: The base's folder is broken, or brings what could run.
        StoreError: It cannot be read or fetched.

    Example:
        >>> trainer = LoRATrainer("sd/", "shards/", size=(512, 512))  # doctest: +SKIP
        >>> generator = trainer.train(images=2_000)  # doctest: +SKIP
    """

    kind = "lora"
    sample_cost = 1.0
    fewest_rows = 1
    workload_type: ClassVar[type[LoRAWorkload]] = LoRAWorkload

    def __init__(
        self,
        base: str | Path | nn.Module | DiffusionGenerator,
        data: Any,  # noqa: ANN401  # see the docstring
        *,
        prompt: str | None = None,
        size: int | str | tuple[int, int] | None = None,
        classes: Sequence[str] = (),
        rank: int = 8,
        alpha: float | None = None,
        targets: Sequence[str] = TARGETS,
        prior: Any = None,  # noqa: ANN401  # data, or a number
        prior_prompt: str | None = None,
        prior_weight: float = 1.0,
        memory: int | str | None = None,
        out: str | Path | None = None,
        batch_size: int = 1,
        seed: int = 0,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        download: bool = False,
        conditional: bool | None = None,
        held_out: float = 0.0,
        windows: bool | None = None,
        scales: tuple[float, float] | None = None,
        views: int | None = None,
        num_workers: int = 0,
        lr: str | float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        min_snr: float | None = 5.0,
        dropped: float = 0.0,
        noise_offset: float = 0.0,
        longest: float = 1.0,
        half_life: float = 200,
        eight_bit: bool = False,
        bf16: bool | None = None,
        sample_every: int | None = None,
        sample_steps: int = 8,
        judge: bool | Judge = False,
        guard: bool = False,
        board: bool = False,
        progress: bool = True,
        watchers: Sequence[Watcher] = (),
        save_every: int | None = None,
        licence: str | None = None,
    ) -> None:
        options = LoRAOptions(
            rank=rank, alpha=alpha,
            targets=(targets,) if isinstance(targets, str) else tuple(targets),
            lr=lr, betas=betas, min_snr=min_snr, dropped=dropped,
            noise_offset=noise_offset, prior_weight=prior_weight, longest=longest,
            half_life=half_life, eight_bit=eight_bit, seed=seed,
        )  # fmt: skip
        check_asked(
            prior=prior, prior_prompt=prior_prompt, views=views,
            sample_every=sample_every, sample_steps=sample_steps,
        )  # fmt: skip
        self.options: LoRAOptions = options
        given = captioned(data, prompt, classes)
        self.captioned, self._filed = given.captioned, given.filed
        self.class_names = given.classes
        self.wanted = Wanted(
            base=base, options=options, size=pair_of(size), prompt=prompt,
            captioned=self.captioned, prior_prompt=prior_prompt, revision=revision,
            download=download, device=device, dtype=dtype_of(dtype),
            steps=sample_steps,
        )  # fmt: skip
        self.prior, self.views, self.sample_every = prior, views, sample_every
        self._model: LoRAModel | None = None
        self._base_hash = ""
        super().__init__(
            {"network": self.model.network}, given.data, options=options,
            memory=memory, out=out, batch_size=batch_size, device=None,
            conditional=conditional, held_out=held_out, windows=windows, scales=scales,
            num_workers=num_workers, bf16=bf16, judge=judge, guard=guard, board=board,
            progress=progress, watchers=watchers, save_every=save_every,
            licence=licence,
        )  # fmt: skip

    @property
    def model(self) -> LoRAModel:
        """The frozen model with adapters; opened again where a training freed it."""
        if self._model is None:
            self._model, self._base_hash = self.wanted.open(self._base_hash)
            self.networks = {"network": self._model.network}
        return self._model

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.model.image

    @property
    def wants_labels(self) -> bool | None:
        """Whether the model is told classes; None: where the data has some."""
        return self.model.wants_labels

    @property
    def wants_places(self) -> bool:
        """Whether it takes the places of windows."""
        return self.model.wants_places

    def _source(self, ranks: Ranks) -> Source:
        model = self.model
        if isinstance(model, OwnModel):
            names = self.class_names
            if not names and isinstance(self.data, tuple | list):
                names = model.known  # arrays have no names of their own
            return self._fitting(self._photos(self.data, names, ranks))
        assert isinstance(model, TextModel)  # noqa: S101  # for the type
        # Photos are dealt to one process; each rank takes its rows of their latents.
        alone, prior = Ranks.alone(), self.prior
        photos = self._photos(self.data, self.class_names, alone, captioned=self._filed)
        if prior is not None and not isinstance(prior, int):
            prior = self._photos(prior, (), alone, conditional=False)
        made = model.source(
            photos, prior, rows=self.batch_size, views=self.views, ranks=ranks
        )
        return self._fitting(made)

    def _photos(
        self,
        data: Any,  # noqa: ANN401  # see the class
        names: Sequence[str],
        ranks: Ranks,
        *,
        conditional: bool | None = None,
        captioned: bool = False,
    ) -> Source:
        if hasattr(data, "batches") and hasattr(data, "reference"):
            found: Source = data
            return found
        for asked in (self.conditional, self.wants_labels):
            conditional = asked if conditional is None else conditional
        windows = self.windows
        if self.wants_places and windows is None:
            windows = True
        channels, height, width = self.image
        return open_source(
            data, size=(height, width), channels=channels,
            conditional=conditional, batch_size=self.batch_size, classes=names,
            seed=self.options.seed, held_out=self.held_out,
            num_workers=self.num_workers, windows=windows, scales=self.scales,
            rank=ranks.rank, world_size=ranks.world, captioned=captioned,
        )  # fmt: skip

    def _fits(self, source: Source) -> None:
        self.model.fits(source)

    def _checked(self, source: Source) -> list[str]:
        """Return what a user should read of the photos; refuse what cannot work."""
        if source.photos < _FEWEST:
            raise DataRefused(
                f"{source.photos} photos are too few to be learned from: adapters would"
                f" learn them by heart; give at least {_FEWEST}, better 10 to 50 of"
                " each class"
            )
        counts = source.describe().get("counts", ())
        empty = [n for n, c in zip(source.classes, counts, strict=False) if not c]
        if empty:
            raise DataRefused(
                f"{len(empty)} of {len(source.classes)} classes have no photo to train"
                f" on: {', '.join(empty[:5])}; give them photos, or number labels"
                " without gaps"
            )
        odd = check_looks(source.reference(64).images)
        notes = [*getattr(source, "notes", ())]
        return notes if odd is None else [*notes, odd]

    def _prepare(self, source: Source, out: Path, ranks: Ranks, images: int) -> None:
        if isinstance(self.model, TextModel):
            self.model.prepare(
                source, out, ranks,  # type: ignore[arg-type]
                images=images, progress=self.progress,
            )  # fmt: skip

    def _copies(self) -> dict[str, nn.Module]:
        shared: dict[int, Any] = {
            id(one): one
            for network in self.networks.values()
            for one in network.parameters()
            if not one.requires_grad
        }
        return copy.deepcopy(self.networks, shared)

    def _workload(self, source: Source, rows: int) -> LoRAWorkload:
        model = self.model
        return self.workload_type(
            network=model.network, options=self.options, stepper=model.stepper(source),
            shape=model.row_shape(), picture=model.image, each=model.each, rows=rows,
            conditioned=isinstance(model, TextModel) or bool(source.classes),
            places=source.has_places, parts=model.parts(), helpers=model.helpers(),
        )  # fmt: skip

    def _task(
        self,
        networks: Mapping[str, nn.Module],
        source: Source,
        images: int,
        levers: Levers,
        ranks: Ranks,
    ) -> LoRATask:
        model, network = self.model, networks["network"]
        return self.workload_type.task_type(
            network, self.options, stepper=model.stepper(source)(network), total=images,
            levers=levers, ranks=ranks, save=partial(self._save, source),
            sampler=model.sampler(source), each=model.each,
        )  # fmt: skip

    def _save(
        self, source: Source, module: nn.Module, folder: Path, notes: Mapping[str, Any]
    ) -> None:
        told = notes_of(source, notes, self.options.to_dict(), self.licence)
        self.model.save(source, told, module, folder)

    def _identity(self, source: Source) -> dict[str, Any]:
        found = super()._identity(source) | {"base": self._base_hash}
        if isinstance(self.model, TextModel):
            found["prompts"] = self.model.prompts(source.classes)
            found["dtype"] = str(next(self.model.network.parameters()).dtype)
        return found

    def _all_watchers(self, images: int) -> list[Watcher]:
        judges: list[Watcher] = []
        if self.judge:
            chosen = self.judge if isinstance(self.judge, Judge) else None
            judges.append(chosen or Judge(seed=self.options.seed))
        return standard_watchers(
            console=self.progress, board=self.board, guard=self.guard,
            look_every_images=self.sample_every or max(_APART, images // _PICTURES),
            columns=_COLUMNS, also=[*judges, *self.watchers],
        )  # fmt: skip

    def _opened(self, folder: Path) -> ImageGenerator:
        model = self.model
        if isinstance(model, OwnModel):
            kind = type(model.network)
            if (kind.__module__, kind.__name__) == ("fiberaug.models.unet", "UNet"):
                return load(folder)
            return DiffusionGenerator.of(merged(model.network), folder)
        assert isinstance(model, TextModel)  # noqa: S101  # for the type
        assert isinstance(self.wanted.base, str | Path)  # noqa: S101
        prompt, size = model.template, model.image[1:]
        del model
        # Opened once more, with adapters: two of them would be more than was planned.
        self._model, self.networks = None, {}
        give_back_freed_memory()
        wanted = self.wanted
        return PretrainedPipeline.open(
            self.wanted.base, lora=folder, prompt=prompt, size=size,
            classes=() if self.captioned else classes_of(folder),
            revision=wanted.revision, download=wanted.download,
            device=wanted.device or "cpu", dtype=wanted.dtype,
        )  # fmt: skip
