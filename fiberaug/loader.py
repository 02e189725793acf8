"""Batches of a streaming data set, with a position that can be saved and resumed."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from fiberaug.accounts import Accounts
from fiberaug.batching import BatchFinisher, SampleFinisher
from fiberaug.dataset import StreamingDataset
from fiberaug.demanded import OnDemand
from fiberaug.errors import UsageError
from fiberaug.gradients import announce, withdraw
from fiberaug.loading import (
    Ahead,
    EpochSetter,
    Launched,
    LoaderPass,
    batches,
    check_loader,
)
from fiberaug.ranks import same_world
from fiberaug.record import Records
from fiberaug.resolving import context_with, manifest_with, recipe_with, resolve_stage
from fiberaug.runlog import RecordLog
from fiberaug.sharing import steps
from fiberaug.transport import Builder, Message, Request, read_error
from fiberaug.workers import Workers

__all__ = ["DataLoader"]


class DataLoader:
    """Batches of a :class:`fiberaug.StreamingDataset`; arguments as torch names them.

    It is no subclass of torch's DataLoader on purpose: frameworks rebuild those and
    would split the stream a second time.

    A batch is a dict: ``image`` [B, C, H, W] (uint8, or float32 where the pipeline ends
    with Normalize), ``label`` int64 [B], ``mask`` [B, H, W], ``bboxes``,
    ``bbox_labels``, ``__key__``, ``__url__``, ``record``, and ``is_pad`` bool [B] when
    ``drop_last=False``. Padding rows repeat a sample; leave them out of losses and
    counts.

    Args:
        dataset: The data set.
        batch_size: Rows of this rank's batches.
        shuffle: Must agree with the data set's, where given.
        num_workers: Processes that make batches; 0 makes them in this one.
        collate_fn: Your own function of a list of sample dicts, in the worker.
        pin_memory: Page-locked batches, for faster copies to a GPU.
        drop_last: Drop the last, short global batch.
        timeout: Seconds to wait for a batch of a worker; 0 waits for ever.
        worker_restarts: Deaths of workers that a pass survives: workers start again and
            are asked again, so nothing is lost and nothing comes twice.
        watchdog: Seconds without any progress on a sample that is waited for after
            which its worker is ended as hung, s; 0: never. A slow worker that makes
            progress is left alone. Without workers it is a warning in the log.
        worker_init_fn: Called with the worker's number when it starts.
        multiprocessing_context: ``fork``, ``spawn``, ``forkserver`` or a context.
        prefetch_factor: Batches that each worker makes ahead; default 2.
        persistent_workers: Keep the processes between epochs.
        device: Where tensors of a batch are put; None leaves them in memory.
        collate: ``stack``, ``pad`` (with ``image_mask``) or ``list``.
        pad_to: Multiple to which ``pad`` rounds height and width up, px.
        targets: Form of boxes and points: ``list``, ``padded``, ``torchvision``,
            ``yolo``.
        output: Names of fields; batches are then tuples of these.
        gpu_transform: Operations on batches, on ``device`` or in memory: Kornia
            augmentations (one, a list, an AugmentationSequential), those of
            :mod:`fiberaug.gpu`, or the section of a recipe. Images are float there, in
            [0, 1]; a Normalize at the end of the data set's transform comes after.
        fused: Bring operations of ``gpu_transform`` together into fewer passes over the
            pixels, see :mod:`fiberaug.gpu.fused`; False runs each by itself,
            ``"triton"`` compiles passes for the GPU, where Triton is installed.
        dtype: Of images after ``gpu_transform``, such as ``torch.bfloat16``; None:
            float32.
        channels_last: Whether images lie in memory as [B, H, W, C] then.
        batch_transform: Mixes within a unit, see :mod:`fiberaug.mixes`: one, a list, or
            the section of a recipe. Mosaic and CopyPaste come before, MixUp and CutMix
            after ``gpu_transform``.
        log: Run folder for records, quarantine and manifest.

    Raises:
        UsageError: An argument is out of range or does not fit the others.
    """

    sampler = None
    generator = None

    def __init__(
        self,
        dataset: StreamingDataset,
        batch_size: int = 1,
        shuffle: bool | None = None,  # noqa: FBT001  # torch's argument
        *,
        num_workers: int = 0,
        collate_fn: Callable[[list[dict[str, Any]]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_restarts: int = 0,
        watchdog: float = 120.0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,  # noqa: ANN401  # a name or a context, as torch
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        device: str | torch.device | None = None,
        collate: str = "stack",
        pad_to: int = 32,
        targets: str = "list",
        output: Sequence[str] | None = None,
        gpu_transform: Any = None,  # noqa: ANN401  # see the docstring
        batch_transform: Any = None,  # noqa: ANN401  # see the docstring
        fused: bool | str = True,
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
        log: str | Path | None = None,
    ) -> None:
        check_loader(
            dataset, batch_size=batch_size, shuffle=shuffle, num_workers=num_workers,
            of_workers=(persistent_workers, prefetch_factor, timeout, worker_restarts),
            worker_restarts=worker_restarts, watchdog=watchdog, targets=targets,
        )  # fmt: skip
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_workers, self.pin_memory, self.timeout = (
            num_workers,
            pin_memory,
            timeout,
        )
        self.worker_restarts, self.watchdog = worker_restarts, watchdog
        self.collate_fn, self.worker_init_fn = collate_fn, worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor, self.persistent_workers = (
            prefetch_factor,
            persistent_workers,
        )
        self.device, self.dtype, self.channels_last = device, dtype, channels_last
        dataset.serve(self)
        self.log = None if log is None else RecordLog(log, rank=dataset.rank)
        self.stage = resolve_stage(
            dataset, gpu_transform, batch_transform,
            stacks=collate == "stack" and collate_fn is None, fused=fused,
        )  # fmt: skip
        self._builder = Builder(
            dataset.setup,
            dataset.collate(mode=collate, pad_to=pad_to),
            collate_fn,
            SampleFinisher(dataset) if collate_fn is not None else None,
            self.stage,
        )
        self._finish = BatchFinisher(
            dataset, targets=targets, output=output, device=device,
            pin_memory=pin_memory, pads=not drop_last, ahead=prefetch_factor or 2,
            stage=self.stage, dtype=dtype, channels_last=channels_last,
            workers=num_workers if self.stage is not None else 0,
            context=context_with(dataset, self.stage) if self.stage else None,
        )  # fmt: skip
        self._workers: Workers | None = None
        # Weak: in a reference cycle with us torch could not end its workers at once.
        self._pass: weakref.ref[LoaderPass] | None = None
        self._pending: tuple[int, int] | None = (0, 0)
        self._epoch = self._position = 0
        self._share = 0, 1  # rank and world size of the pass
        self.end_of_dataloader, self.remainder = False, -1  # for Accelerate
        self._logging = False
        self._demanded = OnDemand(dataset.mixture)
        self._accounts = Accounts(
            dataset.plan,
            dataset.max_errors,
            self.log,
            dataset.mixture,
            dataset.origins,
        )

    def __len__(self) -> int:
        """Return the batches of an epoch, equal on all ranks.

        Raises:
            TypeError: The shards have no index.
        """
        positions = self.dataset.positions(self.epoch)
        return steps(positions, self._global_batch, drop_last=self.drop_last)

    @property
    def rank(self) -> int:
        """This process's rank: the data set's, else that of torch.distributed."""
        return self.dataset.rank

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.dataset.world_size

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self.world_size

    @property
    def batch_sampler(self) -> "EpochSetter":
        """Its ``sampler`` is this loader: where Lightning looks for ``set_epoch``."""
        return EpochSetter(self)

    @property
    def epoch(self) -> int:
        """The epoch that runs, or that the next pass will be."""
        return self._pending[0] if self._pending is not None else self._epoch

    def __iter__(self) -> LoaderPass:
        """Return a pass; nothing starts before its first batch is asked for."""
        return LoaderPass(self)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass ``epoch``, from its start; a resume of it is kept.

        A pass that is running goes on.
        """
        if epoch < 0:
            raise UsageError(f"epoch must be >= 0, got {epoch}")
        kept = not self._running and self._pending is not None
        if self.dataset.train and not (kept and self._pending[0] == epoch):  # type: ignore[index]
            self._pending = epoch, 0

    @property
    def _running(self) -> bool:
        run = self._pass() if self._pass is not None else None
        return run is not None and run.running

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the batch just yielded, equal on all ranks.

        JSON of under 4 KB: ``v, plan, fingerprint, recipe, epoch, position``.
        """
        now = self._epoch, self._position
        if not self._running and self._pending is not None:
            now = self._pending
        return self._state(*now)

    def _state(self, epoch: int, position: int) -> dict[str, Any]:
        state = self.dataset.state(epoch, position)
        return {**state, "recipe": recipe_with(self.dataset, self.stage)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on where ``state`` was taken.

        Workers, ranks and batch size may differ from then.

        Raises:
            StateMismatch: The state belongs to other data, another plan or recipe.
        """
        pending = self.dataset.read_state(state, self._state(0, 0))
        self._stop_pass()
        self._pending = pending

    def stats(self) -> dict[str, float]:
        """Return figures since the first batch was asked for.

        ``images_per_s``; ``wait_s`` spent waiting for batches; ``decode_s`` and
        ``augment_s`` summed over workers; ``queue_fill``, the share of batches that
        were ready when asked for; ``quarantined``, distinct broken samples of this
        epoch, ``quarantined_shards``, damaged shards that it goes without. Of each
        source of a mix, and of ``real``: ``share/<source>`` of this rank's rows, and
        ``asked/<source>``, the share that was asked for over the same batches;
        ``late``, rows whose sample an online generator had not made in time.
        """
        return self._accounts.stats()

    def close(self) -> None:
        """End worker processes and finish the log; the loader can be used again."""
        self._stop_pass()
        self.stop_workers()
        self._finish.close()
        self._demanded.close()
        if self.log is not None:
            self.log.close()
            self._logging = False

    def stop_workers(self) -> None:
        """End worker processes; the next pass starts new ones."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def __enter__(self) -> Self:
        """Return the loader."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the loader."""
        self.close()

    def begin(self, run: LoaderPass) -> tuple[int, Iterator[Launched]]:
        """Start a pass: fix epoch and position, start workers."""
        self._stop_pass()
        self._pass = weakref.ref(run)
        if self._pending is None:  # the last pass was broken off
            self._pending = self._epoch + 1 if self.dataset.train else 0, 0
        self._epoch, self._position = self._pending
        self._pending = None
        self._share = self.dataset.share
        announce(self)
        self.end_of_dataloader = False
        self._accounts.start()
        if self.log is not None and not self._logging:
            self.log.of_rank(self._share[0])
            self.log.start(manifest_with(self.dataset, self.stage))
            self._logging = True
        if self._workers is None:
            self._workers = Workers(
                self._builder, self.num_workers, self._options(),
                watchdog_s=self.watchdog, restarts=self.worker_restarts,
            )  # fmt: skip
        self._demanded.start(self._epoch, self._position)
        messages = self._workers.run(self._requests(self._epoch, self._position))
        depth = 2 if self.stage is not None and self._finish.stream.beside else 1
        return self._epoch, Ahead(messages, partial(self._launch, self._epoch), depth)

    def _launch(self, epoch: int, message: Message) -> tuple[Records | None, Any, Any]:
        """Begin to make a batch; on a GPU it goes on beside the user's work."""
        with self._finish.stream():
            records = self._finish.records(message, epoch)
            batch = self._finish(message, records, self._builder.engine.finish)
        return records, batch, self._finish.stream.mark()

    def _stop_pass(self) -> None:
        run = self._pass() if self._pass is not None else None
        if run is not None:
            run.stop()
        withdraw(self)
        self._pass = None

    def _options(self) -> dict[str, Any]:
        options = {
            "worker_init_fn": self.worker_init_fn,
            "multiprocessing_context": self.multiprocessing_context,
            "persistent_workers": self.persistent_workers,
            "timeout": self.timeout,
        }
        if self.prefetch_factor is not None:
            options["prefetch_factor"] = self.prefetch_factor
        return options

    def _requests(self, epoch: int, first: int) -> Iterator[Request]:
        plan, size = self.dataset.plan, self.batch_size * self._share[1]
        end = self.dataset.positions(epoch) if plan.counts is not None else None
        request = Request(epoch, first, size, *self._share, self.drop_last)
        return batches(request, end)

    def receive(self, epoch: int, messages: Iterator[Launched]) -> Any:  # noqa: ANN401
        """Return the next batch of a pass. For :class:`LoaderPass`.

        Raises:
            StopIteration: The pass is complete.
            FiberAugError: A sample, a shard or a worker failed.
        """
        same_world(self._share, self.dataset.share)
        message, waited, made, error = next(messages)
        if message is not None:
            self._accounts.spend(message)
        if message is None or message.over:
            self._accounts.report(epoch)
            if self._pending is None:
                self._pending = (epoch + 1 if self.dataset.train else 0), 0
            if self.log is not None:
                self.log.close()
                self._logging = False
            withdraw(self)
            raise StopIteration
        if message.error is not None:
            raise read_error(message.error)
        if error is not None:
            raise error
        records, batch, event = made
        self._demanded.confirm(message)
        self._accounts.add(message, waited, epoch=epoch, first=self._position)
        if self.log is not None and records is not None:
            pads = [pad for pad in message.is_pad for _ in range(message.views)]
            lines = records.texts()
            self.log.write(t for t, pad in zip(lines, pads, strict=True) if not pad)
        self._finish.stream.hand_over(batch, event)
        self._note_end(message.end)
        return batch

    def _note_end(self, end: int) -> None:
        plan, size = self.dataset.plan, self.batch_size * self._share[1]
        n = self.dataset.positions(self._epoch) if plan.counts is not None else 0
        rows, self._position = end - self._position, end
        self.remainder = 0 if rows == size else rows
        left = n - end if plan.counts is not None else size
        self.end_of_dataloader = left < size if self.drop_last else left <= 0
