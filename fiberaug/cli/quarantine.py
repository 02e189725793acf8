"""``fiberaug quarantine``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fiberaug.quarantining import Entry, Quarantine

__all__ = ["command"]


def command(
    log: Annotated[Path, typer.Argument(help="Run folder (log= of the loader).")],
    extract: Annotated[
        Path | None,
        typer.Option(help="Folder for the raw members of the broken samples."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Read and decode each of them now.")
    ] = False,
    shards: Annotated[
        str | None, typer.Option(help="Where the shards are now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what a run could not make: broken samples and damaged shards.

    Exit code 3 if --retry finds that anything is still broken.
    """
    from fiberaug.quarantining import Quarantine, read_quarantine
    from fiberaug.sizes import counted

    entries = read_quarantine(log)
    rows = [entry._asdict() for entry in entries]
    if retry or extract is not None:
        run = Quarantine(log, shards=shards)
        for entry, row in zip(entries, rows, strict=True):
            if retry:
                row["now"] = run.retry(entry)
            if extract is not None:
                row.update(_extract(run, entry, extract))
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print("\n    ".join([_line(row), *row.get("files", ())]))
            if "not_extracted" in row:
                print(f"    not extracted: {row['not_extracted']}")
        lost = sum(row["key"] is None for row in rows)
        print(f"{counted(len(rows) - lost, 'sample')}, {counted(lost, 'shard')}")
    if any(row.get("now") for row in rows):
        raise typer.Exit(3)


def _extract(run: "Quarantine", entry: "Entry", folder: Path) -> dict[str, Any]:
    from fiberaug.errors import FiberAugError

    try:
        return {"files": [str(path) for path in run.extract(entry, folder)]}
    except FiberAugError as error:
        return {"files": [], "not_extracted": str(error)}


def _line(row: dict[str, Any]) -> str:
    what = (
        row["key"] if row["key"] is not None else f"({row['samples'] or '?'} samples)"
    )
    place = "" if row["offset"] is None else f" at byte {row['offset']}"
    text = f"{row['shard']} {what}: {row['stage'] or '?'}{place}: {row['reason']}"
    if row["times"] != 1:
        text += f" ({row['times']} times)"
    if "now" in row:
        text += f"; now: {row['now'] or 'decodes'}"
    return text
