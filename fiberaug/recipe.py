"""A recipe: what is done to samples, as a file that a person writes."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from fiberaug.errors import StoreError, UsageError

__all__ = ["SECTIONS", "VERSION", "Recipe"]

VERSION = 1
SECTIONS = ("decode", "cpu", "gpu", "batch", "mix", "normalize")
_LATER = ("decode", "gpu", "batch", "mix")
_MOST_BYTES = 2**20
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

    normalize: Mapping[str, Any] | None = None
    """Arguments of the final normalisation: ``mean``, ``std``, ``max_pixel_value``."""

    version: int = VERSION
    """Version of the format."""

    def __post_init__(self) -> None:
        """Check the form; names and arguments are checked by the engine.

        Raises:
            UsageError: The version is not known, or an operation is no one-key mapping.
        """
        if self.version != VERSION:
            raise UsageError(f"recipe version must be {VERSION}, got {self.version!r}")
        _check_operations(self.cpu, "cpu")
        known = {"mean", "std", "max_pixel_value"}
        if not isinstance(self.normalize, Mapping | None):
            raise UsageError(
                f"normalize is a mapping, got {type(self.normalize).__name__}"
            )
        try:
            json.dumps([self.cpu, self.normalize], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"a recipe holds numbers, text, lists and mappings: {error}"
            ) from error
        unknown = sorted(set(self.normalize or ()) - known, key=str)
        if unknown:
            raise UsageError(f"normalize takes {sorted(known)}, got {unknown}")

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
            UsageError: A section is not known, or not supported by this release.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"a recipe is a mapping, got {type(data).__name__}")
        unknown = set(data) - {"version", *SECTIONS}
        if unknown:
            raise UsageError(
                f"a recipe has the sections {SECTIONS}, got {sorted(unknown, key=str)}"
            )
        later = [name for name in _LATER if data.get(name)]
        if later:
            raise UsageError(
                f"this release reads the sections cpu and normalize, not {later}"
            )
        cpu = data.get("cpu") or ()
        if not isinstance(cpu, list | tuple):
            raise UsageError(
                f"section cpu is a list of operations, got {type(cpu).__name__}"
            )
        return cls(
            cpu=tuple(cpu),
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

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, sections in order."""
        result: dict[str, Any] = {
            "version": self.version,
            "cpu": json.loads(json.dumps(self.cpu)),
        }
        if self.normalize is not None:
            result["normalize"] = dict(self.normalize)
        return result


def _load(text: str) -> Any:  # noqa: ANN401  # whatever a stranger wrote
    with suppress(ValueError):
        return json.loads(text)  # first: YAML takes JSON's 1e-05 for text
    if "*" in text and any(isinstance(t, yaml.AliasToken) for t in yaml.scan(text)):
        raise UsageError("a recipe has no YAML aliases")
    return yaml.safe_load(text)


def _check_operations(operations: object, where: str) -> None:
    if not isinstance(operations, list | tuple):
        raise UsageError(
            f"{where} is a list of operations, got {type(operations).__name__}"
        )
    for i, operation in enumerate(operations):
        if not isinstance(operation, Mapping) or len(operation) != 1:
            raise UsageError(
                f"{where}[{i}] is a mapping with one key, such as"
                f" HorizontalFlip: {{p: 0.5}}, got {operation!r}"
            )
        ((name, arguments),) = operation.items()
        if not isinstance(name, str) or not isinstance(arguments, Mapping | None):
            raise UsageError(
                f"{where}[{i}]: arguments of {name!r} are a mapping, got {arguments!r}"
            )
        if arguments and _COMPOSITIONS in arguments:
            _check_operations(arguments[_COMPOSITIONS], f"{where}[{i}].{name}")
