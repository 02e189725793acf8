"""Recipes by name: the augmentation of well-known trainings, to start from.

Each is a file of ``fiberaug/presets``, with comments that say where it comes from and
in what it differs from there.
"""

from importlib.resources import files

from fiberaug.errors import UsageError
from fiberaug.recipe import Recipe, did_you_mean, shorten

__all__ = ["names", "preset", "text_of"]

_FOLDER = "presets"
_SUFFIX = ".yaml"


def names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    folder = files("fiberaug") / _FOLDER
    found = [file.name for file in folder.iterdir() if file.name.endswith(_SUFFIX)]
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found))


def text_of(name: str) -> str:
    """Return the YAML text of a preset: copy it to a file to change it.

    Raises:
        UsageError: There is no such preset.
    """
    known = names()
    if name not in known:
        raise UsageError(
            f"there is no preset {shorten(name)}{did_you_mean(name, known)}; there are"
            f" {', '.join(known)}"
        )
    file = files("fiberaug") / _FOLDER / f"{name}{_SUFFIX}"
    return file.read_text(encoding="utf-8")


def preset(name: str) -> Recipe:
    """Return the recipe of a preset.

    >>> preset("torchvision").cpu[0]
    {'RandomResizedCrop': {'size': [224, 224], 'scale': [0.08, 1.0]}}

    Raises:
        UsageError: There is no such preset.
    """
    return Recipe.parse(text_of(name))
