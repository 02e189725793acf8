"""A trained GAN's generator as a maker of images: the same image from the same seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import DataRefused, UsageError
from fiberaug.models.calling import call_network, conditions_of, latent_shape
from fiberaug.models.config import GeneratorConfig
from fiberaug.models.exporting import export_network
from fiberaug.models.generator import Generator
from fiberaug.models.latents import latents, seeds_of, to_levels
from fiberaug.models.storing import weights_sha256
from fiberaug.synthetic.gan_folders import (
    OWN,
    SHIPPED,
    GANFile,
    read_gan_file,
    save_gan,
    weights_into,
)
from fiberaug.synthetic.gan_places import Frames, given_places
from fiberaug.synthetic.labelling import checked_labels

__all__ = ["GANGenerator", "open_gan", "refuse_own"]

_ROWS = 16
_MOST_NUMBERS = 2**28  # of the largest level at a time: 1 GiB


class GANGenerator:
    """Makes images from seeds with the generator of a GAN.

    An image depends on its seed, label and conditions alone, to the last bit: images
    are made ``rows`` at a time, the last ones filled up, so that each is computed by
    the same operations on tensors of the same shape, whatever the batch. Another number
    of threads, another machine or a GPU may round otherwise, which moves few pixels,
    and those by one level.

    Args:
        generator: :class:`fiberaug.models.Generator`, or a module of your own: latents,
            ``labels`` and ``places`` (where it takes them) to images in [-1, 1].
        classes: Class names by label.
        notes: What should be known of it, fit for JSON: ``licence``, ``trained_on``
            (a fingerprint), ``scales`` (least and most photo px per window px).
        latent: Shape of one latent. None: as the generator says.
        device: Where it is put. None: it stays where it is.
        rows: Images that are made at a time. None: 16, or 1 where they are large.

    Raises:
        UsageError: There are other classes than the generator is made for, or it does
            not say which latents it takes.
    """

    def __init__(
        self,
        generator: nn.Module,
        *,
        classes: Sequence[str] = (),
        notes: Mapping[str, Any] | None = None,
        latent: int | Sequence[int] | None = None,
        device: str | torch.device | None = None,
        rows: int | None = None,
    ) -> None:
        self.generator = generator.eval()
        if device is not None:
            generator.to(device)
        self.classes = tuple(classes)
        self.notes = dict(notes or {})
        shape = latent_shape(generator) if latent is None else latent
        self.latent = (shape,) if isinstance(shape, int) else tuple(shape)
        self._labels = self._count()
        self._has_places = self._takes_places()
        self._frames = Frames.of(self.notes)
        self.rows = self._some_rows() if rows is None else rows
        if type(self.rows) is not int or self.rows < 1:
            raise UsageError(f"rows must be an integer >= 1, got {rows!r}")

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
            folder: It may come from a stranger: nothing in it is run.
            device: Where it computes. None: on a GPU where there is one.
            rows: See the class.

        Raises:
            UsageError: It is of a network of your own: use :meth:`of`.
            DataRefused: It is broken, or asks for more than is allowed.
            StateMismatch: Its weights are of another architecture than it says.
            StoreError: It cannot be read.
        """
        file = read_gan_file(Path(folder))
        if file.config is None:
            raise _own(Path(folder), file)
        try:
            with torch.device("meta"):
                generator = Generator.of(file.config)
        except UsageError as error:
            raise DataRefused(f"{folder} is refused: {error}") from error
        weights_into(generator, Path(folder), file)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(
            generator, classes=file.classes, notes=file.notes, device=device, rows=rows
        )

    @classmethod
    def of(
        cls,
        generator: nn.Module,
        folder: str | Path,
        *,
        device: str | torch.device | None = None,
        rows: int | None = None,
    ) -> Self:
        """Return a generator with the weights of a folder in a module of yours.

        Args:
            generator: Its weights are replaced.
            folder: What :meth:`save` wrote for such a module.
            device: See the class.
            rows: See the class.

        Raises:
            DataRefused: The folder is broken.
            StateMismatch: Its weights are of another architecture.
            StoreError: It cannot be read.
        """
        file = read_gan_file(Path(folder))
        weights_into(generator, Path(folder), file)
        return cls(
            generator, classes=file.classes, notes=file.notes, latent=file.latent,
            device=device, rows=rows,
        )  # fmt: skip

    def save(self, folder: str | Path) -> Path:
        """Write weights and ``generator.json`` into a folder, and return it.

        :func:`fiberaug.load` opens it; one of a module of your own is opened by
        :meth:`of`.

        Raises:
            UsageError: The folder holds a generator already.
            StoreError: It cannot be written.
        """
        kind = type(self.generator)
        file = GANFile(
            kind=OWN if self._config is None else SHIPPED, config=self._config,
            named=f"{kind.__module__}.{kind.__qualname__}",
            latent=self.latent, classes=self.classes, notes=self.notes,
        )  # fmt: skip
        return save_gan(Path(folder), self.generator, file)

    def export(self, path: str | Path) -> Path:
        """Write the network (latents, labels) -> images as a program; return its file.

        Args:
            path: See :func:`fiberaug.models.exporting.export_network`.

        Raises:
            UsageError: The ending is neither .pt2 nor .onnx, a package is missing, or
                the generator makes windows, which need places.
        """
        if self._has_places:
            raise UsageError(
                "a generator of windows needs places, which a program of latents and"
                " labels has not: export generator.generator by yourself"
            )
        return export_network(_Program(self.generator), path, self.latent)

    def generate(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None = None,
        *,
        truncation: float | None = None,
        places: object = None,
        **unknown: object,
    ) -> NDArray[np.uint8]:
        """Return images, uint8 [N, H, W, C], one for each seed.

        Args:
            seeds: Each in [0, 2**63).
            labels: Class of each; 0, or None, where there are no classes.
            truncation: Most magnitude of the numbers of a latent, > 0; less is less
                varied. None: no bound.
            places: Of windows, where the generator makes such: float [N, 3], or [3] for
                all. None: drawn from the seeds.
            unknown: Refused by name.

        Raises:
            UsageError: A label is out of range, a condition is unknown or out of range,
                or an image has values that are NaN.
        """
        seeds = seeds_of(seeds)
        if labels is None and self._labels == 0:
            labels = [0] * len(seeds)
        told = checked_labels(labels, len(seeds), self._labels, self.classes)
        where = self._places(seeds, places, unknown)
        drawn = latents(seeds, self.latent, truncation=truncation)
        found: list[NDArray[np.uint8]] = []
        for at in range(0, max(len(seeds), 1), self.rows):  # for the shape, if of none
            some = slice(at, at + self.rows)
            found.append(
                self._make(
                    drawn[some], told[some], None if where is None else where[some]
                )
            )
        return np.concatenate(found)

    def sample_notes(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        *,
        truncation: float | None = None,
        places: object = None,
        **unknown: object,
    ) -> list[dict[str, Any]]:
        """Return what each image was made from; see :meth:`generate`."""
        del labels
        where = self._places(seeds, places, unknown)
        del truncation  # a pool notes what it was told
        if where is None:
            return [{} for _ in seeds]
        return [{"params": {"places": place.tolist()}} for place in where]

    def describe(self) -> dict[str, Any]:
        """Return kind, hash of the weights, licence, data and device."""
        ours = self._config
        return {
            "kind": "gan",
            "sha256": weights_sha256(self.generator),
            "licence": self.notes.get("licence"),
            "trained_on": self.notes.get("trained_on"),
            "params": {"latent": list(self.latent)} if ours is None else ours.to_dict(),
            "device": str(self._device),
        }

    @property
    def _device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @property
    def _size(self) -> tuple[int, int] | None:
        config = self._config
        return None if config is None else config.plan.size

    @property
    def _config(self) -> GeneratorConfig | None:
        """What the network is built from; None: it is the user's own."""
        ours = type(self.generator) is Generator
        return cast("Generator", self.generator).config if ours else None

    def _count(self) -> int | None:
        """Return the number of labels; 0: it takes none, None: it does not say."""
        made_for = getattr(getattr(self.generator, "config", None), "classes", None)
        if made_for is None:
            takes = "labels" in conditions_of(self.generator)
            return (len(self.classes) or None) if takes else 0
        if self.classes and len(self.classes) != made_for:
            raise UsageError(
                f"the generator is made for {made_for} classes, got"
                f" {len(self.classes)} names"
            )
        return int(made_for)

    def _takes_places(self) -> bool:
        config = getattr(self.generator, "config", None)
        made_for = getattr(config, "places", True)
        return bool(made_for) and "places" in conditions_of(self.generator)

    def _some_rows(self) -> int:
        """Return 16, or 1 where values of 16 images would take more than 1 GiB."""
        config = self._config
        if config is None:
            return _ROWS
        height, width = config.size
        numbers = _ROWS * height * width * config.width
        return _ROWS if numbers <= _MOST_NUMBERS else 1

    def _places(
        self, seeds: Sequence[int], places: object, unknown: Mapping[str, object]
    ) -> torch.Tensor | None:
        if unknown:
            known = ["truncation"] + ["places"] * self._has_places
            raise UsageError(
                f"a GAN has no condition {', '.join(sorted(unknown)):.80}; there is"
                f" {' and '.join(known)}"
            )
        if not self._has_places:
            if places is not None:
                raise UsageError("the generator makes no windows: leave places out")
            return None
        found = (
            self._frames.draw(seeds, self._size)
            if places is None
            else given_places(places, len(seeds))
        )
        return torch.from_numpy(found)

    def _make(
        self, drawn: torch.Tensor, labels: torch.Tensor, places: torch.Tensor | None
    ) -> NDArray[np.uint8]:
        count, device = len(drawn), self._device
        given = [_filled(one, self.rows) for one in (drawn, labels, places)]
        z, told, where = (None if one is None else one.to(device) for one in given)
        assert z is not None  # noqa: S101  # for the type: drawn is there
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            images = call_network(
                self.generator, z, None if self._labels == 0 else told, where
            )
        return to_levels(images[:count])


class _Program(nn.Module):
    """A generator as an exported program calls it: labels always, looked at or not."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images."""
        return call_network(self.generator, z, labels)


def _filled(tensor: torch.Tensor | None, rows: int) -> torch.Tensor | None:
    """Return a tensor of so many rows, those at the end zero."""
    if tensor is None or len(tensor) == rows:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])


def _own(folder: Path, file: GANFile) -> UsageError:
    return UsageError(
        f"{folder} holds the weights of {file.named}, a network of your own, and no"
        " code: make the module and use"
        " fiberaug.synthetic.gans.GANGenerator.of(module, folder)"
    )


def open_gan(folder: Path, said: Mapping[str, Any]) -> GANGenerator:
    """Open a folder of the kind ``gan``, see :func:`fiberaug.load`."""
    del said  # it is read with its bounds checked
    return GANGenerator.open(folder)


def refuse_own(folder: Path, said: Mapping[str, Any]) -> GANGenerator:
    """Refuse a folder of the kind ``gan-own``, and say what opens it.

    Raises:
        UsageError: Always.
    """
    del said
    raise _own(folder, read_gan_file(folder))
