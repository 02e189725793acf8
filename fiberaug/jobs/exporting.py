"""``export``: shards back to COCO, Pascal VOC, YOLO or class folders."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.converting import Bar
from fiberaug.jobs.crew import run_jobs
from fiberaug.jobs.export_coco import CocoFiles
from fiberaug.jobs.export_set import Asked, ExportSet
from fiberaug.jobs.export_target import ERRORS, ExportTarget
from fiberaug.jobs.export_unit import ExportUnit, lines_of, scratch_name
from fiberaug.jobs.formats.yolo import description
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.plain import resolve_any
from fiberaug.shards.urls import scheme

__all__ = ["Exported", "export"]

_FORMAT = 1  # of what an export writes: raised when the same set gives other bytes
_ALL = "trainval"  # list of a Pascal VOC set without parts, where trainers look


class Exported(NamedTuple):
    """What an export has written."""

    place: str
    """The folder."""

    to: str
    """The format."""

    parts: Mapping[str, int]
    """Images by part; a set without parts has one of an empty name."""

    left_out: int
    """Samples that could not be written; ``export_errors.jsonl`` says why."""

    odd: int
    """Boxes without area or beyond their image, which stand there, too."""

    turned: int
    """Images that their EXIF orientation turns; annotations are upright."""

    lost: Mapping[str, int]
    """What the format cannot hold, by name."""

    again: bool
    """All of it was there already."""

    @property
    def samples(self) -> int:
        """Number of images."""
        return sum(self.parts.values())


def export(
    shards: object,
    dst: str | Path,
    *,
    to: str,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    lines: str | None = None,
    origin: int = 0,
    fields: Mapping[str, str] | str = "auto",
    workers: int | None = None,
    index_dir: str | Path | None = None,
    on_error: str = "skip",
    progress: bool = True,
) -> Exported:
    """Write a data set in a format that other programs read.

    Images are written byte for byte, with annotations for their upright pixels. What
    the format cannot hold is counted and returned. A call that was interrupted goes on
    where it was when it is made again; where all is done it does nothing.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them, also a plain set.
        dst: New folder.
        to: ``coco``, ``voc``, ``yolo``, or ``folder``: of classes, or ``images`` and
            ``masks`` where photos have masks and no class.
        split: Part of the set. None: all of it, each part as the format has parts.
        classes: Class names by id. None: those of the set.
        lines: Of YOLO: ``boxes``, ``outlines`` or ``keypoints``. None: what the first
            sample with objects has.
        origin: First pixel of Pascal VOC's boxes, 0 or 1.
        fields: Field mapping, as :class:`fiberaug.StreamingDataset` takes it.
        workers: Processes. None: one for each core.
        index_dir: Folder of the side-cars. None: beside the shards.
        on_error: ``skip`` lists a sample that cannot be written, ``fail`` stops at it.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: An argument is out of range, ``dst`` holds something else, or the
            format cannot have such classes.
        DataRefused: A shard is damaged, or a sample is and ``on_error`` is ``fail``.
        StoreError: Something cannot be read or written.
    """
    asked = Asked(to, split, lines, origin, workers, on_error)
    target = ExportTarget(_folder(dst, shards))
    found = resolve_any(shards, index_dir=index_dir)
    _, specs = resolve_fields(found, fields)
    named = tuple(found.manifest.classes if found.manifest else ())
    set_ = ExportSet.of(found, specs, tuple(classes or named), asked)
    arguments = {
        "format": _FORMAT, "fingerprint": found.fingerprint, "to": to, "split": split,
        "classes": set_.classes, "lines": lines, "origin": origin,
        "fields": {spec.name: str(spec) for spec in specs},
    }  # fmt: skip
    known = target.finished(arguments)
    if known is not None:
        return Exported(place=str(target.folder), to=to, again=True, **known)
    target.begin(arguments)
    figures = _written(set_, target, asked, progress=progress)
    target.finish(arguments, figures)
    return Exported(place=str(target.folder), to=to, again=False, **figures)


def _folder(dst: str | Path, shards: object) -> Path:
    if scheme(str(dst)) is not None:
        raise UsageError(f"{str(dst)!r} is no folder; an export writes to a folder")
    folder = Path(dst).absolute()
    home = Path(shards) if isinstance(shards, str | Path) else None
    if (
        home is not None
        and home.is_dir()
        and folder.resolve().is_relative_to(home.resolve())
    ):
        raise UsageError(f"{dst} lies inside of {shards}; write the set elsewhere")
    return folder


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _written(
    set_: ExportSet, target: ExportTarget, asked: Asked, *, progress: bool
) -> dict[str, Any]:
    """Write all files and return the figures."""
    naming = set_.naming(progress=progress)
    units = [
        ExportUnit(
            ref=ref, cache=set_.found.cache, part=part, reader=set_.reader,
            style=set_.style, naming=naming, target=target, on_error=asked.on_error,
        )
        for ref, part in set_.refs
    ]  # fmt: skip
    total = sum(ref.samples or 0 for ref, _ in set_.refs)
    workers = min(asked.workers or _cores(), len(units))
    parts, lost, figures = Counter[str](), Counter[str](), Counter[str]()
    with Bar(total, "export", shown=progress) as bar:
        jobs = ((unit,) for unit in units)
        running = run_jobs(ExportUnit.run, jobs, workers=workers, told=bar.told)
        # Closed here: after Ctrl-C workers stop now, and not when this is garbage.
        with closing(running) as notes:
            for note in notes:
                parts.update(note["parts"])
                lost.update(note["lost"])
                figures.update({n: note[n] for n in ("left_out", "odd", "turned")})
    if not parts:
        first = next(_errors(set_, target), {"reason": "there is none"})
        raise SampleBroken(
            f"none of {figures['left_out']} samples can be written; the first:"
            f" {first['reason']}"
        )
    _finish(set_, target, sorted(parts, key=set_.order), lost)
    return {
        "parts": {part: parts[part] for part in sorted(parts, key=set_.order)},
        "left_out": figures["left_out"], "odd": figures["odd"],
        "turned": figures["turned"], "lost": dict(sorted((+lost).items())),
    }  # fmt: skip


def _errors(set_: ExportSet, target: ExportTarget) -> Iterator[dict[str, Any]]:
    for ref, _ in set_.refs:
        yield from lines_of(target, f"{ref.name}.errors")


def _finish(
    set_: ExportSet, target: ExportTarget, parts: Sequence[str], lost: Counter[str]
) -> None:
    """Write what stands for the whole set."""
    names = [ref.name for ref, _ in set_.refs]
    if set_.style.to == "coco":
        files = CocoFiles(
            target=target, shards=names, classes=set_.classes, about=set_.about,
            objects=set_.reader.has("bboxes") or set_.reader.has("masks"),
            captions=set_.reader.has("caption"),
        )  # fmt: skip
        for part in parts:
            files.write(part, lost)
    if set_.style.to == "yolo":
        folders = {part or "train": f"images/{part}".rstrip("/") for part in parts}
        target.put("data.yaml", description(set_.classes, folders, set_.about))
    if set_.style.to == "voc":
        for part in parts:
            with target.writing(f"ImageSets/Main/{part or _ALL}.txt") as file:
                for name in names:
                    lines = lines_of(target, scratch_name(name, part))
                    file.writelines(line["stem"].encode() + b"\n" for line in lines)
    found = _errors(set_, target)
    first = next(found, None)
    if first is not None:
        with target.writing(ERRORS) as file:
            file.write(json.dumps(first).encode() + b"\n")
            file.writelines(json.dumps(line).encode() + b"\n" for line in found)
