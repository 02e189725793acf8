"""``fiberaug demo``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    folder: Annotated[
        Path, typer.Argument(help="Folder for everything it makes.")
    ] = Path("demo"),
    images: Annotated[int, typer.Option(help="End faces to train on.")] = 600,
    cabinets: Annotated[int, typer.Option(help="Cabinet photos.")] = 12,
    train_s: Annotated[float, typer.Option(help="Seconds of training.")] = 60,
) -> None:
    """Run the whole path on a rendered scene and write a report with pictures."""
    from fiberaug.demo.run import run_demo

    report = run_demo(
        folder, images=images, cabinets=cabinets, train_s=train_s, say=print
    )
    print(f"the report: {report}")
