"""What the commands of ``fiberaug train`` have in common: options, and the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberaug.training.contracts import Source
    from fiberaug.training.trainer import Trainer

__all__ = ["joined", "run"]

Shards = Annotated[str, typer.Argument(help="Shards, or a folder of photos.")]
Size = Annotated[str, typer.Option(help="Of the images, HEIGHTxWIDTH in px.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the training.")]
Images = Annotated[
    int, typer.Option(help="Photos to show in all, each as often as it comes.")
]
Memory = Annotated[
    str | None,
    typer.Option(help="Most that it may use, such as 2GB; default: 85 % of free."),
]
Device = Annotated[
    str | None, typer.Option(help="Such as cuda; default: a GPU if there is one.")
]
Batch = Annotated[int, typer.Option(help="Photos of a step.")]
Width = Annotated[
    int, typer.Option(help="Channels at the whole size; more is slower and better.")
]
Channels = Annotated[int, typer.Option(help="Of the images, 1 to 4.")]
Unconditional = Annotated[
    bool, typer.Option("--unconditional", help="Leave labels out of account.")
]
Windows = Annotated[
    bool | None,
    typer.Option(
        "--windows/--whole",
        help="Train on windows of the photos; default: where they are large.",
    ),
]
HeldOut = Annotated[
    float, typer.Option(help="Share of the photos that is only for judging.")
]
Workers = Annotated[int, typer.Option(help="Processes that read photos.")]
Seed = Annotated[int, typer.Option(help="Of everything drawn.")]
BF16 = Annotated[
    bool | None,
    typer.Option("--bf16/--fp32", help="Convolutions in bfloat16 or float32."),
]
NoJudge = Annotated[
    bool, typer.Option("--no-judge", help="Keep the last generator, not the best.")
]
Board = Annotated[bool, typer.Option("--board", help="Write for TensorBoard, too.")]
Licence = Annotated[str | None, typer.Option(help="Of what is generated.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what it would take: memory, time, disk."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run(
    make: "Callable[[Source, dict[str, Any], dict[str, Any]], tuple[Trainer, str]]",
    *,
    shards: str,
    size: tuple[int, int],
    out: Path,
    train_images: int,
    memory: str | None,
    device: str | None,
    batch_size: int,
    width: int,
    channels: int,
    unconditional: bool,
    windows: bool | None,
    held_out: float,
    workers: int,
    seed: int,
    bf16: bool | None,
    no_judge: bool,
    board: bool,
    licence: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Open the photos, make a trainer, and plan or train.

    Args:
        make: (source, arguments of networks, arguments of the trainer) -> the trainer,
            and the size in words.
        shards: See the options, as of all that follows.
        size: (height, width), px.
        out: Folder of the training.
        train_images: Photos to show.
        memory: Most that it may use.
        device: Where it trains.
        batch_size: Photos of a step.
        width: Channels at the whole size.
        channels: Of the images.
        unconditional: Leave labels out of account.
        windows: Whether windows are trained on.
        held_out: Share of the photos that is only for judging.
        workers: Processes that read photos.
        seed: Of everything drawn.
        bf16: Convolutions in bfloat16.
        no_judge: Keep the last generator.
        board: Write for TensorBoard.
        licence: Of what is generated.
        dry_run: Only say what it would take.
        as_json: Print JSON.
    """
    import contextlib
    import json
    import logging

    import torch

    from fiberaug.training.feeding import open_source
    from fiberaug.training.ranking import Ranks

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = joined(device)
    source = open_source(
        shards, size=size, channels=channels, batch_size=batch_size,
        conditional=False if unconditional else None, seed=seed, held_out=held_out,
        windows=windows, num_workers=workers,
    )  # fmt: skip
    with contextlib.closing(source):
        networks: dict[str, Any] = {
            "classes": len(source.classes), "channels": channels, "width": width,
            "places": source.has_places,
        }  # fmt: skip
        torch.manual_seed(seed)
        options: dict[str, Any] = {
            "memory": memory, "out": out, "batch_size": batch_size, "seed": seed,
            "device": device, "num_workers": workers, "bf16": bf16,
            "judge": not no_judge, "board": board, "progress": not as_json,
            "licence": licence,
        }  # fmt: skip
        trainer, told_size = make(source, networks, options)
        told = Ranks().is_first
        if told and not as_json:
            print(f"images: {told_size}")
        if dry_run:
            plan = trainer.plan(train_images)
            if told:
                print(json.dumps(plan.to_dict(), indent=1) if as_json else str(plan))
            return
        trainer.train(images=train_images)
    place = out / ("best" if (out / "best").exists() else "generator")
    if told:
        print(
            json.dumps({"generator": str(place)}) if as_json else f"generator: {place}"
        )


def joined(device: str | None) -> str:
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
