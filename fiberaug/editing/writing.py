"""A set of photos edited into a pool: begun, gone on with, or found finished."""

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fiberaug.editing.editor import Editor
from fiberaug.editing.filling import Filling
from fiberaug.editing.options import EditOptions
from fiberaug.editing.parents import Parents
from fiberaug.errors import DataRefused, UsageError
from fiberaug.marking import COMPOSITE
from fiberaug.sizes import parse_bytes
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.making import peak_mib
from fiberaug.synthetic.place import REFUSED, Place
from fiberaug.synthetic.pool import Pool
from fiberaug.synthetic.poolfile import PoolFile

__all__ = ["edit_pool", "editor_of"]

_log = logging.getLogger("fiberaug")
_VERSION = 1  # raised when the same call gives other bytes
_PASSING = ("device",)  # what a generator says that its images do not depend on
_ON_ERROR = ("skip", "raise")


def editor_of(
    generator: ImageGenerator, options: EditOptions, parents: Parents
) -> Editor:
    """Return a generator as it edits the photos of a set.

    Raises:
        UsageError: It cannot do what is asked for, or a class is unknown.
    """
    return Editor(generator, options, parents.reading.classes)


def edit_pool(
    shards: object,
    generator: ImageGenerator | Callable[[], ImageGenerator],
    dst: str | Path,
    *,
    split: str | None = None,
    fields: Any = "auto",  # noqa: ANN401  # as StreamingDataset takes it
    limit: int | None = None,
    shard_size: int | str = "256MB",
    on_error: str = "skip",
    licence: str | None = None,
    progress: bool = True,
    **edits: Any,  # noqa: ANN401  # of EditOptions, which refuses unknown ones
) -> Pool:
    """Edit the photos of a set into a pool, labels kept, and return the pool.

    Each sample has all members of its parent. Its photo keeps EXIF, colour profile and
    orientation, and is marked as a composite; ``edit.png`` says how much of each pixel
    was replaced, in the photo's stored frame: where it is 0 the pixels are the
    parent's, bit for bit (but for ``encode="keep"`` of a JPEG, see docs/edit.md). Its
    JSON member says where it comes from and everything that it was made with.

    The pool depends on the photos, the generator and the options alone. A call that was
    interrupted, however it ended, goes on where it was when it is made again. What
    cannot be edited stands in ``rejected.jsonl`` with the reason.

    Args:
        shards: Photos, as ``StreamingDataset`` takes them.
        generator: See :class:`fiberaug.ImageGenerator`; or a function without arguments
            that makes it.
        dst: A new folder, or one that the same call has begun.
        split: The part of the set to be edited, or ``"all"``; of a set without parts
            the part that it is. A training refuses a pool of another part.
        fields: Which member fills which field.
        limit: Photos, from the first. None: all.
        shard_size: Size of a shard, such as ``"256MB"``.
        on_error: ``skip`` a broken sample and note it, or ``raise``.
        licence: Of the samples. None: as the generator says.
        progress: Show a bar on a terminal.
        edits: Of :class:`fiberaug.editing.EditOptions`: ``mode``, ``region``, ``what``,
            ``window``, ``prompt``, ``strength``, ``seed``, ...

    Raises:
        UsageError: An argument is out of range, the generator cannot do it, or ``dst``
            holds something else.
        DataRefused: The set is broken, a sample is and ``on_error`` is ``raise``, or no
            sample could be edited.
        StoreError: Something cannot be read or written.
    """
    options = EditOptions.from_dict(edits)
    if on_error not in _ON_ERROR:
        raise UsageError(f"on_error must be skip or raise, got {on_error!r}")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UsageError(f"limit must be an integer >= 1 or None, got {limit!r}")
    most = parse_bytes(shard_size, name="shard_size")
    place = Place(dst)
    done, begun = place.find(), place.begun
    parents = Parents.open(shards, split=split, fields=fields)
    made = generator
    if isinstance(generator, type) or not isinstance(generator, ImageGenerator):
        if not callable(generator):
            raise UsageError(
                "an editor is a generator with generate(seeds, labels, image=...), or"
                f" a function that makes one; got {generator!r:.80}"
            )
        made = generator()
    editor = editor_of(made, options, parents)  # type: ignore[arg-type]  # checked there
    asked = _asked(editor, parents, limit, most, licence)
    if done is not None:
        place.check_same(done.asked, asked)
        place.clear()
        _log.info("%s was written before by the same call", place.folder)
        return Pool.open(place.folder)
    if begun is not None:
        place.check_same(begun, asked)
    return _write(
        place, parents, editor, asked, progress=progress,
        fill=partial(Filling, limit=limit, shard_size=most, strict=on_error == "raise"),
    )  # fmt: skip


