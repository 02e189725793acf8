"""``convert``: any source of images to a set of shards."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fiberaug.bars import ProgressBar
from fiberaug.errors import UsageError
from fiberaug.jobs.converting import Bar, convert_source
from fiberaug.jobs.gathering import Copies, find_copies
from fiberaug.jobs.items import Source
from fiberaug.jobs.job import Job
from fiberaug.jobs.layout import Planned, plan_shards
from fiberaug.jobs.preparing import Options
from fiberaug.jobs.sources.finding import find_source
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.splitting import parse_split
from fiberaug.jobs.stores import LocalStore, Store, store_of
from fiberaug.jobs.target import check_free, find_finished
from fiberaug.jobs.writing import ShardWriter
from fiberaug.shards.manifest import FILE, Manifest
from fiberaug.shards.urls import file_name
from fiberaug.sizes import counted, format_bytes, parse_bytes
from fiberaug.tiling import Tiling

__all__ = ["Conversion", "convert", "plan_conversion"]

_log = logging.getLogger("fiberaug")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A conversion that can be looked at before it is run."""

    source: Source
    """What is converted."""

    store: Store
    """Where the shards go."""

    job: Job
    """How."""

    @cached_property
    def known(self) -> Manifest | None:
        """The set that this very conversion has written before.

        Raises:
            UsageError: Another set is there.
        """
        return find_finished(self.store, self.job.arguments(self.source))

    @cached_property
    def copies(self) -> Copies | None:
        """Near-copies among its images, where they matter: each is looked at."""
        if not self.job.looks_for_copies:
            return None
        shown = self.job.progress
        with Bar(len(self.source.items), "near-copies", shown=shown) as bar:
            return find_copies(self.source, workers=self.job.processes, told=bar.told)

    @cached_property
    def planned(self) -> list[Planned]:
        """The shards that are to be written."""
        return plan_shards(self.source.items, self.job, self.copies)

    def describe(self) -> str:
        """Return what was found and what would be written, a line each."""
        parts = {shard.part: 0 for shard in self.planned}
        for shard in self.planned:
            parts[shard.part] += len(shard.rows)
        told = [f"{self.source.kind}: {self.source.said}"]
        size = format_bytes(int(self.source.items.sizes.sum()))
        shards = counted(len(self.planned), "shard")
        told.append(f"to write: {shards}, {size} of images")
        tiling = self.job.options.tiling
        if tiling is not None:
            kind = self.job.options.encode
            told.append(
                f"  in tiles of {tiling.height}x{tiling.width} px,"
                + (
                    " as PNG: --encode jpeg makes them smaller"
                    if kind == "keep"
                    else f" as {kind.upper()}"
                )
            )
        if self.copies is not None and self.copies.spare.any():
            spare = counted(int(self.copies.spare.sum()), "photo")
            kept = "left out" if self.job.dedupe else "in one part with it"
            told.append(f"{spare} like another, {kept}")
        told += [f"  {count:>8}  in {part}" for part, count in parts.items() if part]
        return "\n".join(told)

    def run(self) -> Manifest:
        """Write the shards; see :func:`convert`."""
        if self.known is not None:
            _log.info("%s was written before by the same conversion", self.store.place)
            return self.known
        _log.info("%s", self.describe())
        return convert_source(
            self.source, self.store, self.job, self.planned, self.copies
        )


def plan_conversion(
    src: str | Path, dst: str | Path, *, source: str, hints: SourceOptions, job: Job
) -> Conversion:
    """Return a conversion of a folder or file, whose samples are listed.

    Raises:
        UsageError: ``src`` is no such source, or ``dst`` lies in it.
        DataRefused: It has no image, or what it says contradicts itself.
        StoreError: It cannot be read.
    """
    src, store = Path(src).absolute(), store_of(dst)  # Ray works elsewhere
    away = None if isinstance(store, LocalStore) else file_name(str(dst))
    here = Path(dst).absolute() if away is None else Path.cwd() / away
    if away is None and src.is_dir() and here.resolve().is_relative_to(src.resolve()):
        raise UsageError(f"{dst} lies inside of {src}; write the shards elsewhere")
    if store.size(FILE) is None:  # else it may be this very conversion's
        check_free(store)

    def listed(frame: str | None) -> Source:
        return find_source(src, source, replace(hints, frame=frame))

    found = listed(job.options.frame)
    if {name.rstrip("?") for name in found.fields} - {"label", "caption"}:
        from fiberaug.jobs.frames import check_frames  # noqa: PLC0415  # Pillow: 30 ms

        picture = here.with_name(f"{here.name}-annotation-frame.png")
        check_frames(found, job.options, picture, listed, progress=job.progress)
    return Conversion(source=found, store=store, job=job)


