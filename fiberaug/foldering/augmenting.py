"""A folder of photos to augmented photos: the same files from any workers."""

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.foldering.annotating import Annotator
from fiberaug.foldering.carrying import carrying
from fiberaug.foldering.finishing import close_folder
from fiberaug.foldering.job import Job, Summary
from fiberaug.foldering.operations import Operation, each_of, whole
from fiberaug.foldering.own_file import load_processors
from fiberaug.foldering.photos import Photos, open_photos
from fiberaug.foldering.place import Place
from fiberaug.foldering.unit import PHOTOS, Work, Worker, end_work
from fiberaug.jobs.converting import Bar
from fiberaug.jobs.crew import Done, run_jobs

__all__ = ["augment_folder"]

_PROBED = 16  # photos, to find one that can be made
_log = logging.getLogger("fiberaug")


def augment_folder(
    src: str | Path,
    dst: str | Path,
    recipe: Any,  # noqa: ANN401  # see the docstring
    *,
    copies: int = 1,
    each: bool = False,
    seed: int = 0,
    encode: str = "keep",
    quality: int = 95,
    workers: int | None = None,
    on_error: str = "skip",
    processors: str | Path | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Summary:
    """Write augmented copies of the photos of a folder, with their annotations.

    The folder that is written looks as the one that is read: the same paths below it,
    masks, boxes and captions moved along, in the same formats. Beside them stand
    ``records.jsonl``, ``recipe.yaml`` and ``augment.json``. Copy c of a photo is what
    the loader makes of it in epoch 0 as visit c; the files do not depend on
    ``workers``. A call that was interrupted, however it ended, goes on where it was
    when it is made again.

    Args:
        src: A folder of images, with class folders or not, or a COCO, Pascal VOC or
            YOLO set, images with masks, or a table.
        dst: A new folder.
        recipe: A :class:`fiberaug.Recipe`, its file, a list of operations such as
            ``[{"HorizontalFlip": {"p": 0.5}}]``, or any ``transform`` of
            :class:`fiberaug.StreamingDataset`. A ``Normalize`` at its end is not done:
            files hold levels.
        copies: Copies of each photo; the photo itself is none of them. Copy c of
            ``a.jpg`` is ``a_c.jpg`` where there are several.
        each: Apply every top-level operation alone and always, into
            ``dst/<operation>/``.
        seed: In [0, 2**64).
        encode: ``keep`` (the format of each photo), ``jpeg``, ``png`` or ``webp``.
        quality: Of JPEG and WebP, 1 to 100.
        workers: Processes. None: one for each core.
        on_error: ``skip`` lists photos that cannot be made in ``augment_errors.jsonl``;
            ``fail`` stops at the first.
        processors: A file of your own with ``ImageProcessor`` or ``TextProcessor``
            classes that the recipe names, as ``my_ops.Speckle`` of ``my_ops.py``. Its
            code is run.
        cache_dir: Where the index of the photos is kept; None: ``~/.cache/fiberaug``.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: An argument is out of range, the recipe is refused or fails on a
            photo, or ``dst`` holds something else.
        DataRefused: There is no photo, none can be made, or one cannot and ``on_error``
            is ``fail``.
        StoreError: A folder cannot be read or written.
    """
    job = Job(
        src=Path(src), copies=copies, seed=seed, encode=encode, quality=quality,
        workers=workers, on_error=on_error, cache_dir=cache_dir, progress=progress,
        processors=None if processors is None else str(Path(processors).absolute()),
    )  # fmt: skip
    out = Path(dst).absolute()
    if not job.src.exists():
        raise UsageError(f"there is no {src}")
    _check_apart(job.src, out)
    if job.processors is not None:
        found = load_processors(job.processors)
        _log.info("%s was run: it defines %s", processors, ", ".join(found))
    if not each:
        return _augment(job, whole(recipe), out)
    return _augment_each(job, each_of(recipe), out)


def _check_apart(src: Path, out: Path) -> None:
    """Refuse a source that lies in its output, or the other way."""
    home, there = src.resolve(), out.resolve()
    if there.is_relative_to(home):
        raise UsageError(f"{out} lies inside of {src}; write the copies elsewhere")
    if home.is_relative_to(there):
        raise UsageError(f"{src} lies inside of {out}; write the copies elsewhere")


def _augment_each(job: Job, operations: Sequence[Operation], out: Path) -> Summary:
    opened = [_open(job, operation) for operation in operations]
    pairs = list(zip(operations, opened, strict=True))
    top = Place(out)
    arguments = {"each": [job.arguments(photos, one) for one, photos in pairs]}
    known = top.done(arguments)
    if known is not None:
        return _known(known, out)
    with top.alone():
        top.begin(arguments)
        done = [_augment(job, one, out / one.name, photos) for one, photos in pairs]
        summary = Summary(
            place=str(out), photos=done[0].photos,
            pictures=sum(one.pictures for one in done),
            left_out=sum(one.left_out for one in done),
            operations=tuple(one.name for one in operations),
            told=tuple(dict.fromkeys(text for one in done for text in one.told)),
        )  # fmt: skip
        top.finish(_finished(arguments, summary))
    return summary


def _known(about: Mapping[str, Any], out: Path) -> Summary:
    """Return what the same command wrote before."""
    said = about["summary"]
    lists = {name: tuple(said[name]) for name in ("operations", "told")}
    return Summary(**{**said, **lists, "place": str(out), "known": True})


def _finished(arguments: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    """Return the content of ``augment.json``."""
    from fiberaug.augment.environment import environment  # noqa: PLC0415  # 1.7 s of import

    said = summary.to_dict()
    del said["place"], said["known"]
    return {
        "arguments": arguments, "summary": said, "program": "fiberaug",
        "version": version("fiberaug"), "environment": environment(),
    }  # fmt: skip


def _open(job: Job, operation: Operation) -> Photos:
    return open_photos(
        job.src, operation, seed=job.seed, encode=job.encode, cache_dir=job.cache_dir
    )


def _augment(
    job: Job, operation: Operation, out: Path, photos: Photos | None = None
) -> Summary:
    photos = photos or _open(job, operation)
    _check_apart(Path(photos.source.root), out)
    place, arguments = Place(out), job.arguments(photos, operation)
    known = place.done(arguments)
    if known is not None:
        return _known(known, out)
    work = _work(job, photos, out)
    _probe(Worker(work), photos)
    with place.alone():
        place.begin(arguments)
        units = _run(job, work, photos)
        summary = close_folder(job, operation, photos, place, work.annotator, units)
        place.finish(_finished(arguments, summary))
    return summary


def _work(job: Job, photos: Photos, out: Path) -> Work:
    manifest = photos.dataset.shard_set.manifest
    annotator = Annotator(
        kind=photos.source.kind, root=photos.source.root,
        classes=photos.dataset.classes, about=manifest.about if manifest else {},
        binary=bool(getattr(photos.source.reader, "binary", False)),
    )  # fmt: skip
    return Work(
        out=str(out), setup=pickle.dumps(carrying(photos)), annotator=annotator,
        context=photos.dataset.context(0), copies=job.copies, encode=job.encode,
        quality=job.quality, on_error=job.on_error, processors=job.processors,
    )  # fmt: skip


def _probe(worker: Worker, photos: Photos) -> None:
    """Make one picture before anything is written: what cannot work stops here."""
    for photo in photos.unit(0, min(_PROBED, PHOTOS)):
        try:
            worker.make(photo, 0)
        except DataRefused:
            continue
        return


def _run(job: Job, work: Work, photos: Photos) -> int:
    """Write all units; return how many they are."""
    units = -(-len(photos) // PHOTOS)
    jobs = ((number, photos.unit(number, PHOTOS)) for number in range(units))
    workers = min(job.processes, units)
    with Bar(len(photos) * job.copies, "augment", shown=job.progress) as bar:
        told: Callable[[Done], None] = bar.told
        try:
            with closing(run_jobs(work, jobs, workers=workers, told=told)) as running:
                for _ in running:
                    pass
        finally:
            end_work()
    return units
