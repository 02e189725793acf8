"""``fiberaug doctor``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fiberaug.checkup.findings import Finding

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[list[str], typer.Argument(help="Shards: braces, glob, folder.")],
    world_size: Annotated[int, typer.Option(min=1, help="Ranks of the run.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Workers of each rank.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a rank.")] = 64,
    prefetch: Annotated[int, typer.Option(min=1, help="Batches ahead.")] = 2,
    ranks_per_node: Annotated[
        int, typer.Option(min=1, help="Ranks that share a machine.")
    ] = 8,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe whose batches are measured.")
    ] = None,
    cache_limit: Annotated[
        str, typer.Option(help="Bytes of remote shards on a machine.")
    ] = "50GB",
    index_dir: Annotated[
        Path | None, typer.Option(help="Folder of the indexes.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the index of every shard.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(help="Your present loader, module:function, to compare with."),
    ] = None,
    batches: Annotated[
        int, typer.Option(min=1, help="Batches of each timed turn.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a run over the shards would be, and what stands in its way.

    Exit code 3 when there is a problem.
    """
    from fiberaug.checkup.epoch import Run
    from fiberaug.checkup.examining import examine
    from fiberaug.checkup.findings import worst
    from fiberaug.sizes import parse_bytes

    one = shards[0] if len(shards) == 1 else shards
    run = Run(
        world_size=world_size, workers=workers, batch_size=batch_size,
        prefetch=prefetch, ranks_per_node=ranks_per_node,
        cache_limit=parse_bytes(cache_limit, name="--cache-limit"),
    )  # fmt: skip
    findings = examine(one, run, index_dir=index_dir, recipe=recipe, deep=deep)
    if against is not None:
        from fiberaug.parity.against import Subject, compare

        subject = Subject(shards=one, index_dir=index_dir, recipe=recipe, run=run)
        findings += compare(subject, against, batches=batches)
    level = worst(findings)
    if as_json:
        rows = [finding._asdict() for finding in findings]
        print(json.dumps({"level": level, "findings": rows}, indent=1, default=list))
    else:
        _print(findings)
    if level == "problem":
        raise typer.Exit(3)


def _print(findings: "list[Finding]") -> None:
    from fiberaug.sizes import counted

    width = max(len(finding.topic) for finding in findings)
    for level, topic, text, remedy, _ in findings:
        print(f"{level:<7}  {topic:<{width}}  {text}")
        if remedy:
            print(f"{'':<7}  {'':<{width}}  -> {remedy}")
    levels = [finding.level for finding in findings]
    problems, notes = levels.count("problem"), levels.count("note")
    print(f"{counted(problems, 'problem')}, {counted(notes, 'note')}")
