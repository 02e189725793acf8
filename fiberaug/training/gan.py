"""Train a GAN on photos: two networks, data, a folder."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fiberaug.models.generator import Generator
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.loading import load
from fiberaug.training.arguments import check_latent
from fiberaug.training.contracts import Source, Watcher
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_task import GANTask
from fiberaug.training.gan_workload import GANWorkload
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.networks import check_networks, unwrapped
from fiberaug.training.ranking import Ranks
from fiberaug.training.saving import notes_of
from fiberaug.training.shapes import check_conditions, shapes_of
from fiberaug.training.trainer import Trainer

__all__ = ["GANTrainer"]


class GANTrainer(Trainer):
    """Trains a generator against a critic on real photos.

    The networks are :class:`fiberaug.models.Generator` and ``Critic``, or any of your
    own: the generator takes latents [B, z] (or [B, z, 1, 1]), the critic images
    [B, C, H, W] in [-1, 1], and both ``labels`` int64 [B] where they are conditioned.

    Args:
        generator: Latents to images.
        critic: Images to one number each.
        data: Shards as :class:`fiberaug.StreamingDataset` takes them, such a data set,
            a folder of photos, images uint8 [N, H, W, C], (images, labels), or a source
            of your own, see :class:`fiberaug.training.contracts.Source`.
        loss: ``rpgan`` (relativistic pairing with R1 and R2), ``bce``, ``wgan-gp``, or
            ``wgan-clip``, a baseline.
        memory: Most that the training may use, such as ``"2GB"``; None: 85 % of what
            is free on the device.
        out: Folder of the training. It goes on from what is there. None: a new one in
            ``runs/``.
        batch_size: Images of a step, over all ranks.
        seed: Of order, latents and augmentation, in [0, 2**64).
        device: Where the networks are put; None: where they are.
        conditional: Whether images are made by class; None: where the generator is
            made for classes, or takes labels and the data has some.
        held_out: Share of the photos that is never trained on, by which the generator
            is judged; none where there are fewer than 200.
        windows: Train on windows of photos, at several scales; None: where the median
            photo has more than 1,000,000 px and is more than twice as large as the
            images.
        scales: Least and most photo px per window px; None: from 1 to what fits.
        num_workers: Processes that read photos.
        gamma: Weight of the penalty over the run, such as ``"cosine 0.8 0.08"``.
        lr: Learning rate over the run, such as ``"cosine 1e-3 1e-4"``.
        critic_lr: Of the critic alone.
        betas: Adam's.
        critic_steps: Steps of the critic for one of the generator.
        augment: What the critic sees images through; empty: nothing.
        augment_share: Share of images that is augmented; None: as there are photos.
        half_life: Images after which a weight counts half in the averaged generator.
        bf16: Convolutions in bfloat16; None: on a GPU that can, or to save memory.
        judge: Look at the quality now and then: keep the best generator, and stop when
            it begins to copy. False, or fewer than 10,000 images to show: the last is
            kept; or a :class:`fiberaug.training.judging.Judge`.
        guard: End a training whose critic has won, or whose generator makes one image,
            since it learns nothing more. Weights that are not finite are always taken
            back.
        board: Write for TensorBoard, too.
        progress: Show how far it is.
        watchers: Your own, see :class:`fiberaug.training.Watcher`.
        save_every: Images between two states; None: a fortieth of the run.
        latent: Shape of one latent; None: found in the generator.
        licence: Of what is generated, noted in each sample.

    Raises:
        UsageError: An argument is out of range, or the networks do not fit each other.

    Example:
        >>> from fiberaug.models import Critic, Generator
        >>> networks = Generator("28x28", classes=10), Critic("28x28", classes=10)
        >>> trainer = GANTrainer(*networks, "shards/", memory="2GB")  # doctest: +SKIP
        >>> generator = trainer.train(images=200_000)  # doctest: +SKIP
    """

    kind = "gan"
    sample_cost = GANTask.sample_cost

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        data: Any,  # noqa: ANN401  # see the docstring
        *,
        loss: str = "rpgan",
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
        gamma: str | float | None = None,
        lr: str | float | None = None,
        critic_lr: str | float | None = None,
        betas: tuple[float, float] | None = None,
        critic_steps: int | None = None,
        augment: str = "color,translation,cutout",
        augment_share: float | None = None,
        half_life: float = 500_000,
        bf16: bool | None = None,
        judge: bool | Judge = True,
        guard: bool = True,
        board: bool = False,
        progress: bool = True,
        watchers: Sequence[Watcher] = (),
        save_every: int | None = None,
        latent: tuple[int, ...] | None = None,
        licence: str | None = None,
    ) -> None:
        options = GANOptions(
            loss=loss, gamma=gamma, lr=lr, critic_lr=critic_lr, betas=betas,
            critic_steps=critic_steps, augment=augment, augment_share=augment_share,
            half_life=half_life, seed=seed,
        )  # fmt: skip
        networks = {"generator": unwrapped(generator), "critic": unwrapped(critic)}
        check_networks(**networks)
        check_latent(latent)
        super().__init__(
            networks, data, options=options, memory=memory, out=out,
            batch_size=batch_size, device=device, conditional=conditional,
            held_out=held_out, windows=windows, scales=scales, num_workers=num_workers,
            bf16=bf16, judge=judge, guard=guard, board=board, progress=progress,
            watchers=watchers, save_every=save_every, licence=licence,
        )  # fmt: skip
        self.options: GANOptions = options
        self.generator, self.critic = networks["generator"], networks["critic"]
        self.shapes = shapes_of(self.generator, self.critic, latent=latent)

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return self.shapes.channels, *self.shapes.size

    @property
    def wants_labels(self) -> bool | None:
        """Whether the networks are made for classes; None: they do not say."""
        classes = self.shapes.classes
        return None if classes is None else classes > 0

    @property
    def wants_places(self) -> bool:
        """Whether they take the places of windows."""
        return self.shapes.places

    def _fits(self, source: Source) -> None:
        check_conditions(
            self.generator, self.critic, self.shapes, classes=len(source.classes),
            places=source.has_places,
        )  # fmt: skip

    def _workload(self, source: Source, rows: int) -> GANWorkload:
        return GANWorkload(
            generator=self.generator, critic=self.critic, options=self.options,
            shapes=self.shapes, rows=rows, photos=source.photos,
            conditioned=bool(source.classes), places=source.has_places,
        )  # fmt: skip

    def _task(
        self,
        networks: Mapping[str, nn.Module],
        source: Source,
        images: int,
        levers: Levers,
        ranks: Ranks,
    ) -> GANTask:
        return GANTask(
            networks["generator"], networks["critic"], self.options,
            latent=self.shapes.latent, photos=source.photos, total=images,
            levers=levers, ranks=ranks, save=partial(self._save, source),
        )  # fmt: skip

    def _save(
        self, source: Source, module: nn.Module, folder: Path, notes: Mapping[str, Any]
    ) -> None:
        told = notes_of(source, notes, self.options.to_dict(), self.licence)
        GANGenerator(
            module, classes=source.classes, notes=told, latent=self.shapes.latent
        ).save(folder)

    def _opened(self, folder: Path) -> ImageGenerator:
        if type(self.generator) is not Generator:  # no folder holds its code
            return GANGenerator.of(self.generator, folder)
        return load(folder)
