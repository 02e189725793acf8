"""What a GAN or a diffusion model from scratch would take, by their trainers' plans."""

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fiberaug.errors import UsageError
from fiberaug.feasibility.data import Data
from fiberaug.feasibility.evidence import evidence_for
from fiberaug.feasibility.routes import Route
from fiberaug.models.critic import Critic
from fiberaug.models.generator import Generator
from fiberaug.models.sizes import plan_size
from fiberaug.models.unet import UNet
from fiberaug.models.unet_config import unet_size
from fiberaug.training.diffusion import DiffusionTrainer
from fiberaug.training.feeding import open_source
from fiberaug.training.gan import GANTrainer
from fiberaug.training.refusals import smaller
from fiberaug.training.trainer import Trainer

__all__ = ["Asked", "size_for", "training_routes"]

_ROWS, _PROBED = 64, 8  # photos of a step: as the command has it; of a CPU's probe
_SMALL = 64  # px: longest side of what is learnt where nothing else is asked for
_LARGE_PHOTO = 10**6  # px; of larger ones windows are learnt
_PASSES, _FEWEST, _MOST = 100, 200_000, 1_000_000  # images to show


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the doctor was asked."""

    shards: str
    memory: str | int | None
    size: str | None
    device: torch.device
    index_dir: Path | None = None
    probe: bool = True
    """Make a few steps to tell the time."""

    @property
    def words(self) -> str:
        """The shards as a command has them."""
        return shlex.quote(self.shards)

    @property
    def options(self) -> str:
        """Options that all commands have in common."""
        said = "" if self.memory is None else f" --memory {self.memory}"
        return said if self.device.type == "cpu" else f"{said} --device {self.device}"


def size_for(data: Data, asked: str | None) -> tuple[int, int]:
    """Return (height, width) of what a small generator would learn, px.

    Photos of up to 64 px keep their size, larger ones their aspect; of photos of more
    than 1,000,000 px square windows are learnt.

    Args:
        data: The photos.
        asked: By the user, such as ``"96x128"``.

    Raises:
        UsageError: It is no size that both networks have.
    """
    if asked is not None:
        height, width = plan_size(asked).size
        return unet_size((height, width))
    if data.median_px is None or data.median_px[0] * data.median_px[1] > _LARGE_PHOTO:
        return _SMALL, _SMALL
    if max(data.median_px) <= _SMALL:
        with contextlib.suppress(UsageError):
            return unet_size(plan_size(data.median_px).size)
    return smaller(data.median_px, _SMALL)


def training_routes(data: Data, asked: Asked) -> list[Route]:
    """Return both, each with its plan, or with why it does not fit.

    Raises:
        UsageError: A size or a device that is not there.
        DataRefused: There is nothing to learn from.
        StoreError: Photos cannot be read.
    """
    size = size_for(data, asked.size)
    images = min(_MOST, max(_FEWEST, _PASSES * data.photos))
    return [
        _route("gan", "GAN from scratch", _gan, data, asked, size, images),
        _route(
            "diffusion", "diffusion model from scratch", _diffusion, data, asked, size,
            images,
        ),
    ]  # fmt: skip


Make = Callable[[Any, tuple[int, int], dict[str, Any], dict[str, Any]], Trainer]


def _gan(source: Any, size: Any, networks: Any, options: Any) -> Trainer:  # noqa: ANN401
    pair = Generator(size, width=32, **networks), Critic(size, width=32, **networks)
    return GANTrainer(*pair, source, **options)


def _diffusion(source: Any, size: Any, networks: Any, options: Any) -> Trainer:  # noqa: ANN401
    return DiffusionTrainer(UNet(size, width=64, **networks), source, **options)


def _route(  # noqa: PLR0917  # of this module alone
    name: str,
    what: str,
    make: Make,
    data: Data,
    asked: Asked,
    size: tuple[int, int],
    images: int,
) -> Route:
    """Return a route with the plan of its trainer, as its command would make it."""
    sides = "x".join(map(str, size))
    common: dict[str, Any] = {
        "name": name, "what": f"{what}, {sides} px", "images": images,
        "evidence": evidence_for(name, data.least, regions=data.regions is not None),
        "command": f"fiberaug train {name} {asked.words} --size {sides}{asked.options}"
        f" --train-images {images} --out runs/{name}",
    }  # fmt: skip
    try:
        plan = _planned(make, asked, size, images, _ROWS, probe=False)
        seconds = None
        if asked.probe:
            rows = _ROWS if asked.device.type == "cuda" else _PROBED
            timed = _planned(make, asked, size, images, rows, probe=True)
            seconds = timed.seconds
    except UsageError as error:
        if "does not fit" not in str(error):
            raise
        return Route(fits=False, why=str(error), **common)
    return Route(
        fits=True, peak=plan.peak, levers="; ".join(plan.said), disk=plan.disk,
        hours=None if seconds is None else seconds / 3600, notes=plan.warned, **common,
    )  # fmt: skip


def _planned(  # of this module alone
    make: Make,
    asked: Asked,
    size: tuple[int, int],
    images: int,
    rows: int,
    *,
    probe: bool,
) -> Any:  # noqa: ANN401  # a Plan
    source = open_source(
        asked.shards, size=size, batch_size=rows, index_dir=asked.index_dir
    )
    with contextlib.closing(source):
        networks = {"classes": len(source.classes), "places": source.has_places}
        torch.manual_seed(0)
        options = {
            "memory": asked.memory, "batch_size": rows, "device": asked.device,
            "judge": False, "progress": False,
        }  # fmt: skip
        return make(source, size, networks, options).plan(images, probe=probe)
