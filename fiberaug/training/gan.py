"""Train a GAN on photos: two networks, data, a folder."""

import copy
import itertools
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models.generator import Generator
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.loading import load
from fiberaug.training.arguments import check_arguments, folder_of, put_on
from fiberaug.training.contracts import Source, Watcher
from fiberaug.training.feeding import open_source
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_saving import save_generator
from fiberaug.training.gan_task import GANTask
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.loop import BEST, LAST, Loop
from fiberaug.training.networks import check_networks, unwrapped
from fiberaug.training.plans import Plan, Workload, plan_for, with_time
from fiberaug.training.probing import seconds_per_image
from fiberaug.training.ranking import Ranks
from fiberaug.training.refusals import check_request
from fiberaug.training.shapes import PLACELESS, check_conditions, shapes_of
from fiberaug.training.states import has_state
from fiberaug.training.watching import standard_watchers

__all__ = ["GANTrainer"]

Networks = tuple[nn.Module, nn.Module]

_RUNS = Path("runs")
_JUDGED = 10_000  # images: a shorter training would wait for its judge
_WORKER = 250 * 10**6  # bytes of a process that reads photos
_log = logging.getLogger("fiberaug")


class GANTrainer:
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
        self.options = GANOptions(
            loss=loss, gamma=gamma, lr=lr, critic_lr=critic_lr, betas=betas,
            critic_steps=critic_steps, augment=augment, augment_share=augment_share,
            half_life=half_life, seed=seed,
        )  # fmt: skip
        self.generator, self.critic = unwrapped(generator), unwrapped(critic)
        check_networks(self.generator, self.critic)
        check_arguments(
            batch_size=batch_size, num_workers=num_workers, save_every=save_every,
            latent=latent, watchers=watchers,
        )  # fmt: skip
        self.out = folder_of(out)
        if device is not None:
            put_on(self.generator, device)
            put_on(self.critic, device)
        self.shapes = shapes_of(self.generator, self.critic, latent=latent)
        self.data, self.memory, self.batch_size = data, memory, batch_size
        self.conditional, self.held_out = conditional, held_out
        self.windows, self.scales, self.num_workers = windows, scales, num_workers
        self.bf16, self.judge, self.guard = bf16, judge, guard
        self.board, self.progress = board, progress
        self.watchers, self.save_every, self.licence = watchers, save_every, licence

    def train(self, images: int) -> ImageGenerator:
        """Train until so many images were shown in all, and return the generator.

        A folder with a training in it is gone on with; one that has shown them already
        is left as it is. Ctrl-C saves the state of the last step.

        Args:
            images: Real photos to show, each counted as often as it comes.

        Returns:
            The generator that was judged best; the last one without a judge.

        Raises:
            UsageError: The request cannot work, and what would: too few or too large
                photos, too little memory, other classes than the networks have.
            DataRefused: The photos are all the same, or are no photos.
            StateMismatch: The folder holds another training: what differs is named.
            StoreError: The disk is full; the same call goes on.
        """
        ranks = self._ranks()
        out = ranks.told(self.out or _free_folder())
        source = self._source(ranks)
        try:
            plan = self._plan(source, images, ranks)
            notes = [*plan.warned, *plan.said]
            if ranks.is_first:
                for line in notes:
                    _log.warning(line)
            task = self._task(source, images, plan.levers, ranks)
            loop = Loop(
                task, source, self._all_watchers(images),
                out=out, total=images, rows=self.batch_size, ranks=ranks,
                identity=self._identity(source), save_every=self.save_every,
                notes=notes,
            )  # fmt: skip
            loop.resume()
            self.out = out  # where the next call goes on
            loop.run()
            ranks.told(None)  # the first has written before another opens
        finally:
            source.close()
        return self._opened(out)

    def resume(self, dir: str | Path) -> Self:  # noqa: A002  # its public name
        """Go on with the training that a folder holds, at the next :meth:`train`.

        Args:
            dir: Folder of the training.

        Raises:
            UsageError: It holds none.
        """
        folder = folder_of(dir)
        if folder is None or not has_state(folder):
            raise UsageError(f"{folder} holds no training: there is no state/ in it")
        self.out = folder
        return self

    def plan(self, images: int, *, probe: bool = True) -> Plan:
        """Return what a training would take, without beginning it.

        Args:
            images: Real photos to show.
            probe: Make four steps of copies of the networks, to tell the time.

        Raises:
            UsageError: See :meth:`train`.
            DataRefused: See :meth:`train`.
        """
        ranks = self._ranks()
        source = self._source(ranks)
        try:
            plan = self._plan(source, images, ranks)
            return with_time(plan, self._probed(source, plan, ranks)) if probe else plan
        finally:
            source.close()

    def _ranks(self) -> Ranks:
        ranks = Ranks()
        if self.batch_size % ranks.world:
            raise UsageError(
                f"batch_size counts the rows of all ranks: {self.batch_size} does not"
                f" go into {ranks.world} ranks"
            )
        return ranks

    def _source(self, ranks: Ranks) -> Source:
        shapes = self.shapes
        if _is_source(self.data):
            return self._fitting(self.data)
        conditional = self.conditional
        if conditional is None and shapes.classes is not None:
            conditional = shapes.classes > 0
        windows = self.windows
        if shapes.places and windows is None:
            windows = True
        source = open_source(
            self.data, size=shapes.size, channels=shapes.channels,
            conditional=conditional, batch_size=self.batch_size,
            seed=self.options.seed, held_out=self.held_out,
            num_workers=self.num_workers, windows=windows, scales=self.scales,
            rank=ranks.rank, world_size=ranks.world,
        )  # fmt: skip
        return self._fitting(source)

    def _fitting(self, source: Source) -> Source:
        """Return a source that the networks are made for."""
        try:
            check_conditions(
                self.generator, self.critic, self.shapes,
                classes=len(source.classes), places=source.has_places,
            )  # fmt: skip
        except UsageError:
            source.close()
            raise
        return source

    def _plan(self, source: Source, images: int, ranks: Ranks) -> Plan:
        """Return how it fits into memory; what cannot work is refused."""
        if type(images) is not int or images < 1:
            raise UsageError(f"images to show must be an integer >= 1, got {images!r}")
        warned = check_request(source)
        if source.has_places and not self.shapes.places:
            warned.append(PLACELESS)
        work = Workload(
            generator=self.generator, critic=self.critic, options=self.options,
            shapes=self.shapes, rows=self.batch_size // ranks.world,
            photos=source.photos, conditioned=bool(source.classes),
            places=source.has_places,
        )  # fmt: skip
        bf16 = self.bf16
        if bf16 is None:
            bf16 = work.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return plan_for(
            work, images=images, memory=self.memory, levers=Levers(bf16=bf16),
            may_bf16=self.bf16 is not False, warned=warned,
            workers_bytes=self.num_workers * _WORKER,
        )  # fmt: skip

    def _task(
        self,
        source: Source,
        images: int,
        levers: Levers,
        ranks: Ranks,
        networks: Networks | None = None,
    ) -> GANTask:
        generator, critic = networks or (self.generator, self.critic)
        return GANTask(
            generator, critic, self.options, latent=self.shapes.latent,
            photos=source.photos, total=images, levers=levers, ranks=ranks,
            save=partial(
                save_generator, source=source, licence=self.licence,
                options=self.options, latent=self.shapes.latent,
            ),
        )  # fmt: skip

    def _all_watchers(self, images: int) -> list[Watcher]:
        judges: list[Watcher] = []
        if isinstance(self.judge, Judge):
            judges.append(self.judge)
        elif self.judge and images >= _JUDGED:
            judges.append(Judge(seed=self.options.seed))
        return standard_watchers(
            console=self.progress,
            board=self.board,
            guard=self.guard,
            also=[*judges, *self.watchers],
        )

    def _identity(self, source: Source) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "data": source.describe(),
            "options": self.options.to_dict(),
        }

    def _opened(self, out: Path) -> ImageGenerator:
        folder = out / (BEST if (out / BEST).exists() else LAST)
        if type(self.generator) is not Generator:  # no folder holds its code
            return GANGenerator.of(self.generator, folder)
        return load(folder)

    def _probed(self, source: Source, plan: Plan, ranks: Ranks) -> float:
        """Return the seconds of an image, by steps of copies of the networks."""
        networks = copy.deepcopy((self.generator, self.critic))
        task = self._task(source, plan.images, plan.levers, ranks, networks)
        batches, numbers = source.batches(), itertools.count()
        device = next(self.generator.parameters()).device
        return seconds_per_image(
            lambda: task.step(next(batches), step=next(numbers), nimg=0),
            self.batch_size, device=device,
        )  # fmt: skip


def _is_source(data: object) -> bool:
    return hasattr(data, "batches") and hasattr(data, "reference")


def _free_folder() -> Path:
    """Return a folder of runs/ that is not there yet."""
    names = (_RUNS / f"gan-{number}" for number in itertools.count(1))
    return next(one for one in names if not one.exists())
