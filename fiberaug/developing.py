"""The consumer's half of mixes and batch operations: the pixels.

Images come as uint8 from the worker, go to the device as such, and become float there.
On a GPU all of it runs on one stream of its own, beside the training step.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from fiberaug.augment.normalize import Finish
from fiberaug.collate import Ragged
from fiberaug.gpu.program import Program
from fiberaug.gpu.running import Drawn
from fiberaug.staging import BatchStage, Blending
from fiberaug.transport import Message

__all__ = ["Developer", "SideStream"]


class SideStream:
    """Where the pixels of batches are made: beside the user's work, or in its midst.

    Args:
        device: Where tensors are put; None leaves them in memory.
    """

    def __init__(self, device: str | torch.device | None) -> None:
        self.device = torch.device("cpu" if device is None else device)
        self._stream: torch.cuda.Stream | None = None

    @property
    def beside(self) -> bool:
        """Whether work here goes on beside the user's."""
        return self.device.type == "cuda"

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Give what is called within to the stream."""
        if not self.beside:
            yield
            return
        if self._stream is None:
            stream: Any = torch.cuda.Stream
            self._stream = stream(self.device)
        with torch.cuda.stream(self._stream):
            yield

    def mark(self) -> "torch.cuda.Event | None":
        """Return what stands for all that was given to the stream so far."""
        if self._stream is None:
            return None
        event: torch.cuda.Event = self._stream.record_event()
        return event

    def hand_over(self, batch: Any, event: "torch.cuda.Event | None") -> None:  # noqa: ANN401
        """Let the user's stream wait for a batch, and the memory for that stream."""
        if event is None:
            return
        current = torch.cuda.current_stream(self.device)
        current.wait_event(event)
        for tensor in _tensors(batch):
            if tensor.is_cuda:
                tensor.record_stream(current)


class Developer:
    """Does to a batch what its message says was drawn.

    Args:
        stage: Mixes and batch operations.
        stream: Where to do it.
        dtype: Of the images that come out. None: float32, where they are floats.
        channels_last: Whether they lie in memory as [B, H, W, C].
    """

    def __init__(
        self,
        stage: BatchStage,
        stream: SideStream,
        *,
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
    ) -> None:
        self._stage, self._stream, self._dtype = stage, stream, dtype
        self._format = torch.channels_last if channels_last else None

    def before(self, finish: Finish) -> Finish:
        """Return what is done to images before this: no normalisation."""
        if self._stage.program is None:
            return finish
        return Finish(
            images=finish.images,
            normalized=finish.normalized - {"image"},
            table=finish.table,
        )

    def __call__(
        self,
        batch: dict[str, Any],
        message: Message,
        drawn: Drawn | None,
    ) -> dict[str, Any]:
        """Return the batch, augmented, normalised and blended, on its device.

        Args:
            batch: Fields by name; images and masks as tensors.
            message: What came with them.
            drawn: Parameters of batch operations.
        """
        batch = dict(batch)
        image = self._moved(batch["image"])
        program = self._stage.program
        if program is not None and drawn is not None:
            # Blends work on float32, and say what comes out.
            last = message.blending is None
            image = program.run(
                image,
                drawn,
                dtype=self._dtype if last else None,
                memory_format=self._format if last else None,
            )
            for name in ("mask", "masks"):
                if program.moves and batch.get(name) is not None:
                    batch[name] = self._masks(batch[name], program, drawn)
        if message.blending is not None:
            image = self._blended(image, batch, message.blending)
        batch["image"] = self._laid(image)
        return _without_partners(batch, message)

    def _laid(self, image: torch.Tensor) -> torch.Tensor:
        """Return images as they were asked for; as they are, where they are so."""
        form = torch.preserve_format if self._format is None else self._format
        return image.to(self._dtype or image.dtype, memory_format=form)

    def _moved(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self._stream.device, non_blocking=True)

    def _masks(self, masks: Any, program: Program, drawn: Drawn) -> Any:  # noqa: ANN401
        """Return masks after the operations; a list of them has any number a row."""
        owners = None
        if isinstance(masks, list):
            counts = [len(row) for row in masks]
            if not sum(counts):
                return self._empty(masks, program, drawn)
            owners = [row for row, count in enumerate(counts) for _ in range(count)]
            flat = torch.cat([row for row in masks if len(row)])
        else:
            flat = masks
        planes = self._moved(flat).float()[:, None]
        made = program.run_mask(planes, drawn, owners)[:, 0].round().to(flat.dtype)
        return made if owners is None else list(torch.split(made, counts))

    @staticmethod
    def _empty(masks: list[torch.Tensor], program: Program, drawn: Drawn) -> Any:  # noqa: ANN401
        probe = torch.zeros((1, 1, *masks[0].shape[-2:]))
        size = program.run_mask(probe, drawn, [0]).shape[-2:]
        return [row.new_zeros((0, *size)) for row in masks]

    def _blended(
        self, image: torch.Tensor, batch: dict[str, Any], blending: Blending
    ) -> torch.Tensor:
        mix = self._stage.blends[0]
        partners, draws = torch.tensor(blending.partners), blending.draws
        mask = batch.get("mask")
        if isinstance(mask, torch.Tensor):
            batch["mask"] = mix.blend_mask(mask, partners, draws)
        return mix.blend(image, partners, draws)


def _without_partners(batch: Mapping[str, Any], message: Message) -> dict[str, Any]:
    if not message.partners:
        return dict(batch)
    rows = len(message.keys)
    found = {}
    for name, value in batch.items():
        keep = rows * message.views if name in message.per_view else rows
        if isinstance(value, Ragged):
            ends = value.ends[:keep]
            found[name] = Ragged(value.flat[: ends[-1] if ends else 0], ends)
        else:
            found[name] = value[:keep]
    return found


def _tensors(value: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401  # a batch
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)
