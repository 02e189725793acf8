"""Feeds a Hugging Face Trainer from fiberaug loaders, also where it resumes.

A Trainer makes torch DataLoaders of data sets, which Accelerate splits, and it resumes
by making the batches of an epoch again and throwing them away. Here it gets our loaders
as they are, and a resume begins at the position in the checkpoint.
(transformers 5.24, trainer.py: ``get_train_dataloader``, ``_run_epoch``.)
"""

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import torch
from torch.utils.data import IterableDataset

from fiberaug.errors import UsageError
from fiberaug.loader import DataLoader

__all__ = ["FIELDS", "feed_trainer"]

FIELDS: Mapping[str, str] = {"pixel_values": "image", "labels": "label"}
"""What image models of transformers call the fields of a batch."""

_STATE = "LoaderState"


def feed_trainer(
    trainer: Any,  # noqa: ANN401  # transformers is optional
    train: DataLoader | None = None,
    evaluation: DataLoader | None = None,
    *,
    fields: Mapping[str, str] = FIELDS,
    ignore_index: int = -100,
) -> None:
    """Make a Trainer train on, and evaluate with, fiberaug loaders.

    Each rank gets its own part of every batch, and a run that resumes from a checkpoint
    goes on at the batch after it, without decoding what came before. Ranks and batch
    size must then be as they were, since a Trainer counts updates.

    Args:
        trainer: A ``transformers.Trainer``; it needs no ``train_dataset``.
        train: Batches of training; dicts, ``output`` is not given.
        evaluation: Batches of ``evaluate()``, of a data set with ``train=False``.
        fields: Arguments of the model, and the fields of a batch that they are.
        ignore_index: What stands in ``labels`` for padding rows, where they are int64:
            losses of transformers leave it out.

    Raises:
        UsageError: transformers is not installed.
    """
    if train is not None:
        feed = _Feed(train, fields, ignore_index, trainer)
        trainer.get_train_dataloader = lambda: feed
        trainer.add_callback(_state_keeper(train))
    if evaluation is not None:
        seen = _Feed(evaluation, fields, ignore_index, trainer)
        trainer.get_eval_dataloader = lambda _dataset=None: seen


def _state_keeper(loader: DataLoader) -> Any:  # noqa: ANN401  # a TrainerCallback
    """Return a callback that writes the loader's state into ``trainer_state.json``."""
    try:
        from transformers.trainer_callback import (  # noqa: PLC0415  # optional
            ExportableState,
            TrainerCallback,
        )
    except ImportError as error:
        raise UsageError(
            "feed_trainer() needs transformers: pip install transformers accelerate"
        ) from error

    class LoaderState(TrainerCallback, ExportableState):
        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"loader": loader.state_dict()}}

        def on_train_begin(
            self,
            args: Any,  # noqa: ANN401, ARG002
            state: Any,  # noqa: ANN401
            control: Any,  # noqa: ANN401, ARG002
            **_rest: Any,  # noqa: ANN401
        ) -> None:
            # A checkpoint of a run without us has no such entry; saving asks for it.
            state.stateful_callbacks.setdefault(_STATE, self.state())

    return LoaderState()


class _Feed:
    """A loader as a Trainer expects one."""

    num_workers = 0
    prefetch_factor = None
    batch_size = None
    sampler = None
    batch_sampler = None
    drop_last = False

    def __init__(
        self,
        loader: DataLoader,
        fields: Mapping[str, str],
        ignore_index: int,
        trainer: Any,  # noqa: ANN401
    ) -> None:
        self._loader, self._fields, self._ignore = loader, fields, ignore_index
        self._trainer = trainer
        self.dataset = _Skipped(self)
        self.rows = loader.dataset.positions(loader.epoch)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._arguments(batch) for batch in self._loader)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass ``epoch``, as our loader does."""
        self._loader.set_epoch(epoch)

    def _arguments(self, batch: Any) -> dict[str, Any]:  # noqa: ANN401
        if not isinstance(batch, dict):
            raise UsageError(
                f"the Trainer takes batches that are dicts, got {type(batch).__name__};"
                " give the loader no output= and no collate_fn= that makes another"
            )
        missing = set(self._fields.values()) - set(batch)
        if missing:
            raise UsageError(
                f"the batch has no {sorted(missing)}, it has {sorted(batch)}; give"
                " feed_trainer() fields={argument of the model: field}"
            )
        found = {name: batch[field] for name, field in self._fields.items()}
        labels, pads = found.get("labels"), batch.get("is_pad")
        if (
            pads is not None
            and isinstance(labels, torch.Tensor)
            and labels.dtype == torch.int64
        ):
            rows = pads.view(-1, *[1] * (labels.ndim - 1)).to(labels.device)
            found["labels"] = labels.masked_fill(rows, self._ignore)
        return found

    def go_on(self) -> int:
        """Make the loader go on where the Trainer resumes; return the batches before.

        Raises:
            UsageError: The checkpoint was written with other ranks or batches.
        """
        loader, state = self._loader, self._trainer.state
        micro = self._trainer.args.gradient_accumulation_steps
        updates = -(-len(loader) // micro)
        epoch, update = divmod(state.global_step, updates)
        position = update * micro * loader.batch_size * loader.world_size
        kept = state.stateful_callbacks.get(_STATE, {}).get("attributes", {})
        saved = kept.get("loader") or loader.dataset.state(epoch, position)
        if (saved["epoch"], saved["position"]) != (epoch, position):
            raise UsageError(
                f"the checkpoint was written at sample {saved['position']} of epoch"
                f" {saved['epoch']}, and the Trainer goes on at sample {position} of"
                f" epoch {epoch}, since it counts updates: resume with as many ranks,"
                " the same batch size and gradient_accumulation_steps"
            )
        loader.load_state_dict(saved)
        return int(update * micro)


class _Skipped(IterableDataset[Any]):
    """The batches of a pass of which Accelerate leaves out the first, unmade.

    ``skip_first_batches``, which a Trainer resumes with, makes a loader of ``dataset``
    that throws them away; they are None here.
    """

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed

    def __len__(self) -> int:
        return self._feed.rows

    def __iter__(self) -> Iterator[Any]:
        yield from repeat(None, self._feed.go_on())
        yield from self._feed
