"""Regions of real photos made anew, labels kept.

Every name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.editing.blending import Seam, seam
    from fiberaug.editing.editor import Editor
    from fiberaug.editing.options import EditOptions
    from fiberaug.editing.photo import PhotoEdit, edit_photo
    from fiberaug.editing.processor import RegionEdit
    from fiberaug.editing.sample import EditedSample, Reading, edit_sample, remake
    from fiberaug.editing.writing import edit_pool

__all__ = [
    "EditOptions", "EditedSample", "Editor", "PhotoEdit", "Reading", "RegionEdit",
    "Seam", "edit_photo", "edit_pool", "edit_sample", "remake", "seam",
]  # fmt: skip

_HOMES = {
    "blending": ("Seam", "seam"),
    "editor": ("Editor",),
    "options": ("EditOptions",),
    "photo": ("PhotoEdit", "edit_photo"),
    "processor": ("RegionEdit",),
    "sample": ("EditedSample", "Reading", "edit_sample", "remake"),
    "writing": ("edit_pool",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.editing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fiberaug.editing.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
