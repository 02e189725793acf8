"""``fiberaug seekable``."""

from typing import Annotated

import typer

__all__ = ["command"]

_SHOWN = 10


def command(
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give the JPEGs of a local set restart markers, in place: fast crops and tiles.

    The same command goes on where an interrupted one was.
    """
    import json

    from fiberaug.jobs.seekable import make_seekable
    from fiberaug.sizes import counted, format_bytes

    done = make_seekable(
        shards[0] if len(shards) == 1 else shards,
        workers=workers,
        progress=not as_json,
    )
    if as_json:
        print(json.dumps(done._asdict(), indent=1))
        return
    before, after = format_bytes(done.bytes_before), format_bytes(done.bytes_after)
    print(f"{counted(done.shards, 'shard')}: {before} before, {after} now")
    print(f"{counted(done.marked, 'JPEG')} made seekable, {done.already} were")
    if done.left:
        print(f"{counted(len(done.left), 'JPEG')} stayed as before:")
    for one in done.left[:_SHOWN]:
        print(f"  {one['shard']} {one['member']}: {one['reason']}")
    if len(done.left) > _SHOWN:
        print(f"  and {len(done.left) - _SHOWN} more; --json lists all")