def _asked(
    editor: Editor,
    parents: Parents,
    limit: int | None,
    shard_size: int,
    licence: str | None,
) -> dict[str, Any]:
    """Return all that the pool depends on, as what JSON has."""
    described = editor.described
    asked = {
        "pool": _VERSION, "edit": editor.options.to_dict(),
        "seed": editor.options.seed,
        "generator": {k: v for k, v in described.items() if k not in _PASSING},
        "parents": parents.shards.fingerprint, "split": parents.split,
        "whole": parents.whole, "limit": limit, "shard_size": shard_size,
        "fields": _fields(parents, None, captions=True),
        "licence": licence or described.get("licence"),
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(asked))
    return plain


def _fields(
    parents: Parents, images: list[str] | None, *, captions: bool
) -> dict[str, str]:
    found = {}
    for spec in parents.reading.specs:
        optional = spec.optional or (spec.name == "caption" and not captions)
        source = str(spec)
        if spec.name == "image" and images is not None:
            source = ";".join(images)
        found[f"{spec.name}{'?' * optional}"] = source
    return found


def _write(
    place: Place,
    parents: Parents,
    editor: Editor,
    asked: Mapping[str, Any],
    *,
    fill: Callable[..., Filling],
    progress: bool,
) -> Pool:
    target = place.begin(asked)
    filling = fill(place, parents, editor)
    try:
        filling.fill(progress=progress)
    except UsageError:
        if not filling.progress.at:  # nothing was begun: a better call may take over
            place.clear()
        raise
    found = _account(filling, parents, editor, asked)
    if not filling.entries:
        raise DataRefused(
            f"none of {filling.progress.at} samples was edited:"
            f" {filling.progress.rejected}; the last: {filling.lines[-1:]}; choose"
            f" other regions, and remove {place.folder}"
        )
    if filling.lines:
        place.store.write(REFUSED, ("\n".join(filling.lines) + "\n").encode())
    place.write_pool_file(found)
    manifest, state = parents.shards.manifest, filling.progress
    target.finish(
        filling.entries, parents.reading.classes,
        _fields(parents, state.images, captions=not state.captions_dropped),
        about=None if manifest is None else manifest.about,
    )  # fmt: skip
    if found.state == "short":
        _log.warning(
            "%s has %d of %d samples: %s are broken, see %s", place.folder,
            state.accepted, state.at, state.rejected.get("broken"), REFUSED,
        )  # fmt: skip
    return Pool.open(place.folder)


def _account(
    filling: Filling, parents: Parents, editor: Editor, asked: Mapping[str, Any]
) -> PoolFile:
    """Return what ``pool.json`` says."""
    state = filling.progress
    height, width, channels = state.size or (0, 0, 0)
    counts = {
        "asked": state.at, "made": state.accepted, "accepted": state.accepted,
        "rejected": dict(sorted(state.rejected.items())),
    }  # fmt: skip
    return PoolFile(
        state="short" if state.rejected.get("broken") else "complete",
        generator=asked["generator"], source_type=COMPOSITE, asked=asked,
        licence=asked["licence"], counts={"edited": counts},
        size={"height": height, "width": width, "channels": channels},
        parents={
            "samples": state.accepted, "splits": dict(sorted(state.splits.items())),
            "fingerprint": parents.shards.fingerprint,
        },
        checks={
            "windows": state.windows,
            "objects": dict(sorted(state.labels.items())),
            "outside_differing": state.outside,
            "seam_ratio_mean": round(state.ratios / max(1, state.windows), 3),
            "seam_ratio_most": round(state.steepest, 3),
        },
        cost={
            "generate_s": round(state.generate_s, 3), "calls": state.windows,
            "made": state.accepted, "peak_mib": peak_mib(),
            "device": editor.described.get("device", "cpu"),
        },
        producer={"program": "fiberaug", "version": version("fiberaug")},
    )  # fmt: skip
