"""What a source is: asked for by name, or told by what lies there."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from fiberaug.errors import UsageError
from fiberaug.jobs.items import Source
from fiberaug.jobs.sources.arrays import list_arrays, looks_like_arrays
from fiberaug.jobs.sources.coco import list_coco, looks_like_coco
from fiberaug.jobs.sources.folder import list_folder
from fiberaug.jobs.sources.hf import list_hf, looks_like_hf
from fiberaug.jobs.sources.mask_layout import looks_like_masks
from fiberaug.jobs.sources.masks import list_masks
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.shards import list_shards, looks_like_shards
from fiberaug.jobs.sources.table import list_table, looks_like_table
from fiberaug.jobs.sources.voc import list_voc, looks_like_voc
from fiberaug.jobs.sources.yolo import list_yolo, looks_like_yolo

__all__ = ["KINDS", "find_source"]


class _Kind(NamedTuple):
    lists: Callable[[Path, SourceOptions], Source]
    looks: Callable[[Path], bool]
    takes: str
    """Options beside ``frame``, with blanks."""


KINDS: Mapping[str, _Kind] = {
    "folder": _Kind(list_folder, lambda _: False, "classes"),  # what is nothing else
    "csv": _Kind(list_table, looks_like_table, "classes images columns allow_outside"),
    "coco": _Kind(list_coco, looks_like_coco, "classes images masks allow_outside"),
    "voc": _Kind(list_voc, looks_like_voc, "classes listed origin allow_outside"),
    "yolo": _Kind(list_yolo, looks_like_yolo, "classes allow_outside"),
    "masks": _Kind(list_masks, looks_like_masks, "classes images"),
    "hf": _Kind(list_hf, looks_like_hf, "classes columns allow_outside"),
    "arrays": _Kind(list_arrays, looks_like_arrays, "classes columns"),
    "shards": _Kind(list_shards, looks_like_shards, "classes columns"),
}
"""Sources as ``--from`` names them."""


def find_source(
    src: Path, kind: str = "auto", options: SourceOptions | None = None
) -> Source:
    """Return a source of images, listed.

    Args:
        src: Folder or file.
        kind: As ``--from`` names it; ``auto`` looks what lies there.
        options: What else is known of it.

    Raises:
        UsageError: There is nothing, it can be understood in more than one way, or an
            option says nothing of such a source.
        DataRefused: It is no such source.
        StoreError: It cannot be read.
    """
    if kind != "auto" and kind not in KINDS:
        raise UsageError(f"source must be auto, {', '.join(KINDS)}, got {kind!r}")
    kind = _told(src) if kind == "auto" else kind
    options = options or SourceOptions()
    _check(kind, options)
    return KINDS[kind].lists(src, options)


def _check(kind: str, options: SourceOptions) -> None:
    """Refuse an option that the source would not heed."""
    takes = KINDS[kind].takes.split()
    given = {one.name: getattr(options, one.name) for one in fields(options)}
    plain = SourceOptions()
    for name, value in given.items():
        if name not in {*takes, "frame"} and value != getattr(plain, name):
            raise UsageError(
                f"{name}={value!r:.80} says nothing of a source of the kind {kind!r},"
                f" which takes {', '.join(takes)}"
            )


def _told(src: Path) -> str:
    """Return what a path is, where that is plain."""
    found = [name for name, kind in KINDS.items() if kind.looks(src)]
    if len(found) > 1:
        raise UsageError(
            f"{src} can be read as {' and as '.join(found)}; say which:"
            f' source="{found[0]}" (--from {found[0]})'
        )
    if not found and src.exists() and not src.is_dir():
        raise UsageError(
            f"{src} is a file of no kind that is known: say source= (--from)"
            f" {', '.join(KINDS)}"
        )
    return found[0] if found else "folder"
