"""Mixes from the ``batch`` section of a recipe, checked as strangers' text."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.mixes.arguments import arguments_of
from fiberaug.mixes.base import Mix
from fiberaug.mixes.blending import CutMix, MixUp, MixUpOrCutMix
from fiberaug.mixes.copy_paste import CopyPaste
from fiberaug.mixes.mosaic import Mosaic
from fiberaug.recipe import did_you_mean, shorten

__all__ = ["MIXES", "build_mixes", "mix_schemas"]

MIXES: Mapping[str, type[Mix]] = {
    mix.__name__: mix for mix in (CopyPaste, CutMix, MixUp, MixUpOrCutMix, Mosaic)
}
"""Mixes by their names in recipes."""

_MOST = 16


def build_mixes(section: Any) -> tuple[Mix, ...]:  # noqa: ANN401  # a stranger's
    """Return the mixes of a section, in order.

    Args:
        section: A list of one-key mappings, name to arguments, or of mixes.

    Raises:
        UsageError: A name or an argument is not known, a value is out of bounds, there
            is more than one blend of images, or it is not the last.

    >>> [mix.name for mix in build_mixes([{"Mosaic": {"p": 0.5}}, {"CopyPaste": None}])]
    ['Mosaic', 'CopyPaste']
    """
    if not isinstance(section, Sequence) or isinstance(section, str):
        raise UsageError(
            f"section batch is a list of mixes, got {type(section).__name__}"
        )
    if len(section) > _MOST:
        raise UsageError(f"batch has at most {_MOST} mixes, got {len(section)}")
    mixes = tuple(_built(item, f"batch[{i}]") for i, item in enumerate(section))
    for i, mix in enumerate(mixes[:-1]):
        if mix.phase == "blend":
            after = mixes[i + 1]
            also = "MixUpOrCutMix chooses between two" * (after.phase == "blend")
            raise UsageError(
                f"batch[{i}]: {mix.name} blends finished images and comes last, got"
                f" {after.name} behind it; {also or f'write {after.name} first'}"
            )
    return mixes


def _built(item: Any, where: str) -> Mix:  # noqa: ANN401  # whatever a stranger wrote
    if isinstance(item, Mix):
        return item
    if not isinstance(item, Mapping) or len(item) != 1:
        raise UsageError(
            f"{where} is a mapping with one key, such as MixUp: {{alpha: 0.2}}, got"
            f" {shorten(item)}"
        )
    ((name, given),) = item.items()
    kind = MIXES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UsageError(
            f"{where}: no mix {shorten(name)}; there are {', '.join(MIXES)}"
            + did_you_mean(name, MIXES)
        )
    if not isinstance(given, Mapping | None):
        raise UsageError(
            f"{where}: arguments of {name} are a mapping, got {shorten(given)}"
        )
    known = arguments_of(kind)
    for argument in given or ():
        if argument not in known:
            raise UsageError(
                f"{where}: {name} has no argument {shorten(argument)}"
                f"{did_you_mean(argument, known)}; it takes {', '.join(known)}"
            )
    try:
        return kind(**(given or {}))
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from None


def mix_schemas() -> dict[str, dict[str, Any]]:
    """Return a JSON Schema of the arguments of each mix, by name.

    Every section that builds is valid; that ranges rise is beyond the schema.
    """
    return {
        name: {
            "description": inspect.cleandoc(str(kind.__doc__)).partition("\n")[0],
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                argument: {**about.schema(), "default": _plain(default)}
                for argument, (about, default) in arguments_of(kind).items()
            },
        }
        for name, kind in MIXES.items()
    }


def _plain(value: Any) -> Any:  # noqa: ANN401  # of any argument
    return list(value) if isinstance(value, tuple) else value
