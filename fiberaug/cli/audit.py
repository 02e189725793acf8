"""``fiberaug audit``."""

import importlib
import json
from pathlib import Path
from typing import Annotated

import typer

from fiberaug.errors import UsageError

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    log: Annotated[Path, typer.Argument(help="Run folder (log= of the loader).")],
    confidence: Annotated[
        float,
        typer.Option(help="Probability that a run as asked for is found to be so."),
    ] = 0.999,
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
    every: Annotated[
        bool, typer.Option("--all", help="Show every parameter and every class.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare what a run did with what its recipe and its mix asked for.

    How often operations were applied, with which parameters, how much of each source
    was delivered, and whether each position was. Exit code 3 when anything is outside
    of its bounds.
    """
    from fiberaug.auditing import audit
    from fiberaug.auditing.telling import tell
    from fiberaug.cli.places import parse_sources

    for module in modules or ():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UsageError(f"cannot import {module}: {error}") from error
    places = parse_sources(sources)
    found = audit(log, confidence=confidence, shards=shards, sources=places)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print("\n".join(tell(found, every=every)))
    if not found.ok:
        raise typer.Exit(3)
