"""The ``fiberaug`` command."""

import os
import sys
import traceback
from typing import Annotated

import typer

from fiberaug.cli import convert, demo, index, info, replay, verify
from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError

__all__ = ["app", "main"]

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

app = typer.Typer(
    name="fiberaug",
    help="Stream tar shards of images: convert, check, look, replay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
for module in (convert, index, verify, info, replay, demo):
    app.command(name=module.__name__.rpartition(".")[2])(module.command)


def _version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("fiberaug"))
        raise typer.Exit


@app.callback()
def _options(
    *,
    debug: Annotated[
        bool, typer.Option(help="Show the traceback of an error.")
    ] = False,
    version: Annotated[bool, typer.Option(help="Print the version.")] = False,
) -> None:
    _version(wanted=version)
    if debug:
        os.environ["FIBERAUG_DEBUG"] = "1"


def exit_code(error: Exception) -> int:
    """Return 2 for a mistake of the user, 3 for refused data, 4 for input and output."""
    if isinstance(error, UsageError):
        return 2
    if isinstance(error, StoreError | OSError):
        return 4
    return 3 if isinstance(error, DataRefused) else 1


def main() -> None:
    """Run the command line; an error is one line and an exit code."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        print("interrupted; the same command begins again", file=sys.stderr)
        sys.exit(5)
    except (FiberAugError, OSError) as error:
        if os.environ.get("FIBERAUG_DEBUG"):
            traceback.print_exc()
        print(f"fiberaug: {error}", file=sys.stderr)
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