def convert(
    src: str | Path | Iterable[Mapping[str, Any]],
    dst: str | Path,
    *,
    source: str = "auto",
    shard_size: int | str = "256MB",
    workers: int | None = None,
    seed: int = 0,
    keep_order: bool = False,
    split: str | Mapping[str, float] | None = None,
    stratify: bool = False,
    group_by: str | None = None,
    near_copies: str = "together",
    dedupe: bool = False,
    resize: int | None = None,
    encode: str = "keep",
    quality: int = 90,
    srgb: bool = False,
    seekable: bool = False,
    tile: int | tuple[int, int] | None = None,
    overlap: int = 0,
    visibility: float = 0.1,
    keep_empty: bool = True,
    annotation_frame: str | None = None,
    on_error: str = "skip",
    classes: Sequence[str] | None = None,
    allow_empty_class: bool = False,
    images: str | None = None,
    listed: str | None = None,
    columns: Mapping[str, str] | None = None,
    origin: int = 0,
    masks: bool = False,
    allow_outside: bool = False,
    engine: str = "local",
    progress: bool = True,
) -> Manifest:
    """Write images and their annotations, or an iterable of samples, as shards.

    Images are kept byte for byte unless ``resize`` or ``encode`` says otherwise. They
    are shuffled by ``seed``: shards that are sorted by class train badly whatever a
    loader does. The bytes of the shards do not depend on ``workers`` or ``engine``. A
    call that was interrupted, however it ended, goes on where it was when it is made
    again. An iterable is written in its own order, its first mistake stops it, and it
    begins again. Returned is the content of ``dataset.json``.

    Args:
        src: A folder or file, or samples as :meth:`ShardWriter.write` takes them.
        dst: Folder for the shards, or ``s3://`` (of files only): each shard is made
            here and sent whole.
        source: What ``src`` is: ``folder`` (of class folders), ``csv`` (also Parquet
            and JSON lines), ``coco``, ``voc``, ``yolo``, ``masks``, ``hf``, ``arrays``,
            ``shards`` or ``tfrecord``; ``auto`` looks what lies there.
        shard_size: Size of a shard, such as ``"256MB"``.
        workers: Processes. None: one for each core.
        seed: Seed of the shuffle.
        keep_order: Do not shuffle.
        split: Shares of parts, such as ``"train=0.8,val=0.2"``; each part gets shards
            of its own, which ``StreamingDataset(split="train")`` reads.
        stratify: Split each class alike.
        group_by: What must stay in one part: ``"folder"``, or a regular expression
            whose groups in the key name it, such as ``r"(patient[0-9]+)_"``.
        near_copies: ``together``: photos that look the same stay in one part of a
            split, for which each is looked at before; ``ignore`` does not look.
        dedupe: Write one of photos that look the same; the others are listed.
        resize: Length of the shorter side, px; smaller images stay as they are.
        encode: ``keep``, ``jpeg``, ``webp`` or ``png``.
        quality: Of JPEG and WebP, 1 to 100.
        srgb: Bring images with an embedded colour profile to sRGB; they are encoded
            anew. Others stay as they are.
        seekable: Write restart markers into JPEGs, without loss, so that crops and
            tiles are cut out of their bytes: see ``docs/seekable.md``.
        tile: (height, width) of tiles, px, that are written in place of each photo, as
            :class:`StreamingDataset` cuts them in evaluation; PNG unless ``encode``
            says otherwise. A tile's group is its photo.
        overlap: Least overlap of neighbouring tiles, px.
        visibility: Least part of a box's area that a tile must hold.
        keep_empty: False leaves out tiles without an object.
        annotation_frame: Whether annotations are for the ``stored`` or the ``upright``
            pixels of images that their EXIF orientation turns; asked for where the
            annotations do not tell.
        on_error: ``skip`` lists files that are no images in ``convert_errors.jsonl``;
            ``fail`` stops at the first.
        classes: Class names by id. None: sorted subfolders; of an iterable, names as
            they first come.
        allow_empty_class: Write a folder's set though a class has no sound image.
        images: Folder that the paths of images begin at. None: where the format has it.
        listed: A file that names the samples to take, as Pascal VOC's
            ``ImageSets/Main/train.txt``.
        columns: Of a table: the column of each field, as ``{"image": "path"}``.
        origin: First pixel of Pascal VOC's boxes, 0 or 1.
        masks: Store masks of objects where the source has outlines.
        allow_outside: Files may lie outside of the source's folder.
        engine: ``local`` processes, or ``ray``: the cluster that this process or
            ``RAY_ADDRESS`` is connected to, else one on this machine; all its nodes
            must see ``src`` and ``dst``.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: An argument is out of range, or ``dst`` holds something else.
        DataRefused: There is no image, a class has none, or one is broken and
            ``on_error`` is ``fail``.
        StoreError: The disk is full or gone.
    """
    if not isinstance(src, str | Path):
        given = {"resize": resize, "split": split, "group_by": group_by, "tile": tile}
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise UsageError(f"{named[0]} is for files, src is an iterable of samples")
        return _write_all(
            src, dst, shard_size=shard_size, classes=classes, progress=progress,
            seekable=seekable,
            encoding="png" if encode == "keep" else encode,
        )  # fmt: skip
    options = Options(
        encode=encode, resize=resize, quality=quality, frame=annotation_frame,
        group_by=group_by, on_error=on_error, srgb=srgb, seekable=seekable,
        tiling=Tiling.of(
            tile, overlap=overlap, visibility=visibility, keep_empty=keep_empty
        ),
    )  # fmt: skip
    job = Job(
        shard_size=parse_bytes(shard_size, name="shard_size"), workers=workers,
        seed=seed, keep_order=keep_order, allow_empty_class=allow_empty_class,
        progress=progress, split=parse_split(split), stratify=stratify,
        options=options, engine=engine, near_copies=near_copies, dedupe=dedupe,
    )  # fmt: skip
    hints = SourceOptions(
        classes=classes, images=images, listed=listed, columns=columns or {},
        origin=origin, masks=masks, allow_outside=allow_outside,
    )  # fmt: skip
    return plan_conversion(src, dst, source=source, hints=hints, job=job).run()


def _write_all(
    samples: Iterable[Mapping[str, Any]],
    dst: str | Path,
    *,
    progress: bool,
    **options: Any,  # noqa: ANN401  # of ShardWriter
) -> Manifest:
    """Write samples in their own order."""
    writer = ShardWriter(dst, **options)
    try:
        for sample in ProgressBar(
            samples, unit="img", disable=None if progress else True
        ):
            writer.write(sample)
    except BaseException:
        writer.abort()
        raise
    return writer.close()
