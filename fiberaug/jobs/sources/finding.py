"""What a source is: asked for by name, or told by what lies there."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fiberaug.errors import UsageError
from fiberaug.jobs.items import Source
from fiberaug.jobs.sources.folder import list_folder
from fiberaug.jobs.sources.options import SourceOptions

__all__ = ["KINDS", "find_source"]

_Lister = Callable[[Path, SourceOptions], Source]

KINDS: Mapping[str, _Lister] = {"folder": list_folder}
"""Readers of sources, as ``--from`` names them."""


def find_source(
    src: Path, kind: str = "auto", options: SourceOptions | None = None
) -> Source:
    """Return a source of images, listed.

    Args:
        src: Folder or file.
        kind: As ``--from`` names it; ``auto`` looks what lies there.
        options: What else is known of it.

    Raises:
        UsageError: There is nothing, or it can be understood in more than one way.
        DataRefused: It is no such source.
        StoreError: It cannot be read.
    """
    if kind == "auto":
        kind = "folder"
    if kind not in KINDS:
        raise UsageError(f"source must be auto, {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind](src, options or SourceOptions())
