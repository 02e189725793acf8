"""The ``fiberaug`` command."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from fiberaug.cli import (
    audit,
    augment,
    bench,
    convert,
    demo,
    doctor,
    edit,
    export,
    generate,
    index,
    info,
    materialize,
    push,
    quarantine,
    replay,
    seekable,
    train,
    train_inversion,
    train_lora,
    verify,
)
from fiberaug.errors import DataRefused, FiberAugError, StoreError, UsageError

__all__ = ["app", "exit_code", "main"]

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

app = typer.Typer(
    name="fiberaug",
    help="Stream tar shards of images: convert, check, look, replay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
_settings = {"debug": False}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("fiberaug"))
        raise typer.Exit


@app.callback()
def _options(
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    _settings["debug"] = debug or bool(os.environ.get("FIBERAUG_DEBUG"))


def exit_code(error: Exception) -> int:
    """Return 2 for a user's mistake, 3 for refused data, 4 for input and output."""
    if isinstance(error, UsageError):
        return 2
    if isinstance(error, StoreError | OSError):
        return 4
    return 3 if isinstance(error, DataRefused) else 1


def _guarded(command: Callable[..., None], *, resumes: bool) -> Callable[..., None]:
    """Return a command that turns an error into one line and an exit code."""

    @functools.wraps(command)
    def run(*args: object, **options: object) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            again = "goes on" if resumes else "begins again"
            print(f"interrupted; the same command {again}", file=sys.stderr)
            raise typer.Exit(5) from None
        except BrokenPipeError:  # whoever reads has seen enough: typer ends quietly
            raise
        except (FiberAugError, OSError) as error:
            if _settings["debug"]:
                traceback.print_exc()
            print(f"fiberaug: {error}", file=sys.stderr)
            raise typer.Exit(exit_code(error)) from None

    return run


_RESUMES = (convert, augment, edit, export, generate, materialize, push, seekable)
_OTHERS = (index, verify, info, doctor, bench, replay, audit, quarantine, demo)
for module in (*_RESUMES, *_OTHERS):
    verb = module.__name__.rpartition(".")[2]
    app.command(name=verb)(_guarded(module.command, resumes=module in _RESUMES))


trainings = typer.Typer(
    help="Train a generator on your photos.", no_args_is_help=True,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
trainings.command(name="gan")(_guarded(train.gan, resumes=True))
trainings.command(name="diffusion")(_guarded(train.diffusion, resumes=True))
trainings.command(name="lora")(_guarded(train_lora.lora, resumes=True))
trainings.command(name="inversion")(_guarded(train_inversion.inversion, resumes=True))
app.add_typer(trainings, name="train")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
