"""What a source is: asked for by name, or told by what lies there."""

import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.jobs.items import Source
from fiberaug.jobs.sources.options import SourceOptions

__all__ = ["KINDS", "find_source"]

_FOLDERS = 20  # of a set that YOLO's layout is looked for in


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A source whose module is loaded where it may be meant.

    Loading all of them takes longer than converting a small folder.
    """

    listing: str
    """Module and function that list it."""

    telling: str = ""
    """Module and function that tell a path for it; empty: what is nothing else."""

    takes: str
    """Options beside ``frame``, with blanks."""

    among: str = ""
    """A regular expression: a name in every folder that is told for it matches."""

    inner: str = ""
    """Or such a folder stands in it or in one below."""

    def lists(self, src: Path, options: SourceOptions) -> Source:
        """Return the source, listed."""
        found: Source = _function(self.listing)(src, options)
        return found

    def looks(self, src: Path) -> bool:
        """Return whether a path is told for such a source."""
        return (
            bool(self.telling)
            and self.may_be(src)
            and bool(_function(self.telling)(src))
        )

    def may_be(self, src: Path) -> bool:
        """Return whether a path can be told for such a source, by names alone."""
        if not (self.among or self.inner) or not src.is_dir():
            return True
        among = re.compile(self.among, re.DOTALL) if self.among else None
        if among is not None and any(map(among.fullmatch, os.listdir(src))):
            return True
        return bool(self.inner) and self._has_inner(src)

    def _has_inner(self, src: Path) -> bool:
        below = sorted(entry.path for entry in os.scandir(src) if entry.is_dir())
        folders = [str(src), *below[:_FOLDERS]]
        return any(os.path.isdir(os.path.join(one, self.inner)) for one in folders)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(".")
    found = importlib.import_module(f"fiberaug.jobs.sources.{module}")
    wanted: Callable[..., Any] = getattr(found, function)
    return wanted


KINDS: Mapping[str, _Kind] = {
    "folder": _Kind(listing="folder.list_folder", takes="classes"),
    "csv": _Kind(
        listing="table.list_table", telling="table.looks_like_table",
        among=r"metadata\..*", takes="classes images columns allow_outside",
    ),
    "coco": _Kind(
        listing="coco.list_coco", telling="coco.looks_like_coco",
        takes="classes images masks allow_outside",
    ),
    "voc": _Kind(
        listing="voc.list_voc", telling="voc.looks_like_voc",
        takes="classes listed origin allow_outside",
    ),
    "yolo": _Kind(
        listing="yolo.list_yolo", telling="yolo.looks_like_yolo",
        among=r".*\.ya?ml|classes\.txt|obj\.names", inner="images",
        takes="classes allow_outside",
    ),
    "masks": _Kind(
        listing="masks.list_masks", telling="mask_layout.looks_like_masks",
        takes="classes images",
    ),
    "hf": _Kind(
        listing="hf.list_hf", telling="hf.looks_like_hf",
        among=r"dataset_dict\.json|state\.json", takes="classes columns allow_outside",
    ),
    "arrays": _Kind(
        listing="arrays.list_arrays", telling="arrays.looks_like_arrays",
        among=r".*\.npy", takes="classes columns",
    ),
    "shards": _Kind(
        listing="shards.list_shards", telling="shards.looks_like_shards",
        among=r".*\.tar", takes="classes columns",
    ),
    "tfrecord": _Kind(
        listing="tfrecord.list_tfrecord", telling="tfrecord.looks_like_tfrecord",
        among=r".+\.(tfrecord|tfrec).*", takes="classes columns allow_outside",
    ),
}  # fmt: skip
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
    if found == ["voc", "masks"]:
        found = ["voc"]  # its masks are read with it
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
