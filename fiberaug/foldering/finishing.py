"""What is written last: records, errors, recipe, and files of the whole set."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from fiberaug.errors import DataRefused
from fiberaug.foldering.annotating import Annotator
from fiberaug.foldering.closing import Written, table_file, voc_lists, yolo_files
from fiberaug.foldering.closing_coco import coco_files
from fiberaug.foldering.job import Job, Summary
from fiberaug.foldering.operations import Operation
from fiberaug.foldering.photos import Photos
from fiberaug.foldering.place import Place

__all__ = ["ERRORS", "INFO", "RECORDS", "close_folder"]

RECORDS = "records.jsonl"
"""A line a picture: ``file``, ``source``, ``copy`` and ``record``."""

ERRORS = "augment_errors.jsonl"
"""A line for each copy that could not be made: ``source``, ``copy``, ``reason``."""

INFO = "processing_info.json"
"""Of ``each``: an operation, its arguments, and what it drew for each file."""

_RECIPE = "recipe.yaml"


def close_folder(
    job: Job,
    operation: Operation,
    photos: Photos,
    place: Place,
    annotator: Annotator,
    units: int,
) -> Summary:
    """Write what speaks of all pictures; return what was written.

    Args:
        job: How the folder is augmented.
        operation: What is done to each photo.
        photos: The photos.
        place: The folder, with a note for each unit.
        annotator: What is known of the set.
        units: How many units there are.

    Raises:
        DataRefused: Not one picture could be made.
        StoreError: A file cannot be written.
    """
    pictures, left_out, lost = _totals(place, units)

    def said() -> Iterator[dict[str, Any]]:
        for note in place.notes(units):
            for about, line in zip(note["about"], note["lines"], strict=True):
                yield {**about, "source": line["source"]}

    for name, data in _set_files(job, photos, annotator, said, lost):
        place.write(name, data)
    place.write(RECORDS, _lines(place, units, "lines"))
    if left_out:
        place.write(ERRORS, _lines(place, units, "errors"))
    if operation.recipe is not None:
        text = yaml.safe_dump(operation.recipe.to_dict(), sort_keys=False)
        place.write(_RECIPE, text.encode())
    if operation.name:
        place.write(INFO, _info(job, operation, place, units))
    told = [f"{text}: {count}" for text, count in sorted(lost.items())]
    if photos.dataset.context(0).constant:
        told.append("Normalize at the end of the recipe: files hold levels")
    return Summary(
        place=str(place.folder), photos=len(photos), pictures=pictures,
        left_out=left_out, told=tuple(told),
    )  # fmt: skip


def _totals(place: Place, units: int) -> tuple[int, int, Counter[str]]:
    """Return pictures, copies that could not be made, and what was lost by name."""
    lost, pictures, errors = Counter[str](), 0, list[dict[str, Any]]()
    left_out = 0
    for note in place.notes(units):
        pictures += len(note["lines"])
        left_out += len(note["errors"])
        errors = errors or note["errors"]
        lost.update(note["lost"])
    if not pictures:
        reason = errors[0]["reason"] if errors else "there is none"
        raise DataRefused(f"not one photo could be made; the first: {reason}")
    return pictures, left_out, lost


def _set_files(
    job: Job,
    photos: Photos,
    annotator: Annotator,
    said: Callable[[], Iterator[dict[str, Any]]],
    lost: Counter[str],
) -> Iterator[Written]:
    manifest, reader = photos.dataset.shard_set.manifest, photos.source.reader
    if annotator.kind == "voc":
        yield from voc_lists(annotator.root, said, job.copies)
    elif annotator.kind == "yolo":
        yield from yolo_files(annotator, said)
    elif annotator.kind == "coco":
        fields = manifest.fields if manifest else {}
        yield from coco_files(
            job.src, annotator, said, copies=job.copies, lost=lost,
            numbered="bbox_ids?" in fields,
        )  # fmt: skip
    elif annotator.kind == "csv":
        table: Any = reader
        yield table_file(
            annotator, table.table, tuple(table.names), said, boxes=table.boxes,
            lost=lost,
        )  # fmt: skip


def _lines(place: Place, units: int, name: str) -> Iterator[bytes]:
    for note in place.notes(units):
        for line in note[name]:
            yield json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _info(job: Job, operation: Operation, place: Place, units: int) -> Iterator[bytes]:
    """Yield what an operation did to each file, as the folder augmenter told it."""
    head = {"operation": operation.name, "params": operation.params, "seed": job.seed}
    yield json.dumps(head, indent=1, default=str)[:-2].encode() + b',\n "files": {'
    comma = "\n"
    for note in place.notes(units):
        for line in note["lines"]:
            applied = line["record"]["applied_transforms"]
            info = {"source": line["source"], "applied": applied}
            text = f"{comma}  {json.dumps(line['file'])}: {json.dumps(info)}"
            yield text.encode()
            comma = ",\n"
    yield b"\n }\n}\n"
