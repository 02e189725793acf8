"""``fiberaug augment``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fiberaug.foldering.job import Summary

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    src: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder of photos, or a COCO, ... set.")
    ],
    dst: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    recipe: Annotated[
        Path, typer.Option(help="File with the operations, YAML or JSON.")
    ],
    copies: Annotated[int, typer.Option(help="Copies of each photo.")] = 1,
    each: Annotated[
        bool,
        typer.Option("--each", help="Every operation alone, into OUT/<operation>/."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 0,
    encode: Annotated[
        str, typer.Option(help="keep (each photo's format), jpeg, png or webp.")
    ] = "keep",
    quality: Annotated[int, typer.Option(help="Of JPEG and WebP.")] = 95,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    on_error: Annotated[str, typer.Option(help="skip or fail.")] = "skip",
    processors: Annotated[
        Path | None,
        typer.Option(
            help="File of yours with operations that the recipe names; it is run."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Write augmented copies of the photos of a folder, annotations along.

    The same command goes on where an interrupted one was.
    """
    import json

    from fiberaug.foldering.augmenting import augment_folder

    if processors is not None and not as_json:
        print(f"running {processors} for its operations, as --processors says")
    summary = augment_folder(
        src, dst, recipe, copies=copies, each=each, seed=seed, encode=encode,
        quality=quality, workers=workers, on_error=on_error, processors=processors,
    )  # fmt: skip
    if as_json:
        print(json.dumps(summary.to_dict()))
    else:
        _report(summary)


def _report(summary: "Summary") -> None:
    from fiberaug.foldering.finishing import ERRORS
    from fiberaug.sizes import counted

    if summary.known:
        print(f"nothing to do: {summary.place} was written by this very command")
    made, photos = (
        counted(summary.pictures, "picture"),
        counted(summary.photos, "photo"),
    )
    print(f"{made} of {photos}: {summary.place}")
    for operation in summary.operations:
        print(f"  {operation}/")
    if summary.left_out:
        folder = "<operation>/" if summary.operations else ""
        left_out = counted(summary.left_out, "picture")
        reasons = f"{summary.place}/{folder}{ERRORS}"
        print(f"{left_out} could not be made; the reasons are in {reasons}")
    for told in summary.told:
        print(f"left out: {told}")
