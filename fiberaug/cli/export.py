"""``fiberaug export``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fiberaug.jobs.exporting import Exported

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[str, typer.Argument(help="Shards: braces, glob, folder.")],
    dst: Annotated[Path, typer.Argument(help="New folder.")],
    to: Annotated[str, typer.Option("--to", help="coco, voc, yolo or folder.")],
    split: Annotated[str | None, typer.Option(help="Part; default: all parts.")] = None,
    class_names: Annotated[
        str | None, typer.Option("--classes", help="Names by id, with commas.")
    ] = None,
    lines: Annotated[
        str | None,
        typer.Option(
            help="Of YOLO: boxes, outlines or keypoints; default: what there is."
        ),
    ] = None,
    origin: Annotated[
        int, typer.Option(help="First pixel of Pascal VOC's boxes, 0 or 1.")
    ] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    on_error: Annotated[str, typer.Option(help="skip or fail.")] = "skip",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a data set as COCO, Pascal VOC, YOLO or folders.

    The same command goes on where an interrupted one was.
    """
    from fiberaug.jobs.exporting import export

    names = class_names.split(",") if class_names else None
    done = export(
        shards, dst, to=to, split=split, classes=names, lines=lines, origin=origin,
        workers=workers, index_dir=index_dir, on_error=on_error,
    )  # fmt: skip
    if as_json:
        print(json.dumps({**done._asdict(), "samples": done.samples}, indent=1))
    else:
        _report(done)


def _report(done: "Exported") -> None:
    from fiberaug.jobs.export_style import FORMATS
    from fiberaug.jobs.export_target import ERRORS
    from fiberaug.sizes import counted

    if done.again:
        print(f"nothing to do: {done.place} was written before by this very command")
    name = FORMATS[done.to]
    print(f"{counted(done.samples, 'image')} as {name}: {done.place}")
    for part, count in done.parts.items():
        if part:
            print(f"  {count:>8}  in {part}")
    if done.lost:
        print(f"{name} cannot hold, or not as it was:")
    for what, count in done.lost.items():
        print(f"  {count:>8}  {what}")
    if done.turned:
        print(
            f"{counted(done.turned, 'image')} turned by EXIF: annotations are for the"
            " upright pixels; to convert back, say --annotation-frame upright"
        )
    errors = f"{done.place}/{ERRORS}"
    if done.left_out:
        were = "sample was" if done.left_out == 1 else "samples were"
        print(f"{done.left_out} {were} left out; the reasons are in {errors}")
    if done.odd:
        odd = counted(done.odd, "odd annotation")
        print(f"{odd} kept all the same: {errors}")
