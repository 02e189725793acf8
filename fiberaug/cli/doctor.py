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
    synthesis: Annotated[
        bool,
        typer.Option("--synthesis", help="Say what making images would take instead."),
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(help="Of --synthesis, such as 8GB; default: 85 % of free."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Of --synthesis: HEIGHTxWIDTH of what would be learnt."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Of --synthesis, such as cuda.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a run over the shards would be, and what stands in its way.

    Exit code 3 when there is a problem; with --synthesis, when no way to new images
    fits.
    """
    if synthesis:
        _synthesis(shards, memory, size, device, index_dir, as_json=as_json)
        return
    for option, given in (("memory", memory), ("size", size), ("device", device)):
        if given is not None:
            from fiberaug.errors import UsageError

            raise UsageError(f"--{option} is of --synthesis: give that, too")
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


def _synthesis(
    shards: list[str],
    memory: str | None,
    size: str | None,
    device: str | None,
    index_dir: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print what each way to more images would take."""
    from fiberaug.errors import UsageError
    from fiberaug.feasibility.report import examine_synthesis
    from fiberaug.feasibility.telling import tell

    if len(shards) != 1:
        raise UsageError(
            f"--synthesis takes one set, and {len(shards)} were given: write them with"
            " braces or a glob in quotes"
        )
    report = examine_synthesis(
        shards[0], memory=memory, size=size, device=device, index_dir=index_dir
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        for line in tell(report):
            print(line)
    if not report.possible:
        raise typer.Exit(3)
