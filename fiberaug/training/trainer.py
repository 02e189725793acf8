"""What trainers have in common: data, a plan, the loop, a folder."""

import copy
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import nn

from fiberaug.allocator import give_back_at_once
from fiberaug.errors import UsageError
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.training.arguments import check_arguments, folder_of, put_on
from fiberaug.training.contracts import Source, Watcher
from fiberaug.training.feeding import open_source
from fiberaug.training.judging import Judge
from fiberaug.training.levers import Levers
from fiberaug.training.loop import BEST, LAST, Loop
from fiberaug.training.plans import Plan, Workload, plan_for, with_time
from fiberaug.training.probing import seconds_per_image
from fiberaug.training.ranking import Ranks
from fiberaug.training.refusals import check_request
from fiberaug.training.states import has_state
from fiberaug.training.tasks import NetworksTask
from fiberaug.training.watching import standard_watchers

__all__ = ["Options", "Trainer"]

_RUNS = Path("runs")
_JUDGED = 10_000  # images: a shorter training would wait for its judge
_WORKER = 250 * 10**6  # bytes of a process that reads photos
_LOOKED_AT, _LOOK_SHARE = 100, 0.05  # samples of a look; of the time, at most
_log = logging.getLogger("fiberaug")


class Options(Protocol):
    """How a task trains."""

    @property
    def seed(self) -> int:
        """Of everything drawn."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        ...


class Trainer(ABC):
    """Trains networks on photos, within the memory that there is.

    Args:
        networks: By name; they are trained in place.
        data: See :class:`fiberaug.training.GANTrainer`, as of all that follows.
        options: How the task trains.
        memory: Most that the training may use.
        out: Folder of the training.
        batch_size: Images of a step, over all ranks.
        device: Where the networks are put.
        conditional: Whether images are made by class.
        held_out: Share of the photos that is never trained on.
        windows: Whether windows of photos are trained on.
        scales: Least and most photo px per window px.
        num_workers: Processes that read photos.
        bf16: Convolutions in bfloat16.
        judge: Whether, or who, looks at the quality.
        guard: End a training that learns nothing more.
        board: Write for TensorBoard, too.
        progress: Show how far it is.
        watchers: The user's own.
        save_every: Images between two states.
        licence: Of what is generated.

    Raises:
        UsageError: An argument is out of range.
    """

    fewest_rows: ClassVar[int] = 2
    """Images that a step can have."""

    kind: ClassVar[str]
    sample_cost: ClassVar[float]
    """See :class:`fiberaug.training.contracts.Task`."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        data: Any,  # noqa: ANN401  # see the docstring
        *,
        options: Options,
        memory: int | str | None,
        out: str | Path | None,
        batch_size: int,
        device: str | torch.device | None,
        conditional: bool | None,
        held_out: float,
        windows: bool | None,
        scales: tuple[float, float] | None,
        num_workers: int,
        bf16: bool | None,
        judge: bool | Judge,
        guard: bool,
        board: bool,
        progress: bool,
        watchers: Sequence[Watcher],
        save_every: int | None,
        licence: str | None,
    ) -> None:
        check_arguments(
            batch_size=batch_size, num_workers=num_workers, save_every=save_every,
            watchers=watchers, fewest=self.fewest_rows,
        )  # fmt: skip
        self.networks, self.options = dict(networks), options
        self.out = folder_of(out)
        if device is not None:
            for one in self.networks.values():
                put_on(one, device)
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
        return self._opened(self._trained(images))

    def _trained(self, images: int) -> Path:
        """Train, and return the folder of the generator; see :meth:`train`."""
        ranks = self._ranks()
        out = ranks.told(self.out or _free_folder(self.kind))
        source = self._source(ranks)
        try:
            plan = self._plan(source, images, ranks)
            notes = [*plan.warned, *plan.said]
            if ranks.is_first:
                for line in notes:
                    _log.warning(line)
            self._prepare(source, out, ranks, images)
            task = self._task(self.networks, source, images, plan.levers, ranks)
            loop = Loop(
                task, source, self._all_watchers(images),
                out=out, total=images, rows=self.batch_size, ranks=ranks,
                identity=self._identity(source), save_every=self.save_every,
                notes=notes,
            )  # fmt: skip
            loop.resume()
            if task.levers.recompute and _on_cpu(task):  # the plan counts on it
                give_back_at_once()
            self.out = out  # where the next call goes on
            loop.run()
            ranks.told(None)  # the first has written before another opens
        finally:
            source.close()
        best: Path = out / BEST
        return best if best.exists() else best.with_name(LAST)

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

    @property
    @abstractmethod
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""

    @property
    @abstractmethod
    def wants_labels(self) -> bool | None:
        """Whether the networks are made for classes; None: they do not say."""

    @property
    @abstractmethod
    def wants_places(self) -> bool:
        """Whether they take the places of windows."""

    @abstractmethod
    def _fits(self, source: Source) -> None:
        """Refuse a source that the networks cannot be run on.

        Raises:
            UsageError: They need what it has not, or are made for other classes.
        """

    @abstractmethod
    def _workload(self, source: Source, rows: int) -> Workload:
        """Return what is trained, so many rows at a time."""

    @abstractmethod
    def _task(
        self,
        networks: Mapping[str, nn.Module],
        source: Source,
        images: int,
        levers: Levers,
        ranks: Ranks,
    ) -> NetworksTask:
        """Return networks in training."""

    @abstractmethod
    def _opened(self, folder: Path) -> ImageGenerator:
        """Return the generator of a folder."""

    def _prepare(self, source: Source, out: Path, ranks: Ranks, images: int) -> None:
        """Make what a training needs beside photos, and a plan does without."""
        del source, out, ranks, images

    def _checked(self, source: Source) -> list[str]:
        """Return what a user should read of the photos; refuse what cannot work."""
        return check_request(source)

    def _copies(self) -> dict[str, nn.Module]:
        """Return networks for steps that are made to tell the time."""
        return copy.deepcopy(self.networks)

    def _source(self, ranks: Ranks) -> Source:
        if hasattr(self.data, "batches") and hasattr(self.data, "reference"):
            return self._fitting(self.data)
        conditional = self.conditional
        if conditional is None:
            conditional = self.wants_labels
        windows = self.windows
        if self.wants_places and windows is None:
            windows = True
        channels, height, width = self.image
        source = open_source(
            self.data, size=(height, width), channels=channels, conditional=conditional,
            batch_size=self.batch_size, seed=self.options.seed, held_out=self.held_out,
            num_workers=self.num_workers, windows=windows, scales=self.scales,
            rank=ranks.rank, world_size=ranks.world,
        )  # fmt: skip
        return self._fitting(source)

    def _fitting(self, source: Source) -> Source:
        """Return a source that the networks are made for."""
        try:
            self._fits(source)
        except UsageError:
            source.close()
            raise
        return source

    def _plan(self, source: Source, images: int, ranks: Ranks) -> Plan:
        """Return how it fits into memory; what cannot work is refused."""
        if type(images) is not int or images < 1:
            raise UsageError(f"images to show must be an integer >= 1, got {images!r}")
        warned = self._checked(source)
        if source.has_places and not self.wants_places:
            warned.append(_PLACELESS)
        work = self._workload(source, self.batch_size // ranks.world)
        bf16 = self.bf16
        if bf16 is None:
            bf16 = work.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return plan_for(
            work, images=images, memory=self.memory, levers=Levers(bf16=bf16),
            may_bf16=self.bf16 is not False, warned=warned,
            workers_bytes=self.num_workers * _WORKER,
        )  # fmt: skip

    def _all_watchers(self, images: int) -> list[Watcher]:
        judges: list[Watcher] = []
        if isinstance(self.judge, Judge):
            judges.append(self.judge)
        elif self.judge and images >= _JUDGED:
            judges.append(Judge(seed=self.options.seed))
        return standard_watchers(
            console=self.progress, board=self.board, guard=self.guard,
            look_every_images=_look_every(images, self.sample_cost),
            also=[*judges, *self.watchers],
        )  # fmt: skip

    def _identity(self, source: Source) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "data": source.describe(),
            "options": self.options.to_dict(),
        }

    def _probed(self, source: Source, plan: Plan, ranks: Ranks) -> float:
        """Return the seconds of an image, by steps of copies of the networks."""
        networks = self._copies()
        task = self._task(networks, source, plan.images, plan.levers, ranks)
        batches, numbers = source.batches(), itertools.count()
        device = next(next(iter(networks.values())).parameters()).device
        return seconds_per_image(
            lambda: task.step(next(batches), step=next(numbers), nimg=0),
            self.batch_size, device=device,
        )  # fmt: skip


_PLACELESS = (
    "the networks learn windows of the photos and are not told where each lies: make"
    " them with places=True (or an argument places), or give windows=False"
)


def _look_every(images: int, sample_cost: float) -> int | None:
    """Return the images between two looks at samples; None: the usual ones.

    Args:
        images: To show in all.
        sample_cost: Photos trained on in the time of a sample.
    """
    least = round(_LOOKED_AT * sample_cost / _LOOK_SHARE)
    return max(images // 40, least) if least > 2_000 else None


def _on_cpu(task: NetworksTask) -> bool:
    first = next(iter(task.modules().values()))
    return next(first.parameters()).device.type == "cpu"


def _free_folder(kind: str) -> Path:
    """Return a folder of runs/ that is not there yet."""
    names = (_RUNS / f"{kind}-{number}" for number in itertools.count(1))
    return next(one for one in names if not one.exists())
