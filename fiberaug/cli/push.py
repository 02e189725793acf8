"""``fiberaug push``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fiberaug.hub import Pushed

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A generator, a training, a LoRA adapter, a pool, converted shards.",
        ),
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="user/name, or name in your account.")
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may see it; default: private.")
    ] = False,
    revision: Annotated[str, typer.Option(help="Branch, made if need be.")] = "main",
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of what is sent, such as cc0-1.0.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check, and show files and card; no network."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a folder to the Hub, with a card that says what it is.

    The token is that of HF_TOKEN or `hf auth login`. The same command goes on where an
    interrupted one was.
    """
    import json

    from fiberaug.hub import push

    done = push(
        folder, name, public=public, revision=revision, message=message,
        licence=licence, dry_run=dry_run, progress=not as_json,
    )  # fmt: skip
    if as_json:
        print(json.dumps(done.to_dict(), indent=1))
    else:
        _print(done, dry_run=dry_run)


def _print(done: "Pushed", *, dry_run: bool) -> None:
    from fiberaug.sizes import counted, format_bytes

    parcel = done.parcel
    if dry_run:
        for item in parcel.items:
            print(f"{format_bytes(item.size):>10}  {item.path}")
    files = counted(len(parcel.items), "file")
    print(f"{parcel.kind}: {files}, {format_bytes(parcel.size)}")
    for note in done.notes:
        print(f"note: {note}")
    if dry_run:
        print(f"\nREADME.md:\n\n{parcel.card}")
        print(f"dry run: nothing was sent to {done.name}")
        return
    seen = "private" if done.private else "public"
    print(f"{done.url} ({seen}), branch {done.revision}, commit {done.commit}")
