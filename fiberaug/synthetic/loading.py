"""Generators opened: from a folder by a closed table of kinds, or from the user's code.

A folder comes from strangers: its ``generator.json`` names a kind of this table, and
never code. ``module:function`` comes from the user, in Python or on the command line.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.files import read_json_object
from fiberaug.synthetic.generator import ImageGenerator, name_of

__all__ = ["FILE", "load", "load_code", "open_generator", "register"]

FILE = "generator.json"
_VERSION = 1
_MOST_BYTES = 2**20

Opener = Callable[[Path, Mapping[str, Any]], ImageGenerator]
_kinds: dict[str, Opener] = {}
_SHIPPED = {
    "gan": ("fiberaug.synthetic.gans", "open_gan"),
    "gan-own": ("fiberaug.synthetic.gans", "refuse_own"),
    "diffusion": ("fiberaug.synthetic.diffusions", "open_diffusion"),
    "diffusion-own": ("fiberaug.synthetic.diffusions", "refuse_own"),
    "lora": ("fiberaug.synthetic.adapter_folders", "refuse_without_base"),
}
"""Kinds of this package, imported when one is opened."""


def register(kind: str, opener: Opener) -> None:
    """Add a kind of generator that :func:`load` opens.

    Args:
        kind: What ``generator.json`` calls it.
        opener: (folder, content of ``generator.json``) -> the generator. It treats
            both as written by a stranger.

    Raises:
        UsageError: The kind is there already.
    """
    if kind in _kinds or kind in _SHIPPED:
        raise UsageError(f"the kind {kind!r} of generators is there already")
    _kinds[kind] = opener


def load(dir: str | Path) -> ImageGenerator:  # noqa: A002  # its public name
    """Return the generator that a folder holds.

    Args:
        dir: Folder with ``generator.json``.

    Raises:
        UsageError: There is no such folder.
        DataRefused: ``generator.json`` is broken, of a newer release, or of a kind that
            is not known.
        StoreError: It cannot be read.
    """
    folder = Path(dir)
    path = folder / FILE
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; a generator is a folder with {FILE}")
    try:
        said = read_json_object(path, _MOST_BYTES)
    except FileNotFoundError:
        raise UsageError(
            f"{folder} holds no generator: there is no {FILE}{_hint(folder)}"
        ) from None
    if type(said.get("v")) is not int:
        raise DataRefused(f'{path} must be an object with "v" and "kind"')
    if not 1 <= said["v"] <= _VERSION:
        raise DataRefused(f"{path} has version {said['v']}, this release reads 1")
    kind = said.get("kind")
    opener = _opener(kind) if isinstance(kind, str) else None
    if opener is None:
        known = ", ".join(sorted({*_kinds, *_SHIPPED}))
        raise DataRefused(
            f"{path} is of kind {kind!r:.80}; known kinds: {known}. A generator of"
            " your own code is given as module:function"
        )
    return opener(folder, said)


def _hint(folder: Path) -> str:
    if not (folder / "model_index.json").is_file():
        return ""
    return (
        ". It is a pipeline of diffusers, which"
        " fiberaug.pretrained.PretrainedPipeline.open opens"
    )


def _opener(kind: str) -> Opener | None:
    if kind not in _SHIPPED:
        return _kinds.get(kind)
    module, name = _SHIPPED[kind]
    opener: Opener = getattr(importlib.import_module(module), name)
    return opener


def load_code(spec: str) -> ImageGenerator:
    """Return what a function of the user's code makes.

    Args:
        spec: ``module:function``; the current folder is searched first. The function
            takes no argument.

    Raises:
        UsageError: There is no such module or function, or it makes no generator.
    """
    module, colon, attribute = spec.partition(":")
    if not colon or not module or not attribute:
        raise UsageError(f"a generator is a folder or module:function, got {spec!r}")
    here = os.getcwd()  # noqa: PTH109  # sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function: Any = importlib.import_module(module)
        for step in attribute.split("."):
            function = getattr(function, step)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot import {spec}: {error}") from error
    if callable(function):
        _check_no_arguments(spec, function)
        function = function()
    made = function
    if not isinstance(made, ImageGenerator):
        raise UsageError(
            f"{spec} must make a generator: {name_of(made)} has no method generate"
        )
    return made


def _check_no_arguments(spec: str, function: Any) -> None:  # noqa: ANN401
    """Refuse a function that cannot be called without arguments."""
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(
            f"{spec} must make a generator without being given anything: {error}"
        ) from error
    except ValueError:  # it does not say what it takes
        return


def open_generator(model: str | Path) -> ImageGenerator:
    """Return the generator that a command names: a folder, or ``module:function``.

    Raises:
        UsageError: There is none.
        DataRefused: See :func:`load`.
        StoreError: See :func:`load`.
    """
    if Path(model).is_dir() or ":" not in str(model):
        return load(model)
    return load_code(str(model))
