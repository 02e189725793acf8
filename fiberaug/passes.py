"""A pass of a plain torch DataLoader: which epoch it is, and what a worker yields.

torch does not tell the data set in the main process that a pass begins, and a worker
may be a new process in every pass. So the workers agree through one shared word: the
first to begin a pass raises the epoch, the others find the pass there. Every write is
one aligned 64-bit store of a value that all workers of the pass compute alike.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self
from weakref import ref

import torch
from torch.utils.data import get_worker_info

from fiberaug.budget import SharedBudget
from fiberaug.collate import finish_fields
from fiberaug.engine import Engine
from fiberaug.errors import StateMismatch, UsageError
from fiberaug.jobs.crew import end_with_parent
from fiberaug.making import Failure, Made
from fiberaug.mix import REAL
from fiberaug.sharing import rank_range, worker_batches

if TYPE_CHECKING:
    from fiberaug.dataset import StreamingDataset

__all__ = ["PassControl", "PlainPass", "finished"]

_EPOCH_BITS, _PASS_BITS, _SESSION_BITS = 24, 16, 23  # of the 63 that torch has
_EPOCHS = 2**_EPOCH_BITS - 1
_MOST_EPOCHS = _EPOCHS - 1
_MOST_PASSES = 2**_PASS_BITS - 1


class PassControl:
    """The word that passes share.

    It names the latest pass that began, as the session (torch's base seed: one for each
    set of worker processes) and the number of the pass in that session, and its epoch.
    A worker that begins a pass finds its own epoch as a difference of pass numbers, in
    whatever order the workers of this and of a pass that was broken off come.

    Args:
        fixed: Every pass is epoch 0.
        budget: Where all workers count broken samples.
    """

    def __init__(self, *, fixed: bool, budget: SharedBudget | None = None) -> None:
        # [session << 40 | pass << 24 | epoch + 1, position to resume at, who resumed]
        words = torch.zeros(3, dtype=torch.int64)
        self._words = words.share_memory_()  # type: ignore[no-untyped-call]
        self._fixed = fixed
        self._begun = 0
        self.budget = budget
        self.serves = False
        self._loaders: list[ref[Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave our loaders where they are."""
        return {**self.__dict__, "_loaders": []}

    def serve(self, loader: Any) -> None:  # noqa: ANN401  # our loader, a floor above
        """Hand on the epoch to ``loader``, as long as it lives."""
        self._loaders = [there for there in self._loaders if there() is not None]
        self._loaders.append(ref(loader))
        self.serves = True

    def set_epoch(self, epoch: int) -> None:
        """Make ``epoch`` the next pass's; keeps a pending resume of the same epoch."""
        self._make_next(epoch)
        for there in self._loaders:
            loader = there()
            if loader is not None:
                loader.set_epoch(epoch)

    def _make_next(self, epoch: int) -> None:
        if not 0 <= epoch <= _MOST_EPOCHS:
            raise UsageError(f"epoch must be in [0, {_MOST_EPOCHS}], got {epoch}")
        if int(self._words[0]) != epoch or int(self._words[2]):
            self._words[1] = self._words[2] = 0
        self._words[0] = epoch

    def resume(self, epoch: int, position: int) -> None:
        """Make the next pass begin at ``position`` of ``epoch``."""
        self._make_next(epoch)
        self._words[1], self._words[2] = position, 0

    @property
    def upcoming(self) -> int:
        """The epoch of the pass that begins next."""
        return 0 if self._fixed else int(self._words[0]) & _EPOCHS

    def begin(self) -> tuple[int, int]:
        """Return (epoch, first position) of the pass that begins in this process."""
        self._begun += 1
        session, number = self._session(), self._begun & _MOST_PASSES
        word = int(self._words[0])
        mine = session << _PASS_BITS | number
        epoch = word & _EPOCHS
        if word >> _PASS_BITS + _EPOCH_BITS == session:
            ahead = number - (word >> _EPOCH_BITS & _MOST_PASSES)
            half = 2 ** (_PASS_BITS - 1)  # the number of the pass wraps around
            ahead = (ahead + half & _MOST_PASSES) - half
            epoch = (word & _EPOCHS) - 1 + ahead
        if epoch >= word & _EPOCHS:  # this process is the first of its pass
            self._words[0] = mine << _EPOCH_BITS | epoch + 1
        start = 0
        if int(self._words[1]) and int(self._words[2]) in {0, mine}:
            self._words[2] = mine
            start = int(self._words[1])
        return 0 if self._fixed else epoch, start

    def adopt(self, epoch: int) -> None:
        """Say that the pass that this process has begun last is ``epoch``.

        All workers of a pass that is restored say so, with the same epoch.
        """
        mine = self._session() << _PASS_BITS | self._begun & _MOST_PASSES
        self._words[0] = mine << _EPOCH_BITS | epoch + 1
        self._words[1] = self._words[2] = 0

    @staticmethod
    def _session() -> int:
        worker = get_worker_info()
        name = str(worker.seed - worker.id) if worker else "main"
        digest = blake2b(name.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> (65 - _SESSION_BITS) | 1


def finished(
    dataset: "StreamingDataset", engine: Engine, made: Made, epoch: int
) -> dict[str, Any]:
    """Return a sample as a plain torch DataLoader collates it.

    With several views its changed fields are stacked [V, ...] where their shapes are
    equal, else listed, and ``record`` is a JSON list.
    """
    views = [finish_fields(fields, engine.finish) for fields, _ in made.views()]
    sample = views[0]
    if made.more:
        for name in engine.per_view(sample):
            sample[name] = _stacked([view[name] for view in views])
    sample["__key__"], sample["__url__"] = made.packed.key, made.url
    if dataset.origins:
        sample["__source__"] = made.packed.origin or REAL
    if dataset.record != "none":
        context = dataset.context(epoch)
        texts = [context.to_json(packed) for _, packed in made.views()]
        sample["record"] = f"[{','.join(texts)}]" if made.more else texts[0]
    sample["is_pad"] = made.is_pad
    return sample


def _stacked(values: list[Any]) -> Any:  # noqa: ANN401  # tensors, or what views hold
    shapes = {getattr(value, "shape", None) for value in values}
    if len(shapes) == 1 and shapes != {None}:
        return torch.stack(values)
    return values


@cache
def _end_with_parent() -> None:
    """End this worker with its parent, also where it is blocked; once a process."""
    end_with_parent()


class PlainPass(Iterator[dict[str, Any]]):
    """This worker's samples of one epoch, in batches of the loader's size.

    Args:
        dataset: The data set.
        control: Which epoch it is.
    """

    def __init__(self, dataset: "StreamingDataset", control: PassControl) -> None:
        self._dataset, self._control = dataset, control
        self._rows: Iterator[dict[str, Any]] | None = None
        self._error: Exception | None = None
        worker = get_worker_info()
        self._worker, self._workers = (
            (worker.id, worker.num_workers) if worker else (0, 1)
        )
        if worker:
            _end_with_parent()
        # In a worker the pass begins now, as torch's main process has begun it; here
        # only with the first sample, since frameworks probe loaders with a discarded
        # iter().
        self._begun = control.begin() if worker else None
        self._done = 0  # rows of this pass that were yielded

    def __iter__(self) -> Self:
        """Return the pass itself."""
        return self

    def __next__(self) -> dict[str, Any]:
        """Return the next sample.

        Raises:
            UsageError: There are several workers and the batch size is not known.
        """
        if self._error is not None:
            raise self._error
        try:
            if self._rows is None:
                self._dataset.refuse_second_split()
                self._dataset.refuse_sections("a plain torch DataLoader")
                self._rows = self._run(*self._begin(), self._done)
            row = next(self._rows)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise
        self._done += 1
        return row

    def _begin(self) -> tuple[int, int]:
        if self._begun is None:
            self._begun = self._control.begin()
        return self._begun

    def state_dict(self) -> dict[str, Any]:
        """Return where this worker is, for torchdata's StatefulDataLoader.

        ``position`` is where the pass began, ``rows`` what this worker has yielded
        since, padding included.
        """
        epoch, start = self._begin()
        state = self._dataset.state(epoch, start)
        return state | {"rows": self._done, "split": self._split()}

    def _split(self) -> dict[str, int | None]:
        return {
            "workers": self._workers,
            "world_size": self._dataset.world_size,
            "batch_size": self._dataset.batch_size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state of the same worker was taken; nothing is made again.

        Raises:
            StateMismatch: It belongs to other data, another plan or recipe, or to other
                workers, ranks or batches.
        """
        begun = self._dataset.read_state(state)
        split = state.get("split")
        if split != self._split():
            raise StateMismatch(
                f"the state of a torch DataLoader belongs to {split}, here it is"
                f" {self._split()}; a state of fiberaug.DataLoader moves between them"
            )
        self._begin()
        self._begun, self._done = begun, int(state["rows"])
        self._rows = None
        self._control.adopt(begun[0])

    def _spend(
        self, engine: Engine, failures: tuple[Failure, ...], epoch: int, end: int
    ) -> None:
        """Count broken samples, together with the other workers.

        Raises:
            BudgetExceeded: There are too many; the main process raises it, too.
        """
        failures = (*failures, *engine.lost.news())
        if failures and self._control.budget is not None:
            counts = self._dataset.plan.counts
            self._control.budget.spend(
                failures,
                epoch=epoch,
                share=self._dataset.max_errors,
                samples=end if counts is None else self._dataset.plan.n,
            )

    def _run(self, epoch: int, start: int, done: int) -> Iterator[dict[str, Any]]:
        dataset = self._dataset
        if dataset.batch_size is None and self._workers > 1:
            raise UsageError(
                "a torch DataLoader with several workers does not tell them its batch"
                " size: give the data set batch_size= too (this rank's), or use"
                " fiberaug.DataLoader"
            )
        engine = Engine(dataset.setup)
        rank, world = dataset.share
        size = (dataset.batch_size or 1) * world
        order = engine.order(epoch)
        batches, rows = divmod(done, size // world)
        for k in worker_batches(2**62, self._worker, self._workers)[batches:]:
            first = start + k * size
            end = order.reach(first + size)
            self._spend(engine, (), epoch, end)
            if end <= first:
                return
            positions, pads = rank_range(end, size, 0, rank, world, first)
            pads -= max(0, rows - len(positions))
            for position in positions[rows:]:
                made = engine.deliver(epoch, position)
                self._spend(engine, made.failures, epoch, end)
                yield finished(dataset, engine, made, epoch)
            for _ in range(pads):
                made = engine.deliver(epoch, end - 1, pad=True)
                yield finished(dataset, engine, made, epoch)
            rows = 0
