"""``fiberaug replay``."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiberaug.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiberaug.making import Setup
    from fiberaug.record import Record
    from fiberaug.replaying import Step

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    log: Annotated[Path, typer.Argument(help="Run folder (log= of the loader).")],
    key: Annotated[str, typer.Option(help="Key of the sample.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG or JPEG to write.")
    ],
    epoch: Annotated[
        int | None, typer.Option(help="Epoch; default: the last one.")
    ] = None,
    view: Annotated[int, typer.Option(help="View, where the run had several.")] = 0,
    shards: Annotated[
        str | None, typer.Option(help="Where the shards are now.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", help="NAME=PATH: where a source of the mix is now."),
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", help="Module that defines your processors."),
    ] = None,
    only_image: Annotated[
        bool, typer.Option("--only-image", help="Write no overlay and no steps.")
    ] = False,
) -> None:
    """Make a logged sample again; write its image, annotations and each step.

    Beside FILE.png come FILE.overlay.png, with masks, boxes and points drawn, and the
    folder FILE.steps/ with the image as decoded and after each operation.
    """
    from fiberaug.cli.places import parse_sources
    from fiberaug.overlay import ANNOTATIONS, draw_annotations
    from fiberaug.replaying import open_run_whole, replay_steps

    for module in modules or ():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UsageError(f"cannot import {module}: {error}") from error
    found = _find(log, key, epoch, view)
    run = open_run_whole(log, shards=shards, sources=parse_sources(sources))
    dataset = run.dataset
    fields, steps = replay_steps(found, run)
    pixels = fields["image"]
    source_type = _mark_of(found, dataset.setup)
    _save(output, pixels, source_type)
    height, width = pixels.shape[:2]
    print(
        f"{output}: {width}x{height} px, epoch {found.epoch}, position {found.position}"
    )
    if not only_image:
        if any(fields.get(name) is not None for name in ANNOTATIONS):
            path = output.with_suffix(".overlay.png")
            _save(path, draw_annotations(fields, dataset.classes), source_type)
            print(f"{path}: {_counted(fields)}")
        folder = output.with_suffix(".steps")
        _write_steps(folder, steps, dataset.classes, source_type)
        print(f"{folder}: {len(steps)} images, as decoded and after each operation")
    for step in found.applied_transforms:
        values = ", ".join(f"{name}={value}" for name, value in step.params.items())
        print(f"  {step.path} {step.name}: {values}"[:200])


def _find(log: Path, key: str, epoch: int | None, view: int) -> "Record":
    from fiberaug.runlog import RecordLog

    found = None
    for record in RecordLog(log):
        if (record.key, record.view) == (key, view) and epoch in {None, record.epoch}:
            found = record
    if found is None:
        where = "" if epoch is None else f" in epoch {epoch}"
        where += f", view {view}" if view else ""
        raise UsageError(f"{log} has no record of {key!r}{where}")
    return found


def _mark_of(found: "Record", setup: "Setup") -> str | None:
    """Return the mark of the image that a record's sample was made from."""
    from fiberaug.baking.origins import Origins
    from fiberaug.baking.sources import SourceShards
    from fiberaug.engine import Engine

    place = Engine(setup).find(found.url, found.key, found.origin)
    if place is None:
        return None
    shard, index = place
    origins = Origins(SourceShards(setup))
    return origins(found.origin, setup.refs[shard].name, index).marks.get("image")


def _save(path: Path, pixels: "NDArray[Any]", source_type: str | None) -> None:
    """Write pixels, with the mark of the image that they were made from."""
    from fiberaug.decode.image import save_image
    from fiberaug.marking import mark

    save_image(path, pixels)
    if source_type is not None:
        path.write_bytes(mark(path.read_bytes(), source_type))


def _write_steps(
    folder: Path,
    steps: "list[Step]",
    classes: Sequence[str],
    source_type: str | None,
) -> None:
    from fiberaug.overlay import draw_annotations

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]-*.png"):
        old.unlink()
    for number, step in enumerate(steps):
        name = f"{number:02d}-{step.name}.png".replace("/", "_")
        _save(folder / name, draw_annotations(step.fields, classes), source_type)


def _counted(fields: dict[str, Any]) -> str:
    from fiberaug.overlay import ANNOTATIONS

    return ", ".join(
        name if name == "mask" else f"{len(fields[name])} {name}"
        for name in ANNOTATIONS
        if fields.get(name) is not None
    )
