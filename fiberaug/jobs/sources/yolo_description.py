"""``data.yaml``: where the parts of a YOLO set lie, and what its classes are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fiberaug.errors import DataRefused
from fiberaug.jobs.sources.folder import check_classes

__all__ = ["PARTS", "Description"]

PARTS = ("train", "val", "test")
_MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a ``data.yaml`` says."""

    folders: Mapping[str, list[str]]
    base: str
    names: list[str]
    shape: tuple[int, int] | None
    flip: list[int]

    @classmethod
    def read(cls, path: Path) -> "Description":
        """Return what a file says.

        Raises:
            DataRefused: It is broken.
        """
        try:
            # All values as text, so that a class "no" is not False.
            found = yaml.load(path.read_bytes(), Loader=yaml.BaseLoader)  # noqa: S506  # makes text, lists and mappings alone
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise DataRefused(f"{path} is no YAML: {error}") from error
        if not isinstance(found, dict):
            raise DataRefused(f"{path} is no mapping")
        folders = {part: _texts(path, found, part) for part in PARTS}
        names = found.get("names", [])
        if isinstance(names, dict):
            ids = [str(i) for i in range(len(names))]
            if set(names) != set(ids):
                raise DataRefused(f"{path}: names must have the ids 0, 1, 2, ...")
            names = [names[i] for i in ids]
        names = check_classes(_texts(path, {"names": names}, "names"))
        (count,) = _numbers(path, found, "nc") or [len(names)]
        if (names and count != len(names)) or count > _MOST_CLASSES:
            raise DataRefused(f"{path}: nc is {count}, there are {len(names)} names")
        shape, flip = (
            _numbers(path, found, "kpt_shape"),
            _numbers(path, found, "flip_idx"),
        )
        if shape and (len(shape) != 2 or shape[0] < 1 or shape[1] not in {2, 3}):
            raise DataRefused(
                f"{path}: kpt_shape must be [points, 2 or 3], got {shape}"
            )
        if flip and (not shape or sorted(flip) != list(range(shape[0]))):
            raise DataRefused(
                f"{path}: flip_idx must have each point of kpt_shape once"
            )
        return cls(
            folders=folders, names=names or [str(i) for i in range(count)],
            base="".join(_texts(path, found, "path")[:1]), flip=flip,
            shape=(shape[0], shape[1]) if shape else None,
        )  # fmt: skip


def _texts(path: Path, found: Mapping[str, Any], key: str) -> list[str]:
    value = found.get(key, "")
    if isinstance(value, str):
        value = [] if value in {"", "null", "~"} else [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DataRefused(f"{path}: {key} must be text or a list of texts")
    return value


def _numbers(path: Path, found: Mapping[str, Any], key: str) -> list[int]:
    texts = _texts(path, found, key)
    if not all(re.fullmatch("[0-9]{1,6}", text) for text in texts):
        raise DataRefused(f"{path}: {key} must be whole numbers, got {texts[:20]}")
    return [int(text) for text in texts]
