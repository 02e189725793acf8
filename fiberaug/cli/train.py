"""``fiberaug train gan``."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["gan"]


def gan(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[str, typer.Argument(help="Shards, or a folder of photos.")],
    size: Annotated[str, typer.Option(help="Of the images, HEIGHTxWIDTH in px.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the training.")],
    train_images: Annotated[
        int, typer.Option(help="Photos to show in all, each as often as it comes.")
    ] = 1_000_000,
    memory: Annotated[
        str | None,
        typer.Option(help="Most that it may use, such as 2GB; default: 85 % of free."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Such as cuda; default: a GPU if there is one.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="rpgan, bce, wgan-gp or wgan-clip.")
    ] = "rpgan",
    batch_size: Annotated[int, typer.Option(help="Photos of a step.")] = 64,
    width: Annotated[
        int, typer.Option(help="Channels at the whole size; more is slower and better.")
    ] = 32,
    channels: Annotated[int, typer.Option(help="Of the images, 1 to 4.")] = 3,
    unconditional: Annotated[
        bool, typer.Option("--unconditional", help="Leave labels out of account.")
    ] = False,
    windows: Annotated[
        bool | None,
        typer.Option(
            "--windows/--whole",
            help="Train on windows of the photos; default: where they are large.",
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the photos that is only for judging.")
    ] = 0.1,
    workers: Annotated[int, typer.Option(help="Processes that read photos.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    gamma: Annotated[
        str | None, typer.Option(help='Of the penalty, such as "cosine 0.8 0.08".')
    ] = None,
    lr: Annotated[
        str | None, typer.Option(help='Learning rate, such as "cosine 1e-3 1e-4".')
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--fp32", help="Convolutions in bfloat16 or float32."),
    ] = None,
    no_judge: Annotated[
        bool, typer.Option("--no-judge", help="Keep the last generator, not the best.")
    ] = False,
    board: Annotated[
        bool, typer.Option("--board", help="Write for TensorBoard, too.")
    ] = False,
    licence: Annotated[str | None, typer.Option(help="Of what is generated.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what it would take: memory, time, disk."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a GAN on your photos.

    The same command goes on where an interrupted one was. The generator is then in
    OUT/best, or OUT/generator without a judge: `fiberaug generate OUT/best ...`.
    """
    import contextlib
    import json
    import logging

    import torch

    from fiberaug.models import Critic, Generator
    from fiberaug.models.sizes import plan_size
    from fiberaug.training import GANTrainer
    from fiberaug.training.feeding import open_source
    from fiberaug.training.ranking import Ranks

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = _joined(device)
    source = open_source(
        shards, size=plan_size(size).size, channels=channels, batch_size=batch_size,
        conditional=False if unconditional else None, seed=seed, held_out=held_out,
        windows=windows, num_workers=workers,
    )  # fmt: skip
    with contextlib.closing(source):
        made: dict[str, Any] = {
            "classes": len(source.classes), "channels": channels, "width": width,
            "places": source.has_places,
        }  # fmt: skip
        torch.manual_seed(seed)
        generator, critic = Generator(size, **made), Critic(size, **made)
        trainer = GANTrainer(
            generator, critic, source, loss=loss, memory=memory, out=out,
            batch_size=batch_size, seed=seed, device=device, num_workers=workers,
            gamma=gamma, lr=lr, bf16=bf16, judge=not no_judge, board=board,
            progress=not as_json, licence=licence,
        )  # fmt: skip
        told = Ranks().is_first
        if told and not as_json:
            print(f"images: {generator.plan}")
        if dry_run:
            plan = trainer.plan(train_images)
            if told:
                print(json.dumps(plan.to_dict(), indent=1) if as_json else str(plan))
            return
        trainer.train(images=train_images)
    place = out / ("best" if (out / "best").exists() else "generator")
    if not told:
        return
    if as_json:
        print(json.dumps({"generator": str(place)}))
    else:
        print(f"generator: {place}")


def _joined(device: str | None) -> str:
    """Return where to train, after this process joined those that torchrun started."""
    import os

    import torch
    from torch import distributed

    on_gpu = torch.cuda.is_available() if device is None else device.startswith("cuda")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("nccl" if on_gpu else "gloo")
        if on_gpu and device in {None, "cuda"}:
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            torch.cuda.set_device(device)
    return device or ("cuda" if on_gpu else "cpu")
