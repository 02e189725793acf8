"""``fiberaug info``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["command"]


def command(
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", help="Picture of a pool: its contact sheet.")
    ] = None,
    parents: Annotated[
        str | None, typer.Option(help="Shards that a pool's samples were made from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a data set or a pool holds: samples, fields, classes, sizes, cost."""
    from fiberaug.jobs.summary import summarize
    from fiberaug.sizes import counted, format_bytes

    pool = _pool(shards, output, parents)
    figures = summarize(shards[0] if len(shards) == 1 else shards, index_dir=index_dir)
    if as_json:
        print(json.dumps(figures | pool, indent=1))
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
    if pool:
        from fiberaug.synthetic.summary import tell

        for line in tell(pool["pool"]):
            print(line)


def _pool(
    shards: list[str], output: Path | None, parents: str | None
) -> dict[str, Any]:
    """Return the figures of a pool, and draw it; of another set nothing."""
    import os

    from fiberaug.errors import UsageError
    from fiberaug.synthetic.poolfile import read_pool_file
    from fiberaug.synthetic.summary import figures_of

    folder = len(shards) == 1 and os.path.isdir(shards[0])  # noqa: PTH112  # Path.is_dir raises where a name is too long
    if folder:
        _check_begun(shards[0])
    file = read_pool_file(shards[0]) if folder else None
    if file is None:
        if output is not None or parents is not None:
            raise UsageError("-o and --parents are for the folder of one pool")
        return {}
    if output is not None:
        from fiberaug.decode.image import save_image
        from fiberaug.synthetic.pool import Pool
        from fiberaug.synthetic.sheets import contact_sheet

        save_image(output, contact_sheet(Pool.open(shards[0]), parents=parents))
    return {"pool": figures_of(file)}


def _check_begun(folder: str) -> None:
    """Refuse a pool that is unfinished: its shards are there, and no more.

    Raises:
        DataRefused: It is one.
    """
    from fiberaug.errors import DataRefused
    from fiberaug.synthetic.place import Place

    place = Place(folder)
    if "pool" in (place.begun or {}) and place.find() is None:
        raise DataRefused(
            f"{folder} is a pool that is unfinished: the command that began it goes on"
            " where it was"
        )
