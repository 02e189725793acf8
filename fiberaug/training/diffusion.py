"""Train a diffusion model on photos: one network, data, a folder."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fiberaug.models.unet import UNet
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.loading import load
from fiberaug.training.contracts import Source, Watcher
from fiberaug.training.diffusion_options import DiffusionOptions
from fiberaug.training.diffusion_task import SAMPLER, STEPS, DiffusionTask
from fiberaug.training.diffusion_workload import DiffusionWorkload
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.networks import check_network, unwrapped
from fiberaug.training.ranking import Ranks
from fiberaug.training.saving import notes_of
from fiberaug.training.trainer import Trainer
from fiberaug.training.unets import check_unet, unet_made_for

__all__ = ["DiffusionTrainer"]


class DiffusionTrainer(Trainer):
    """Trains a network to take noise out of photos, so that it can make some of noise.

    The network is a :class:`fiberaug.models.UNet`, a ``UNet2DModel`` of diffusers, or
    one of your own: noisy images [B, C, H, W], times int64 [B] from 0 to 999, and
    ``labels``, ``places`` and ``context`` where it takes them, to v = alpha noise -
    sigma image (Salimans and Ho 2022) of the shape of the images. A label of one more
    than the last class stands for no class.

    Args:
        unet: The network; it is trained in place.
        data: See :class:`fiberaug.training.GANTrainer`.
        memory: Most that the training may use, such as ``"2GB"``; None: 85 % of what
            is free on the device.
        out: Folder of the training. It goes on from what is there. None: a new one in
            ``runs/``.
        batch_size: Images of a step, over all ranks.
        seed: Of order, noise and times, in [0, 2**64).
        device: Where the network is put; None: where it is.
        conditional: Whether images are made by class; None: where the network is made
            for classes, or takes labels and the data has some.
        held_out: Share of the photos that is never trained on, by which the model is
            judged; none where there are fewer than 200.
        windows: Train on windows of photos, see :class:`fiberaug.training.GANTrainer`.
        scales: Least and most photo px per window px; None: from 1 to what fits.
        num_workers: Processes that read photos.
        lr: Learning rate over the run, such as ``"cosine 1e-3 1e-5"``.
        betas: Adam's.
        min_snr: Most signal-to-noise ratio that a time is weighted with; None: all
            times count alike.
        dropped: Share of rows that learn without their condition, for guidance.
        longest: Most norm of a gradient.
        half_life: Images after which a weight counts half in the averaged network.
        bf16: Convolutions in bfloat16; None: on a GPU that can, or to save memory.
        judge: See :class:`fiberaug.training.GANTrainer`. Looks are rarer than a GAN's,
            because an image takes longer to make.
        guard: End a training that learns nothing more.
        board: Write for TensorBoard, too.
        progress: Show how far it is.
        watchers: Your own, see :class:`fiberaug.training.Watcher`.
        save_every: Images between two states; None: a fortieth of the run.
        licence: Of what is generated, noted in each sample.
        size: (height, width) of the images, px, for a network that does not say.
        channels: Of the images, for a network that does not say.

    Raises:
        UsageError: An argument is out of range, or the network cannot be trained.

    Example:
        >>> from fiberaug.models import UNet
        >>> unet = UNet("28x28", classes=10, channels=1, width=32)
        >>> trainer = DiffusionTrainer(unet, "shards/")  # doctest: +SKIP
        >>> generator = trainer.train(images=300_000)  # doctest: +SKIP
    """

    kind = "diffusion"
    sample_cost = DiffusionTask.sample_cost

    def __init__(
        self,
        unet: nn.Module,
        data: Any,  # noqa: ANN401  # see the docstring
        *,
        memory: int | str | None = None,
        out: str | Path | None = None,
        batch_size: int = 64,
        seed: int = 0,
        device: str | torch.device | None = None,
        conditional: bool | None = None,
        held_out: float = 0.1,
        windows: bool | None = None,
        scales: tuple[float, float] | None = None,
        num_workers: int = 0,
        lr: str | float = "cosine 1e-3 1e-5",
        betas: tuple[float, float] = (0.9, 0.99),
        min_snr: float | None = 5.0,
        dropped: float = 0.1,
        longest: float = 1.0,
        half_life: float = 50_000,
        bf16: bool | None = None,
        judge: bool | Judge = True,
        guard: bool = True,
        board: bool = False,
        progress: bool = True,
        watchers: Sequence[Watcher] = (),
        save_every: int | None = None,
        licence: str | None = None,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
    ) -> None:
        options = DiffusionOptions(
            lr=lr, betas=betas, min_snr=min_snr, dropped=dropped, longest=longest,
            half_life=half_life, seed=seed,
        )  # fmt: skip
        unet = unwrapped(unet)
        check_network(unet, "network")
        super().__init__(
            {"unet": unet}, data, options=options, memory=memory, out=out,
            batch_size=batch_size, device=device, conditional=conditional,
            held_out=held_out, windows=windows, scales=scales, num_workers=num_workers,
            bf16=bf16, judge=judge, guard=guard, board=board, progress=progress,
            watchers=watchers, save_every=save_every, licence=licence,
        )  # fmt: skip
        self.options: DiffusionOptions = options
        self.unet = unet
        self.made_for = unet_made_for(unet, size=size, channels=channels)

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.made_for.image

    @property
    def wants_labels(self) -> bool | None:
        """Whether the network is made for classes; None: it does not say."""
        classes = self.made_for.classes
        return None if classes is None else classes > 0

    @property
    def wants_places(self) -> bool:
        """Whether it takes the places of windows."""
        return self.made_for.places

    def _fits(self, source: Source) -> None:
        check_unet(
            self.unet, self.made_for, classes=len(source.classes),
            places=source.has_places,
        )  # fmt: skip

    def _workload(self, source: Source, rows: int) -> DiffusionWorkload:
        return DiffusionWorkload(
            unet=self.unet, options=self.options, shape=self.image, rows=rows,
            classes=source.classes, conditioned=bool(source.classes),
            places=source.has_places,
        )  # fmt: skip

    def _task(
        self,
        networks: Mapping[str, nn.Module],
        source: Source,
        images: int,
        levers: Levers,
        ranks: Ranks,
    ) -> DiffusionTask:
        return DiffusionTask(
            networks["unet"], self.options, image=self.image, classes=source.classes,
            total=images, levers=levers, ranks=ranks, save=partial(self._save, source),
        )  # fmt: skip

    def _save(
        self, source: Source, module: nn.Module, folder: Path, notes: Mapping[str, Any]
    ) -> None:
        told = notes_of(source, notes, self.options.to_dict(), self.licence)
        DiffusionGenerator(
            module, classes=source.classes, notes=told, shape=self.image,
            sampler=SAMPLER, steps=STEPS,
        ).save(folder)  # fmt: skip

    def _opened(self, folder: Path) -> ImageGenerator:
        if type(self.unet) is not UNet:  # no folder holds its code
            return DiffusionGenerator.of(self.unet, folder)
        return load(folder)
