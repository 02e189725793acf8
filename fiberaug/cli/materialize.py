"""``fiberaug materialize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fiberaug.baking.materialization import Materialization
    from fiberaug.shards.manifest import Manifest

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    out: Annotated[str, typer.Option("--out", help="New folder, or s3://.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe file; none: pixels as decoded.")
    ] = None,
    epochs: Annotated[
        str | None, typer.Option(help="A-B, both included, or one number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of order and augmentation.")] = 0,
    prefix: Annotated[
        bool,
        typer.Option("--prefix", help="Only the beginning that draws nothing, once."),
    ] = False,
    encode: Annotated[
        str, typer.Option(help="png or webp, without loss, or jpeg.")
    ] = "png",
    quality: Annotated[int, typer.Option(help="Of JPEG.")] = 90,
    seekable: Annotated[
        bool, typer.Option("--seekable", help="Restart markers in JPEGs: fast crops.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray: on a Ray cluster.")
    ] = "local",
    fields: Annotated[
        str | None, typer.Option(help="A preset, such as detection; default: auto.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the set, or all.")] = None,
    subset: Annotated[
        str | None, typer.Option(help="A condition, such as 'label in (1, 2)'.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="uniform, sqrt or weights.")
    ] = None,
    epoch_size: Annotated[
        int | None, typer.Option(help="Positions of an epoch.")
    ] = None,
    tile: Annotated[
        str | None, typer.Option(help="Cut photos into tiles: HxW or one number, px.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Least overlap of tiles, px.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="How often each sample is augmented.")
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="As an evaluation: every sample once, sorted."),
    ] = False,
    on_error: Annotated[
        str | None, typer.Option(help="Of broken samples: replace, mask or raise.")
    ] = None,
    max_errors: Annotated[
        float | None, typer.Option(help="Share of an epoch that may be broken.")
    ] = None,
    on_shard_error: Annotated[
        str | None, typer.Option(help="Of damaged shards: raise or skip.")
    ] = None,
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the samples that a loader would stream, with their records, as shards.

    The same command goes on where an interrupted one was.
    """
    from fiberaug.baking.materializing import plan_materialization
    from fiberaug.baking.options import BakeOptions
    from fiberaug.sizes import parse_bytes

    given: dict[str, Any] = {
        "fields": fields, "split": split, "subset": subset, "balance": balance,
        "epoch_size": epoch_size, "tile": None if tile is None else _size(tile),
        "overlap": overlap, "views": views, "train": False if evaluate else None,
        "on_error": on_error, "max_errors": max_errors,
        "on_shard_error": on_shard_error, "index_dir": index_dir,
    }  # fmt: skip
    bake = BakeOptions(
        shard_size=parse_bytes(shard_size, name="--shard-size"), encode=encode,
        quality=quality, seekable=seekable, workers=workers, engine=engine,
        progress=not as_json,
    )  # fmt: skip
    planned = plan_materialization(
        shards[0] if len(shards) == 1 else shards, out, bake=bake, recipe=recipe,
        epochs=epochs, seed=seed, prefix=prefix,
        **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    known = planned.known
    if known is not None and not as_json:
        print(f"nothing to do: {out} was written before by this very command")
    if dry_run:
        _print_plan(planned, as_json=as_json)
        return
    if known is None and not as_json:
        _print_plan(planned, as_json=False)
    _report(planned.run(), planned, as_json=as_json)


def _size(tile: str) -> int | tuple[int, int]:
    from fiberaug.errors import UsageError

    sides = tile.lower().split("x")
    if len(sides) > 2 or not all(s.isascii() and s.isdecimal() for s in sides):
        raise UsageError(f"--tile must look like 512 or 512x768, got {tile!r}")
    numbers = [int(side) for side in sides]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _print_plan(planned: "Materialization", *, as_json: bool) -> None:
    import json

    from fiberaug.sizes import counted, format_bytes

    told = planned.describe()
    if as_json:
        print(json.dumps(told, indent=1))
        return
    samples, shards = counted(told["samples"], "sample"), told["shards"]
    size = format_bytes(told["bytes"])
    print(f"to write: {samples} in {counted(shards, 'shard')}, about {size}")
    if planned.prefix:
        names = ", ".join(told["done"])
        print(f"done once for all: {names}; then {planned.why}")
    if planned.options.encode == "jpeg":
        print("JPEG changes pixels: they are not the stream's any more")


def _report(manifest: "Manifest", planned: "Materialization", *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from fiberaug.baking.materialization import RECIPE
    from fiberaug.baking.reporting import ERRORS
    from fiberaug.sizes import counted, format_bytes

    place = planned.store.place
    lines = (planned.store.read(ERRORS) or b"").splitlines()
    size = sum(shard.bytes for shard in manifest.shards)
    if as_json:
        figures = {
            "samples": manifest.samples, "shards": len(manifest.shards), "bytes": size,
            "errors": len(lines), "fields": manifest.fields,
            "producer": asdict(manifest)["producer"],
        }  # fmt: skip
        print(json.dumps(figures, indent=1))
        return
    samples = counted(manifest.samples, "sample")
    shards = counted(len(manifest.shards), "shard")
    print(f"{samples} in {shards}, {format_bytes(size)}: {place}")
    print(f"what is left to do when they are read: {place}/{RECIPE}")
    if lines:
        count = counted(len(lines), "broken sample")
        print(f"{count} replaced or left out: {place}/{ERRORS}")
