"""``fiberaug replay``."""

from pathlib import Path
from typing import Annotated

import typer

from fiberaug.errors import UsageError

__all__ = ["command"]


def command(
    log: Annotated[Path, typer.Argument(help="Run folder (log= of the loader).")],
    key: Annotated[str, typer.Option(help="Key of the sample.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG or JPEG to write.")
    ],
    epoch: Annotated[
        int | None, typer.Option(help="Epoch; default: the last one.")
    ] = None,
    shards: Annotated[
        str | None, typer.Option(help="Where the shards are now.")
    ] = None,
) -> None:
    """Make the pixels of a logged sample again and write them as an image."""
    from fiberaug.decode.image import save_image
    from fiberaug.replaying import open_run, replay_pixels
    from fiberaug.runlog import RecordLog

    found = None
    for record in RecordLog(log):
        if record.key == key and epoch in {None, record.epoch}:
            found = record
    if found is None:
        where = "" if epoch is None else f" in epoch {epoch}"
        raise UsageError(f"{log} has no record of {key!r}{where}")
    pixels = replay_pixels(found, open_run(log, shards=shards))
    save_image(output, pixels)
    height, width = pixels.shape[:2]
    print(
        f"{output}: {width}x{height} px, epoch {found.epoch}, position {found.position}"
    )
    for step in found.applied_transforms:
        values = ", ".join(f"{name}={value}" for name, value in step.params.items())
        print(f"  {step.path} {step.name}: {values}"[:200])
