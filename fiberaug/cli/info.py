"""``fiberaug info``."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a data set holds: samples, fields, classes, sizes."""
    from fiberaug.jobs.summary import summarize
    from fiberaug.sizes import counted, format_bytes

    figures = summarize(shards[0] if len(shards) == 1 else shards, index_dir=index_dir)
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    samples = figures.pop("samples")
    count = "samples not counted (no index)"
    if samples is not None:
        count = counted(samples, "sample")
    size = format_bytes(figures.pop("bytes"))
    print(f"{count} in {counted(figures.pop('shards'), 'shard')}, {size}")
    print(figures.pop("fields"))
    for name, value in figures.items():
        if name == "classes":
            for label, number in value.items():
                print(f"  {number:>8}  {label}")
        elif isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in value.items()))
        else:
            print(f"{name}: {value}")
