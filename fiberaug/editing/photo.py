"""A photo edited window after window: what one needs beside it is a window or two."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.editing.editor import Editor
from fiberaug.editing.objects import Objects
from fiberaug.editing.painting import Painted, paint
from fiberaug.editing.regions import draw_regions, find_regions, seed_of
from fiberaug.errors import SampleBroken, UsageError

__all__ = ["PhotoEdit", "edit_photo"]


class PhotoEdit(NamedTuple):
    """What was done to a photo."""

    changed: NDArray[np.uint8]
    """How much of each pixel was replaced, upright [H, W]; 0: it is as it was."""

    edits: tuple[Painted, ...]
    """Each window, in the order in which they were edited."""


def edit_photo(
    pixels: NDArray[Any],
    fields: Mapping[str, Any],
    editor: Editor,
    *,
    name: str,
    caption: str | None = None,
) -> PhotoEdit:
    """Edit a photo in place, and return what was changed.

    What comes out depends on the photo, its annotations in any order, the editor, the
    options and ``name``.

    Args:
        pixels: The photo, upright [H, W, C], uint8 or uint16, C 1 to 4.
        fields: Its annotations: see :meth:`fiberaug.editing.objects.Objects.of`.
        editor: Changes windows, as its options say.
        name: Of the sample and its copy: seeds depend on it.
        caption: Of the photo.

    Raises:
        SampleBroken: The photo is of floats, or has no mask and one is needed.
        UsageError: The editor returned something else than it must.
    """
    if pixels.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        raise SampleBroken(
            f"photos of 8 or 16 bits are edited, this one is {pixels.dtype}",
            stage="edit",
        )
    if not pixels.flags.writeable:
        raise UsageError("the pixels are edited in place: give a copy of your own")
    height, width = pixels.shape[:2]
    objects, options = Objects.of(fields, width, height), editor.options
    found = find_regions(objects, options, editor.wants)
    drawn = draw_regions(found, options.most, options.seed, name)
    changed = np.zeros((height, width), np.uint8)
    edits = []
    for region in drawn:
        seed = seed_of(options.seed, name, region)
        done = paint(
            pixels, changed, region, objects, editor, seed=seed, caption=caption
        )
        if done is not None:
            edits.append(done)
    return PhotoEdit(changed, tuple(edits))
