"""A recipe: what is done to samples, as a file that a person writes.

Recipes come from strangers: the form is checked here, with limits on how much a recipe
says and how deep it goes, before anything is built from it.
"""

import difflib
import importlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from fiberaug.errors import StoreError, UsageError
from fiberaug.mix import Mix

__all__ = [
    "MOST_NESTING",
    "MOST_OPERATIONS",
    "SECTIONS",
    "VERSION",
    "Recipe",
    "check_operations",
    "did_you_mean",
    "shorten",
]

VERSION = 1
SECTIONS = ("decode", "cpu", "gpu", "batch", "mix", "normalize")
MOST_OPERATIONS = 256
"""Operations of a recipe in all, those inside of compositions included."""
MOST_NESTING = 16
"""Levels of operations: one for the list, one more inside of each composition."""

_LISTS = ("cpu", "gpu", "batch")
_NORMALIZE = ("max_pixel_value", "mean", "std")
_MOST_BYTES = 2**20
_MOST_VALUES = 2**20
_MOST_DEPTH = 5 * MOST_NESTING  # lists and mappings: 4 a level, the rest for arguments
_COMPOSITIONS = "transforms"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Operations by name and argument.

    >>> recipe = Recipe.parse('''
    ... version: 1
    ... cpu:
    ...   - RandomResizedCrop: {size: [224, 224]}
    ...   - HorizontalFlip: {p: 0.5}
    ... normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
    ... ''')
    >>> [name for operation in recipe.cpu for name in operation]
    ['RandomResizedCrop', 'HorizontalFlip']
    """

    cpu: tuple[Mapping[str, Any], ...] = ()
    """Operations in workers, each a mapping with one key: its name."""

    gpu: tuple[Mapping[str, Any], ...] = ()
    """Operations on batches, see ``gpu_transform`` of :class:`fiberaug.DataLoader`."""

    batch: tuple[Mapping[str, Any], ...] = ()
    """Mixes of samples, see ``batch_transform`` of :class:`fiberaug.DataLoader`."""

    decode: Mapping[str, Any] | None = None
    """How images are decoded: ``color``, ``depth``, ``scale``; the decoder checks."""

    mix: Mapping[str, Any] | None = None
    """What is mixed in: arguments of :class:`fiberaug.Mix`; evaluation ignores it."""

    normalize: Mapping[str, Any] | None = None
    """Arguments of the final normalisation: ``mean``, ``std``, ``max_pixel_value``."""

    version: int = VERSION
    """Version of the format."""

    def __post_init__(self) -> None:
        """Check the form; names and arguments are checked where they are used.

        Raises:
            UsageError: The version is not known, an operation is no one-key mapping, or
                there is more of something than a recipe may hold.
        """
        if self.version is True or self.version != VERSION:
            raise UsageError(
                f"recipe version must be {VERSION}, got {shorten(self.version)}"
            )
        for name in _LISTS:
            check_operations(getattr(self, name), name)
        for name in ("decode", "mix", "normalize"):
            section = getattr(self, name)
            if not isinstance(section, Mapping | None):
                raise UsageError(f"{name} is a mapping, got {type(section).__name__}")
            _check_values(section, name)
        if self.mix is not None:
            Mix.of(self.mix)
        unknown = sorted(set(self.normalize or ()) - set(_NORMALIZE))
        if unknown:
            raise UsageError(
                f"normalize takes {list(_NORMALIZE)}, got {shorten(unknown)}"
                + did_you_mean(unknown[0], _NORMALIZE)
            )

    @property
    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """The operations of the ``cpu`` section, followed by the normalisation."""
        if self.normalize is None:
            return self.cpu
        return (*self.cpu, {"Normalize": dict(self.normalize)})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the recipe that a mapping describes.

        Raises:
            UsageError: A section is not known.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"a recipe is a mapping, got {type(data).__name__}")
        unknown = set(data) - {"version", *SECTIONS}
        if unknown:
            names = sorted(unknown, key=str)
            raise UsageError(
                f"a recipe has the sections {SECTIONS}, got {shorten(names)}"
                + did_you_mean(names[0], ("version", *SECTIONS))
            )
        lists = {name: data.get(name) or () for name in _LISTS}
        for name, section in lists.items():
            if not isinstance(section, list | tuple):
                raise UsageError(
                    f"section {name} is a list of operations, got"
                    f" {type(section).__name__}"
                )
        return cls(
            **{name: tuple(section) for name, section in lists.items()},
            decode=data.get("decode"),
            mix=data.get("mix") or None,
            normalize=data.get("normalize"),
            version=data.get("version", 0),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the recipe that YAML or JSON text describes.

        Raises:
            UsageError: The text is neither, or longer than 1 MiB.
        """
        if len(text) > _MOST_BYTES:
            raise UsageError(
                f"a recipe has at most {_MOST_BYTES} characters, got {len(text)}"
            )
        try:
            data = _load(text)
        except UsageError:
            raise
        # ValueError: the 31st of June; RecursionError: thousands of brackets
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(
                f"the recipe is no YAML: {' '.join(str(error).split())}"
            ) from error
        return cls.from_dict(data)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Return the recipe in a file.

        Raises:
            StoreError: The file cannot be read.
            UsageError: It is no recipe.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot read recipe {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"recipe {path} is no UTF-8 text: {error}") from error
        return cls.parse(text)

    @staticmethod
    def preset(name: str) -> "Recipe":
        """Return the recipe of a well-known training, see docs/policies.md.

        Raises:
            UsageError: There is no such preset.
        """
        found: Recipe = importlib.import_module("fiberaug.presets").preset(name)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, sections in order."""
        result: dict[str, Any] = {"version": self.version}
        if self.decode is not None:
            result["decode"] = self.decode
        result["cpu"] = self.cpu
        for name in ("gpu", "batch"):
            if getattr(self, name):
                result[name] = getattr(self, name)
        for name in ("mix", "normalize"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name)
        copied: dict[str, Any] = json.loads(json.dumps(result))
        return copied

    def eval(self) -> Callable[..., Any]:
        """Return a function of one image that gives the pixels of an evaluation loader.

        ``recipe.eval()(image)`` is a tensor [C, H, W], equal bit for bit to the row of
        a batch; ``image`` is an array [H, W, C], the bytes or the path of a file, or a
        PIL image. A recipe that draws needs ``record=``, the record of the sample.

        Raises:
            UsageError: An operation or an argument is refused.
        """
        # The one look upward: users call a method, and values know no engine.
        evaluating = importlib.import_module("fiberaug.evaluating")
        made: Callable[..., Any] = evaluating.Evaluator(self)
        return made


def _load(text: str) -> Any:  # noqa: ANN401  # whatever a stranger wrote
    with suppress(ValueError):
        return json.loads(text)  # first: YAML takes JSON's 1e-05 for text
    if "*" in text and any(isinstance(t, yaml.AliasToken) for t in yaml.scan(text)):
        raise UsageError("a recipe has no YAML aliases")
    return yaml.safe_load(text)


def did_you_mean(name: object, known: Collection[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one.

    Args:
        name: What was written.
        known: The names there are.
    """
    if not isinstance(name, str):
        return ""
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)  # std: std_range
    return f"; did you mean {near[0]!r}?" if near else ""


