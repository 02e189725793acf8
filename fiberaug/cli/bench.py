"""``fiberaug bench``."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe file; none: photos are only decoded.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a batch.")] = 64,
    workers: Annotated[
        str, typer.Option(help="auto (up to the CPUs), or numbers: 0,1,2,4.")
    ] = "auto",
    seconds: Annotated[float, typer.Option(help="Of each measurement, s.")] = 5.0,
    fields: Annotated[
        str, typer.Option(help="A preset, such as detection; default: auto.")
    ] = "auto",
    split: Annotated[str, typer.Option(help="Part of the set, or all.")] = "all",
    decode: Annotated[
        str, typer.Option(help="exact, or fast: photos reduced while decoded.")
    ] = "exact",
    tile: Annotated[
        str | None, typer.Option(help="Cut photos into tiles: HxW or one number, px.")
    ] = None,
    train_step_ms: Annotated[
        float | None, typer.Option(help="Your step for a batch, ms: is it kept busy?")
    ] = None,
    placement: Annotated[
        bool, typer.Option("--placement", help="Workers or batches: what goes where?")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="Of batch operations; default: cuda, or cpu without."),
    ] = None,
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder of remote shards.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast the set comes here, what limits, and what would help.

    About a minute; nothing is written.
    """
    from fiberaug.benching.benching import run_bench
    from fiberaug.benching.options import BenchOptions, parse_workers
    from fiberaug.benching.report import describe, tell
    from fiberaug.sizes import parse_sides

    bench = run_bench(
        BenchOptions(
            shards=shards[0] if len(shards) == 1 else shards, recipe=recipe,
            batch_size=batch_size, workers=parse_workers(workers), seconds=seconds,
            fields=fields, split=split, decode=decode,
            tile=None if tile is None else parse_sides(tile, name="--tile"),
            index_dir=index_dir, cache_dir=cache_dir, train_step_ms=train_step_ms,
            placement=placement, device=device, progress=not as_json,
        )
    )  # fmt: skip
    if as_json:
        print(json.dumps(describe(bench), indent=1))
        return
    for line in tell(bench):
        print(line)
