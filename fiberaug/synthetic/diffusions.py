"""A trained diffusion model as a maker of images: the same image from the same seed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import DataRefused, UsageError
from fiberaug.models.latents import to_levels
from fiberaug.models.unet import UNet
from fiberaug.models.unet_config import UNetConfig
from fiberaug.synthetic.denoisers import MOST_NUMBERS, Denoiser, Told
from fiberaug.synthetic.diffusion_asking import Asked, Asking
from fiberaug.synthetic.diffusion_folders import (
    OWN,
    SHIPPED,
    DiffusionFile,
    fill_weights,
    hash_weights,
    read_diffusion_file,
    save_diffusion,
)
from fiberaug.synthetic.gan_places import Frames
from fiberaug.synthetic.noises import generators_of, noise_of
from fiberaug.synthetic.samplers import SAMPLERS, Start, denoise, make_sampler
from fiberaug.synthetic.sampling import Sampling

__all__ = ["DiffusionGenerator", "open_diffusion", "refuse_own"]

_ROWS = 16
_MOST_VALUES = 2**28  # of the largest level at a time: 1 GiB


class DiffusionGenerator:
    """Makes images from seeds with a denoising network.

    An image depends on its seed, label, conditions, sampler, steps and guidance alone,
    to the last bit: images are made ``rows`` at a time, the last ones filled up, so
    that each is computed by the same operations on tensors of the same shape, whatever
    the batch; its noise is drawn on the CPU, of its seed alone. Another number of
    threads, another machine or a GPU may round otherwise.

    Args:
        unet: :class:`fiberaug.models.UNet`, or a module of your own: ``forward(images,
            times)``, with ``labels``, ``context`` and ``places`` where it takes them,
            gives v of the schedule of :mod:`fiberaug.synthetic.samplers`. A label one
            beyond the last class is to stand for no class.
        classes: Class names by label.
        notes: What should be known of it, fit for JSON: ``licence``, ``trained_on``
            (a fingerprint), ``scales`` (least and most photo px per window px).
        device: Where it is put. None: it stays where it is.
        rows: Images that are made at a time. None: 16, or 1 where they are large.
        sampler: ``dpmsolver++``, ``unipc``, ``ddim``, or ``ddpm``, which needs most
            steps. As the other two, what is done where nothing else is asked for.
        steps: From noise to image, 1 to 1,000.
        guidance: 0 to 100; 1: as trained; more: more typical of its class.
        shape: (channels, height, width) of the images of a module of your own.

    Raises:
        UsageError: An argument is out of its range, there are other classes than the
            network is made for, or diffusers is not installed.
    """

    def __init__(
        self,
        unet: nn.Module,
        *,
        classes: Sequence[str] = (),
        notes: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
        rows: int | None = None,
        sampler: str = "dpmsolver++",
        steps: int = 20,
        guidance: float = 1.0,
        shape: Sequence[int] | None = None,
    ) -> None:
        self.sampling = Sampling(sampler=sampler, steps=steps, guidance=guidance)
        self.unet = unet.eval()
        if device is not None:
            unet.to(device)
        self.classes = tuple(classes)
        self.notes = dict(notes or {})
        self._denoiser = Denoiser.of(unet, shape, len(self.classes))
        self._asking = Asking(
            denoiser=self._denoiser, frames=Frames.of(self.notes),
            sampling=self.sampling, classes=self.classes,
        )  # fmt: skip
        self.rows = self._some_rows() if rows is None else rows
        numbers = int(np.prod(self._denoiser.shape))
        if type(self.rows) is not int or not 1 <= self.rows <= MOST_NUMBERS // numbers:
            raise UsageError(
                f"rows must be an integer from 1 to {MOST_NUMBERS // numbers}, got"
                f" {rows!r}"
            )

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device | None = None,
        rows: int | None = None,
    ) -> Self:
        """Return the generator that :meth:`save` wrote.

        Args:
            folder: It may come from a stranger: nothing in it is run, and of what
                diffusers wrote nothing but weights is read.
            device: Where it computes. None: on a GPU where there is one.
            rows: See the class.

        Raises:
            UsageError: It is of a network of your own: use :meth:`of`.
            DataRefused: It is broken, or asks for more than is allowed.
            StateMismatch: Its weights are of another architecture than it says.
            StoreError: It cannot be read.
        """
        file = read_diffusion_file(Path(folder))
        if file.config is None:
            _refuse(Path(folder), file)
        unet = _empty(Path(folder), file.config)
        fill_weights(unet, Path(folder), file)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls._of_file(unet, file, device, rows)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        folder: str | Path,
        *,
        device: str | torch.device | None = None,
        rows: int | None = None,
    ) -> Self:
        """Return a generator with the weights of a folder in a module of yours.

        Args:
            module: Its weights are replaced.
            folder: What :meth:`save` wrote for such a module.
            device: See the class.
            rows: See the class.

        Raises:
            DataRefused: The folder is broken, or of another kind of module.
            StateMismatch: Its weights are of another architecture.
            StoreError: It cannot be read.
        """
        file = read_diffusion_file(Path(folder))
        fill_weights(module, Path(folder), file)
        return cls._of_file(module, file, device, rows)

    @classmethod
    def _of_file(
        cls,
        module: nn.Module,
        file: DiffusionFile,
        device: str | torch.device | None,
        rows: int | None,
    ) -> Self:
        return cls(
            module, classes=file.classes, notes=file.notes, device=device, rows=rows,
            shape=file.shape, **file.sampling.to_dict(),
        )  # fmt: skip

    def save(self, folder: str | Path) -> Path:
        """Write weights and ``generator.json`` into a folder, and return it.

        :func:`fiberaug.load` opens it, and so does
        ``ClassConditionalPipeline.from_pretrained`` where the network takes neither
        context nor places. One of a module of your own is opened by :meth:`of`.

        Raises:
            UsageError: The folder holds a generator already.
            StoreError: It cannot be written.
        """
        kind = type(self.unet)
        file = DiffusionFile(
            kind=OWN if self._config is None else SHIPPED, config=self._config,
            named=f"{kind.__module__}.{kind.__qualname__}",
            shape=self._denoiser.shape, sampling=self.sampling, classes=self.classes,
            notes=self.notes,
        )  # fmt: skip
        return save_diffusion(Path(folder), self.unet, file)

    def generate(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None = None,
        *,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        image: object = None,
        strength: float | None = None,
        places: object = None,
        context: object = None,
        **unknown: object,
    ) -> NDArray[np.uint8]:
        """Return images, uint8 [N, H, W, C], one for each seed.

        Args:
            seeds: Each in [0, 2**63).
            labels: Class of each; 0 where there are no classes. None: of no class.
            sampler: See the class. None: its own.
            steps: See the class. None: its own.
            guidance: See the class. None: its own.
            image: That is changed, in place of a new one: uint8 [N, H, W, C], or
                [H, W, C] for all, of the size that the network makes.
            strength: How much of it is replaced, in (0, 1]: the share of the steps that
                is taken, at least one. None: 0.5.
            places: Of windows, where the generator makes such: float [N, 3], or [3] for
                all. None: drawn from the seeds.
            context: Where the network takes one: float [N, context_dim], or
                [context_dim] for all. None: none.
            unknown: Refused by name.

        Raises:
            UsageError: A label is out of range, a condition is unknown or out of range,
                or an image has values that are NaN.
        """
        asked = self._asked(
            seeds, labels, sampler=sampler, steps=steps, guidance=guidance, image=image,
            strength=strength, places=places, context=context, **unknown,
        )  # fmt: skip
        channels, height, width = self._denoiser.shape
        found = [np.empty((0, height, width, channels), np.uint8)]
        starts = range(0, len(asked.seeds), self.rows)
        found += [to_levels(self._make(asked, at)) for at in starts]
        return np.concatenate(found)

    def frames(
        self,
        seed: int,
        label: int | None = 0,
        *,
        every: int = 1,
        **options: Any,  # noqa: ANN401  # as of generate
    ) -> NDArray[np.uint8]:
        """Return how an image comes out of the noise, uint8 [T, H, W, C].

        The first frame is what it begins with, the last is the image.

        Args:
            seed: Of the image.
            label: Its class. None: none.
            every: Steps from a frame to the next, >= 1.
            options: See :meth:`generate`.

        Raises:
            UsageError: ``every`` is below 1; see :meth:`generate`.
        """
        if type(every) is not int or every < 1:
            raise UsageError(f"every must be an integer >= 1, got {every!r}")
        asked = self._asked([seed], None if label is None else [label], **options)
        found: dict[int, NDArray[np.uint8]] = {}

        def keep(step: int, images: torch.Tensor) -> None:
            found[step] = to_levels(images[:1])[0]

        self._make(asked, 0, keep)
        last = max(found)
        return np.stack([found[i] for i in found if i % every == 0 or i == last])

    def sample_notes(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None,
        **conditions: Any,  # noqa: ANN401  # as of generate
    ) -> list[dict[str, Any]]:
        """Return what each image was made from; see :meth:`generate`."""
        asked = self._asked(seeds, labels, **conditions)
        params: dict[str, Any] = asked.sampling.to_dict()
        params["scheduler"] = SAMPLERS[asked.sampling.sampler][0]
        if asked.start is not None:
            params["strength"] = asked.start.strength
        places = asked.told.places
        if places is None:
            return [{"params": dict(params)} for _ in asked.seeds]
        return [{"params": params | {"places": one.tolist()}} for one in places]

    def describe(self) -> dict[str, Any]:
        """Return kind, hash of the weights, licence, data and device."""
        ours = self._config
        shape = {"shape": list(self._denoiser.shape)}
        params = shape if ours is None else ours.to_dict()
        return {
            "kind": "diffusion",
            "sha256": hash_weights(self.unet),
            "licence": self.notes.get("licence"),
            "trained_on": self.notes.get("trained_on"),
            "params": params | self.sampling.to_dict(),
            "device": str(self._device),
        }

    @property
    def _device(self) -> torch.device:
        first = next(self.unet.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def _config(self) -> UNetConfig | None:
        """What the network is built from; None: it is the user's own."""
        return self.unet.config if isinstance(self.unet, UNet) else None

    def _some_rows(self) -> int:
        """Return 16, or 1 where values of 16 images would take more than 1 GiB."""
        config = self._config
        numbers = int(np.prod(self._denoiser.shape))
        if _ROWS * numbers > MOST_NUMBERS:
            return 1
        wide = 1 if config is None else config.width
        height, width = self._denoiser.shape[1:]
        return _ROWS if _ROWS * height * width * wide <= _MOST_VALUES else 1

    def _asked(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None = None,
        **conditions: Any,  # noqa: ANN401  # checked there
    ) -> Asked:
        return self._asking.check(seeds, labels, **conditions)

    def _make(
        self,
        asked: Asked,
        at: int,
        on_step: Callable[[int, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """Return the images from one on, ``rows`` at most, float [B, C, H, W]."""
        count = len(asked.seeds[at : at + self.rows])
        fill = [0] * (self.rows - count)

        def some(tensor: torch.Tensor | None) -> torch.Tensor | None:
            if tensor is None:
                return None
            kept = tensor[at : at + count]
            empty = kept.new_zeros(len(fill), *kept.shape[1:])
            return torch.cat([kept, empty]).to(self._device)

        generators = generators_of(asked.seeds[at : at + count] + fill)
        noise = noise_of(generators, self._denoiser.shape).to(self._device)
        told = Told(*(some(getattr(asked.told, one)) for one in Told.__slots__))
        start = asked.start
        if start is not None:
            given = some(start.images)
            assert given is not None  # noqa: S101  # for the type: images are there
            start = Start(given, start.strength)
        sampling = asked.sampling
        sampler = make_sampler(sampling.sampler, sampling.steps)
        predict = self._denoiser.predict(told, sampling.guidance)
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            images = denoise(predict, noise, sampler, generators, start, on_step)
        return images[:count]


def _empty(folder: Path, config: UNetConfig) -> UNet:
    """Return a UNet that takes no memory yet.

    Raises:
        DataRefused: It would be too large.
    """
    try:
        with torch.device("meta"):
            return UNet.of(config)
    except UsageError as error:
        raise DataRefused(f"{folder} is refused: {error}") from error


def _refuse(folder: Path, file: DiffusionFile) -> NoReturn:
    raise UsageError(
        f"{folder} holds the weights of {file.named}, a network of your own, and no"
        " code: make the module and use"
        " fiberaug.synthetic.diffusions.DiffusionGenerator.of(module, folder)"
    )


def open_diffusion(folder: Path, said: Mapping[str, Any]) -> DiffusionGenerator:
    """Return the generator of a folder of the kind ``diffusion``."""
    del said  # read again, by what checks it
    return DiffusionGenerator.open(folder)


def refuse_own(folder: Path, said: Mapping[str, Any]) -> NoReturn:
    """Refuse a folder of the kind ``diffusion-own``, and say what opens it.

    Raises:
        UsageError: Always.
    """
    del said
    _refuse(folder, read_diffusion_file(folder))
