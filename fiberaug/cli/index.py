"""``fiberaug index``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder for the indexes.")
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every image.")
    ] = False,
) -> None:
    """Write the index of each shard: to be shuffled, counted and resumed."""
    from fiberaug.jobs.indexing import index_shards
    from fiberaug.sizes import counted, format_bytes

    done = index_shards(shards, index_dir=index_dir, decode=decode)
    for one in done:
        kept = ", was there" if one.kept else ""
        found = f"{counted(one.samples, 'sample')}, {counted(one.members, 'member')}"
        print(f"{one.side_car}: {found}{kept}")
    size = format_bytes(sum(one.bytes for one in done))
    samples = counted(sum(one.samples for one in done), "sample")
    print(f"{counted(len(done), 'shard')}, {samples}, {size}")
