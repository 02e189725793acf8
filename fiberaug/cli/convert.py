"""``fiberaug convert``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fiberaug.jobs.conversion import Conversion
    from fiberaug.shards.manifest import Manifest

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    src: Annotated[Path, typer.Argument(help="Folder or file of images.")],
    dst: Annotated[str, typer.Argument(help="New folder for the shards, or s3://.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="auto, folder, csv, coco, voc, yolo, masks, hf, arrays, shards or"
            " tfrecord.",
        ),
    ] = "auto",
    encode: Annotated[str, typer.Option(help="keep, jpeg, webp or png.")] = "keep",
    resize: Annotated[int | None, typer.Option(help="Shorter side, px.")] = None,
    quality: Annotated[int, typer.Option(help="Of JPEG and WebP.")] = 90,
    srgb: Annotated[
        bool, typer.Option("--srgb", help="Bring embedded colour profiles to sRGB.")
    ] = False,
    seekable: Annotated[
        bool, typer.Option("--seekable", help="Restart markers in JPEGs: fast crops.")
    ] = False,
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: cores.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 0,
    keep_order: Annotated[
        bool, typer.Option("--keep-order", help="Do not shuffle.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Parts, such as train=0.8,val=0.2.")
    ] = None,
    stratify: Annotated[
        bool, typer.Option("--stratify", help="Split each class alike.")
    ] = False,
    group_by: Annotated[
        str | None,
        typer.Option(help="What stays in one part: folder, or an expression on keys."),
    ] = None,
    near_copies: Annotated[
        str, typer.Option(help="Of a split: together, or ignore.")
    ] = "together",
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Write one of photos that look the same.")
    ] = False,
    annotation_frame: Annotated[
        str | None,
        typer.Option(help="Pixels that annotations are for: stored or upright."),
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Folder that paths of images begin at.")
    ] = None,
    listed: Annotated[
        str | None, typer.Option("--list", help="File that names the samples to take.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of a field, such as image=path; may be repeated."),
    ] = None,
    class_names: Annotated[
        str | None, typer.Option("--classes", help="Names by id, with commas.")
    ] = None,
    origin: Annotated[
        int, typer.Option(help="First pixel of Pascal VOC's boxes, 0 or 1.")
    ] = 0,
    masks: Annotated[
        bool, typer.Option("--masks", help="Store masks of objects, from outlines.")
    ] = False,
    allow_outside: Annotated[
        bool,
        typer.Option("--allow-outside", help="Files may lie outside of the source."),
    ] = False,
    tile: Annotated[
        str | None, typer.Option(help="Write tiles of HEIGHTxWIDTH px, as 1024x1024.")
    ] = None,
    overlap: Annotated[
        int, typer.Option(help="Least overlap of neighbouring tiles, px.")
    ] = 0,
    visibility: Annotated[
        float, typer.Option(help="Least part of a box that a tile must hold.")
    ] = 0.1,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Leave out tiles without an object.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local, or ray: on a Ray cluster.")
    ] = "local",
    on_error: Annotated[str, typer.Option(help="skip or fail.")] = "skip",
    allow_empty_class: Annotated[
        bool,
        typer.Option("--allow-empty-class", help="Write the set all the same."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written.")
    ] = False,
) -> None:
    """Write images and their annotations as shards, shuffled, with an index.

    The same command goes on where an interrupted one was.
    """
    from fiberaug.jobs.conversion import plan_conversion
    from fiberaug.jobs.job import Job
    from fiberaug.jobs.preparing import Options
    from fiberaug.jobs.sources.options import SourceOptions
    from fiberaug.jobs.splitting import parse_split
    from fiberaug.sizes import parse_bytes, parse_sides
    from fiberaug.tiling import Tiling

    options = Options(
        encode=encode, resize=resize, quality=quality, frame=annotation_frame,
        group_by=group_by, on_error=on_error, srgb=srgb,
        seekable=seekable,
        tiling=Tiling.of(
            None if tile is None else parse_sides(tile, name="--tile"),
            overlap=overlap, visibility=visibility, keep_empty=not drop_empty,
        ),
    )  # fmt: skip
    job = Job(
        shard_size=parse_bytes(shard_size, name="--shard-size"), workers=workers,
        seed=seed, keep_order=keep_order, allow_empty_class=allow_empty_class,
        progress=True, split=parse_split(split), stratify=stratify, options=options,
        engine=engine, near_copies=near_copies, dedupe=dedupe,
    )  # fmt: skip
    hints = SourceOptions(
        classes=class_names.split(",") if class_names else None, images=images,
        listed=listed, columns=_pairs(column or []), origin=origin, masks=masks,
        allow_outside=allow_outside,
    )  # fmt: skip
    conversion = plan_conversion(src, dst, source=source, hints=hints, job=job)
    if conversion.known is not None:
        place = conversion.store.place
        print(f"nothing to do: {place} was written before by this very command")
    else:
        print(conversion.describe())
    if not dry_run:
        _report(conversion.run(), conversion)


def _pairs(columns: list[str]) -> dict[str, str]:
    from fiberaug.errors import UsageError

    pairs = [column.partition("=") for column in columns]
    for field, equals, column in pairs:
        if not field or not equals or not column:
            raise UsageError(
                f"--column must look like image=path, got {field + equals + column!r}"
            )
    return {field: column for field, _, column in pairs}


def _report(manifest: "Manifest", conversion: "Conversion") -> None:
    import json
    from collections import Counter

    from fiberaug.jobs.target import ERRORS
    from fiberaug.jobs.unit import NOT_SEEKABLE
    from fiberaug.sizes import counted, format_bytes

    place = conversion.store.place

    size = format_bytes(sum(shard.bytes for shard in manifest.shards))
    images = counted(manifest.samples, "image")
    print(f"{images} in {counted(len(manifest.shards), 'shard')}, {size}: {place}")
    for name, count in manifest.counts.items():
        print(f"  {count:>8}  {name}")
    sizes = {shard.name: shard.samples for shard in manifest.shards}
    for part, names in manifest.splits.items():
        print(f"  {sum(sizes[name] for name in names):>8}  in {part}")
    errors = f"{place}/{ERRORS}"
    lines = (conversion.store.read(ERRORS) or b"").decode().splitlines()
    told = Counter(json.loads(line)["outcome"] for line in lines)
    kept, plain = told.pop("kept", 0), told.pop(NOT_SEEKABLE, 0)
    if told:
        count = told.total()
        refused = "1 file was" if count == 1 else f"{count} files were"
        print(f"{refused} refused; the reasons are in {errors}")
    if plain:
        left = counted(plain, "JPEG")
        print(f"{left} could not be made seekable and stayed as before: {errors}")
    if kept:
        odd = counted(kept, "odd annotation")
        print(f"{odd} kept all the same: {errors}")
