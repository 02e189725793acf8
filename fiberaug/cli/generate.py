"""``fiberaug generate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fiberaug.synthetic.pool import Pool

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    model: Annotated[
        str, typer.Argument(help="Folder of a generator, or module:function.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the pool.")],
    per_class: Annotated[
        int | None, typer.Option(help="Samples of each class.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Samples in all.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of classes, with commas; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the pool.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Samples made at a time.")] = 16,
    processes: Annotated[int, typer.Option(help="Processes that generate.")] = 1,
    encode: Annotated[
        str, typer.Option(help="png or webp, without loss, or jpeg.")
    ] = "png",
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep samples of equal pixels.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="Training shards that nothing may be a copy of.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the samples.")] = None,
    truncation: Annotated[
        float | None,
        typer.Option(help="Of a GAN's latents, such as 0.7: less is less varied."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What else the generator understands; VALUE is JSON or text.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a pool of synthetic samples, with where each comes from.

    The same command goes on where an interrupted one was. Exit code 3 when a class has
    fewer samples than were asked for, because too many were refused.
    """
    import contextlib
    import sys
    from functools import partial

    from fiberaug.synthetic.loading import open_generator
    from fiberaug.synthetic.pool import Pool

    names = None if classes is None else [one.strip() for one in classes.split(",")]
    # What the user's code prints must not stand among what a script reads.
    with contextlib.redirect_stdout(sys.stderr):
        pool = Pool.write(
            partial(open_generator, model), out, per_class=per_class, count=count,
            classes=names, seed=seed, batch_size=batch_size, processes=processes,
            encoding=encode, shard_size=shard_size, dedupe=not keep_duplicates,
            against=against, licence=licence, progress=not as_json,
            conditions=_conditions(condition or [], truncation),
        )  # fmt: skip
    _report(pool, as_json=as_json)
    if pool.file.state == "short":
        raise typer.Exit(3)


def _conditions(pairs: list[str], truncation: float | None) -> dict[str, Any]:
    """Return what the generator is told, by name.

    Raises:
        UsageError: A pair is no NAME=VALUE, or a name comes twice.
    """
    import json

    from fiberaug.errors import UsageError

    found: dict[str, Any] = {} if truncation is None else {"truncation": truncation}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--condition must be NAME=VALUE, got {pair!r:.80}")
        if name in found:
            raise UsageError(f"the condition {name} is given twice")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _report(pool: "Pool", *, as_json: bool) -> None:
    import json

    from fiberaug.synthetic.summary import figures_of, tell

    figures: dict[str, Any] = figures_of(pool.file)
    if as_json:
        print(json.dumps(figures | {"path": str(pool.path)}, indent=1))
        return
    for line in tell(figures):
        print(line)
    print(f"pool: {pool.path}")