def shorten(value: object) -> str:
    """Return a value as a message shows it: one line, at most 80 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # thousands of brackets or of digits
        return f"a large {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_operations(operations: object, where: str = "cpu") -> None:
    """Check the form of a list of operations, compositions included.

    Args:
        operations: A list of one-key mappings.
        where: How messages call it.

    Raises:
        UsageError: It is none, there are more than 256 operations, they are nested more
            than 16 deep, or a value is none that JSON has.
    """
    _check_values(operations, where)
    count = _count(operations, where, 1)
    if count > MOST_OPERATIONS:
        raise UsageError(
            f"{where} has at most {MOST_OPERATIONS} operations in all, got {count}"
        )


def _count(operations: object, where: str, level: int) -> int:
    if not isinstance(operations, list | tuple):
        raise UsageError(
            f"{where} is a list of operations, got {type(operations).__name__}"
        )
    if level > MOST_NESTING:
        raise UsageError(f"{where}: operations nest at most {MOST_NESTING} levels deep")
    count = len(operations)
    for i, operation in enumerate(operations):
        if not isinstance(operation, Mapping) or len(operation) != 1:
            raise UsageError(
                f"{where}[{i}] is a mapping with one key, such as"
                f" HorizontalFlip: {{p: 0.5}}, got {shorten(operation)}"
            )
        ((name, arguments),) = operation.items()
        if not isinstance(arguments, Mapping | None):
            raise UsageError(
                f"{where}[{i}]: arguments of {shorten(name)} are a mapping,"
                f" got {shorten(arguments)}"
            )
        if arguments and _COMPOSITIONS in arguments and "." not in name:
            place = f"{where}[{i}].{name[:40]}"
            count += _count(arguments[_COMPOSITIONS], place, level + 1)
    return count


def _check_values(root: object, where: str) -> None:
    """Refuse what JSON has not, without recursion: the depth is the stranger's."""
    waiting = [(root, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if not isinstance(value, dict | list | tuple):
            _check_value(value, where)
            continue
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise UsageError(f"{where}: keys are text, got {shorten(list(value))}")
        if depth == _MOST_DEPTH:
            raise UsageError(
                f"{where}: lists and mappings nest at most {_MOST_DEPTH} deep"
            )
        if seen + len(value) > _MOST_VALUES:
            raise UsageError(f"{where} holds at most {_MOST_VALUES} values")
        inner = value.values() if isinstance(value, dict) else value
        waiting += [(item, depth + 1) for item in inner]


def _check_value(value: object, where: str) -> None:
    if isinstance(value, str | None):
        return
    if not isinstance(value, int | float):  # bool is an int
        raise UsageError(
            f"{where}: a recipe holds numbers, text, lists and mappings,"
            f" got {type(value).__name__} {shorten(value)}"
        )
    large = isinstance(value, int) and value.bit_length() >= 1024  # above every float
    if large or not math.isfinite(value):
        raise UsageError(f"{where}: numbers are finite, got {shorten(value)}")
