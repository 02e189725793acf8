"""``fiberaug verify``."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]

_SHOWN = 50


def command(
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every sample.")
    ] = False,
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every byte and report what is wrong; exit code 3 if anything is."""
    from fiberaug.jobs.verifying import verify
    from fiberaug.sizes import counted, format_bytes

    one = shards[0] if len(shards) == 1 else shards
    result = verify(one, index_dir=index_dir, decode=decode)
    if as_json:
        problems = [p._asdict() for p in result.problems]
        print(json.dumps({**result._asdict(), "problems": problems}, indent=1))
    else:
        for problem in result.problems[:_SHOWN]:
            place = [problem.shard, problem.key or ""]
            if problem.offset is not None:
                place.append(f"at byte {problem.offset}")
            where = " ".join(filter(None, place))
            print(f"{where}: {problem.reason}" if where else problem.reason)
        if len(result.problems) > _SHOWN:
            print(f"... and {len(result.problems) - _SHOWN} more; --json lists all")
        decoded = f", {result.decoded} decoded" if decode else ""
        print(
            f"{counted(result.shards, 'shard')}, {counted(result.samples, 'sample')}"
            f"{decoded}, {format_bytes(result.bytes)}:"
            f" {counted(len(result.problems), 'problem')}"
        )
    if result.problems:
        raise typer.Exit(3)
