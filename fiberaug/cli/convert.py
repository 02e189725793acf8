"""``fiberaug convert``."""

from pathlib import Path
from typing import Annotated

import typer

from fiberaug.errors import UsageError

__all__ = ["command"]


def command(  # noqa: PLR0917
    src: Annotated[
        Path, typer.Argument(help="Folder of images, subfolders are classes.")
    ],
    dst: Annotated[Path, typer.Argument(help="New folder for the shards.")],
    source: Annotated[str, typer.Option("--from", help="auto or folder.")] = "auto",
    encode: Annotated[str, typer.Option(help="keep, jpeg, webp or png.")] = "keep",
    resize: Annotated[int | None, typer.Option(help="Shorter side, px.")] = None,
    quality: Annotated[int, typer.Option(help="Of JPEG and WebP.")] = 90,
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 0,
    keep_order: Annotated[
        bool, typer.Option("--keep-order", help="Do not shuffle.")
    ] = False,
    on_error: Annotated[str, typer.Option(help="skip or fail.")] = "skip",
    allow_empty_class: Annotated[
        bool,
        typer.Option("--allow-empty-class", help="Write the set all the same."),
    ] = False,
) -> None:
    """Write a folder of images as shards, shuffled, with index and checksums."""
    if source not in {"auto", "folder"}:
        raise UsageError(
            f"--from must be auto or folder in this release, got {source!r}"
        )
    from fiberaug.jobs.writing import convert
    from fiberaug.sizes import counted, format_bytes

    manifest = convert(
        src, dst, encode=encode, resize=resize, quality=quality, shard_size=shard_size,
        workers=workers, seed=seed, keep_order=keep_order, on_error=on_error,
        allow_empty_class=allow_empty_class,
    )  # fmt: skip
    size = format_bytes(sum(shard.bytes for shard in manifest.shards))
    images = counted(manifest.samples, "image")
    print(f"{images} in {counted(len(manifest.shards), 'shard')}, {size}: {dst}")
    for name, count in manifest.counts.items():
        print(f"  {count:>8}  {name}")
    errors = dst / "convert_errors.jsonl"
    if errors.exists():
        count = len(errors.read_text(encoding="utf-8").splitlines())
        refused = "1 file was" if count == 1 else f"{count} files were"
        print(f"{refused} refused; the reasons are in {errors}")
