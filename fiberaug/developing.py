"""The consumer's half of mixes and batch operations: the pixels.

Images come as uint8 from the worker, go to the device as such, and become float there.
On a GPU all of it runs on one stream of its own, beside the training step.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from fiberaug.augment.normalize import Finish
from fiberaug.collate import Ragged
from fiberaug.errors import UsageError
from fiberaug.gpu.running import Drawn
from fiberaug.machine import look
from fiberaug.staging import BatchStage, Blending
from fiberaug.transport import Message

if TYPE_CHECKING:
    from fiberaug.gpu.program import Program

__all__ = ["Developer", "SideStream"]


class SideStream:
    """Where the pixels of batches are made: beside the user's work, or in its midst.

    Args:
        device: Where tensors are put; None leaves them in memory.
        workers: Processes that work beside this one. On a CPU torch gets as many
            threads as there are CPUs without them: threads that wait for a busy CPU
            cost six times what they do.

    Raises:
        UsageError: There is no such device.
    """

    def __init__(self, device: str | torch.device | None, *, workers: int = 0) -> None:
        self.device = torch.device("cpu" if device is None else device)
        if self.beside and not torch.cuda.is_available():
            raise UsageError(
                f"device={str(device)!r}: torch finds no CUDA device here; leave device"
                " out, or install a build of torch for it"
            )
        self._stream: torch.cuda.Stream | None = None
        self._threads: int | None = None
        if workers and not self.beside:
            self._threads = max(1, int(look().cpus) - workers)

    @property
    def beside(self) -> bool:
        """Whether work here goes on beside the user's."""
        return self.device.type == "cuda"

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Give what is called within to the stream."""
        if not self.beside:
            with _threads(self._threads):
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


@contextlib.contextmanager
def _threads(most: int | None) -> Iterator[None]:
    """Let torch have at most so many threads meanwhile."""
    usual = torch.get_num_threads()
    if most is None or usual <= most:
        yield
        return
    torch.set_num_threads(most)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


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
            for name in self._stage.mask_fields if program.moves else ():
                if batch.get(name) is not None:
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

    def _masks(self, masks: Any, program: "Program", drawn: Drawn) -> Any:  # noqa: ANN401
        """Return masks after the operations.

        Args:
            masks: [B, H, W]; or for each row [H, W], [N, H, W], or None.
            program: The operations.
            drawn: What was drawn for them.
        """
        if not isinstance(masks, list):
            return self._run_masks(masks, program, drawn, None)
        there = [(row, mask) for row, mask in enumerate(masks) if mask is not None]
        planes = [mask.reshape(-1, *mask.shape[-2:]) for _, mask in there]
        owners = [row for (row, _), own in zip(there, planes, strict=True) for _ in own]
        made = list(masks)
        if owners:
            run = self._run_masks(torch.cat(planes), program, drawn, owners)
            parts = list(torch.split(run, [len(own) for own in planes]))
        else:  # as many as there were, in their new size
            parts = [
                self._run_masks(
                    own.new_zeros((1, *own.shape[1:])), program, drawn, [0]
                )[:0]
                for own in planes
            ]
        for (row, mask), part in zip(there, parts, strict=True):
            made[row] = part.reshape(*mask.shape[:-2], *part.shape[-2:])
        return made

    def _run_masks(
        self,
        masks: torch.Tensor,
        program: "Program",
        drawn: Drawn,
        owners: list[int] | None,
    ) -> torch.Tensor:
        planes = self._moved(masks).float()[:, None]
        return program.run_mask(planes, drawn, owners)[:, 0].round().to(masks.dtype)

    def _blended(
        self, image: torch.Tensor, batch: dict[str, Any], blending: Blending
    ) -> torch.Tensor:
        mix = self._stage.blends[0]
        partners, draws = torch.tensor(blending.partners), blending.draws
        mask = batch.get("mask")
        if isinstance(mask, torch.Tensor):
            batch["mask"] = mix.blend_mask(self._moved(mask), partners, draws)
        elif mask is not None:
            raise UsageError(
                f"{mix.name} mixes masks, and some samples of the batch have none: make"
                " 'mask' a field that every sample has, or leave it out",
                stage="augment",
            )
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
