"""``fiberaug train gan`` and ``fiberaug train diffusion``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberaug.cli import trainings as given

if TYPE_CHECKING:
    from fiberaug.models import UNet
    from fiberaug.training import DiffusionTrainer, GANTrainer
    from fiberaug.training.contracts import Source

__all__ = ["diffusion", "gan"]


def gan(  # noqa: PLR0917  # Typer makes options of them
    shards: given.Shards,
    size: given.Size,
    out: given.Out,
    train_images: given.Images = 1_000_000,
    memory: given.Memory = None,
    device: given.Device = None,
    loss: Annotated[
        str, typer.Option(help="rpgan, bce, wgan-gp or wgan-clip.")
    ] = "rpgan",
    batch_size: given.Batch = 64,
    width: given.Width = 32,
    channels: given.Channels = 3,
    unconditional: given.Unconditional = False,
    windows: given.Windows = None,
    held_out: given.HeldOut = 0.1,
    workers: given.Workers = 0,
    seed: given.Seed = 0,
    gamma: Annotated[
        str | None, typer.Option(help='Of the penalty, such as "cosine 0.8 0.08".')
    ] = None,
    lr: Annotated[
        str | None, typer.Option(help='Learning rate, such as "cosine 1e-3 1e-4".')
    ] = None,
    bf16: given.BF16 = None,
    no_judge: given.NoJudge = False,
    board: given.Board = False,
    licence: given.Licence = None,
    dry_run: given.DryRun = False,
    as_json: given.AsJSON = False,
) -> None:
    """Train a GAN on your photos.

    The same command goes on where an interrupted one was. The generator is then in
    OUT/best, or OUT/generator without a judge: `fiberaug generate OUT/best ...`.
    """
    from fiberaug.models import Critic, Generator
    from fiberaug.models.sizes import plan_size
    from fiberaug.training import GANTrainer

    def make(
        source: "Source", networks: dict[str, Any], options: dict[str, Any]
    ) -> "tuple[GANTrainer, str]":
        generator, critic = Generator(size, **networks), Critic(size, **networks)
        trainer = GANTrainer(
            generator, critic, source, loss=loss, gamma=gamma, lr=lr, **options
        )
        return trainer, str(generator.plan)

    given.run(
        make, shards=shards, size=plan_size(size).size, out=out,
        train_images=train_images, memory=memory, device=device,
        batch_size=batch_size, width=width, channels=channels,
        unconditional=unconditional, windows=windows, held_out=held_out,
        workers=workers, seed=seed, bf16=bf16, no_judge=no_judge, board=board,
        licence=licence, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def diffusion(  # noqa: PLR0917  # Typer makes options of them
    shards: given.Shards,
    size: given.Size,
    out: given.Out,
    train_images: given.Images = 1_000_000,
    memory: given.Memory = None,
    device: given.Device = None,
    batch_size: given.Batch = 64,
    width: given.Width = 64,
    channels: given.Channels = 3,
    unconditional: given.Unconditional = False,
    windows: given.Windows = None,
    held_out: given.HeldOut = 0.1,
    workers: given.Workers = 0,
    seed: given.Seed = 0,
    lr: Annotated[
        str, typer.Option(help='Learning rate, such as "cosine 1e-3 1e-5".')
    ] = "cosine 1e-3 1e-5",
    base: Annotated[
        str | None,
        typer.Option(help="Weights to begin with: a folder, or a .safetensors file."),
    ] = None,
    bf16: given.BF16 = None,
    no_judge: given.NoJudge = False,
    board: given.Board = False,
    licence: given.Licence = None,
    dry_run: given.DryRun = False,
    as_json: given.AsJSON = False,
) -> None:
    """Train a diffusion model on your photos.

    The same command goes on where an interrupted one was. The model is then in
    OUT/best, or OUT/generator without a judge: `fiberaug generate OUT/best ...`.
    """
    from fiberaug.models import UNet
    from fiberaug.models.unet_config import unet_size
    from fiberaug.training import DiffusionTrainer

    def make(
        source: "Source", networks: dict[str, Any], options: dict[str, Any]
    ) -> "tuple[DiffusionTrainer, str]":
        unet = UNet(size, **networks)
        if base is not None:
            _begin_with(unet, base)
        height, wide = unet.config.size
        levels = ", ".join(f"{h}x{w}" for h, w in unet.config.levels)
        told = f"height {height}, width {wide}: levels of {levels}"
        return DiffusionTrainer(unet, source, lr=lr, **options), told

    given.run(
        make, shards=shards, size=unet_size(size), out=out,
        train_images=train_images, memory=memory, device=device,
        batch_size=batch_size, width=width, channels=channels,
        unconditional=unconditional, windows=windows, held_out=held_out,
        workers=workers, seed=seed, bf16=bf16, no_judge=no_judge, board=board,
        licence=licence, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def _begin_with(unet: "UNet", base: str) -> None:
    """Begin with other weights, and say which fit."""
    import logging

    from fiberaug.models.transplanting import start_from

    left = start_from(unet, base)
    if left:
        logging.getLogger("fiberaug").warning(
            "of %s these weights do not fit and begin anew: %s",
            base, ", ".join(left[:5]) + (", ..." if len(left) > 5 else ""),
        )  # fmt: skip
