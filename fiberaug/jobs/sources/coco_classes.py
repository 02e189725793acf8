"""Classes of COCO files, and the names of their keypoints."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.sources.coco_annotations import Annotations, Id
from fiberaug.jobs.sources.folder import check_classes

__all__ = ["Classes", "Points", "classes_of", "flip_pairs", "keypoints_of"]

_SIDES = re.compile(r"left|right|^[lr](?=[_ -])|(?<=[_ -])[lr]$")
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}

Points = tuple[tuple[int, int] | None, ...]
"""By class: first label of its keypoints, and how many they are."""


class Classes(NamedTuple):
    """Classes of all files."""

    names: tuple[str, ...]
    categories: Sequence[Mapping[str, Any]]
    """By class, as the files have them; of a class without one its name."""
    labels: dict[Id, int]
    """Class by the category's id."""


def classes_of(files: Sequence[Annotations], wanted: Sequence[str] | None) -> Classes:
    """Return the classes in the order of their ids, or in that which is wanted."""
    found: dict[Id, dict[str, Any]] = {}
    owners: dict[Id, str] = {}
    for file in files:
        for own, category in file.categories.items():
            one = found.setdefault(own, dict(category))
            if one["name"] != category["name"]:
                raise DataRefused(
                    f"category {own!r} is {one['name']!r} in {owners[own]} and"
                    f" {category['name']!r} in {file.path}; convert them one by one"
                )
            found[own] = {**category, **one}
            owners.setdefault(own, file.path)
    ids = sorted(found, key=lambda own: (isinstance(own, str), own))
    said = [unicodedata.normalize("NFC", found[own]["name"]) for own in ids]
    rows = dict(zip(said, ids, strict=True))
    for name, own in zip(said, ids, strict=True):
        if rows[name] != own:
            raise DataRefused(
                f"{owners[own]}: categories {own!r} and {rows[name]!r} are both"
                f" named {name!r}; give each its own name"
            )
    names = said if wanted is None else check_classes(wanted)
    unknown = sorted(rows.keys() - set(names))
    if unknown:
        raise UsageError(f"categories {unknown} are none of the classes {names}")
    labels = {rows[name]: i for i, name in enumerate(names) if name in rows}
    categories = [found[rows[n]] if n in rows else {"name": n} for n in names]
    return Classes(tuple(names), categories, labels)


def flip_pairs(names: Sequence[str]) -> list[list[int]]:
    """Return the pairs of places whose names differ in left and right alone.

    >>> flip_pairs(["nose", "left_eye", "right_eye", "R_Ear", "L_Ear"])
    [[1, 2], [3, 4]]
    """
    lower = [name.lower() for name in names]
    rows = {name: i for i, name in reversed(list(enumerate(lower)))}
    pairs = []
    for i, name in enumerate(lower):
        other = rows.get(_SIDES.sub(lambda side: _OTHER[side[0]], name), i)
        if i < other and rows[name] == i:
            pairs.append([i, other])
    return pairs


def keypoints_of(
    categories: Sequence[Mapping[str, Any]],
) -> tuple[Points, dict[str, Any]]:
    """Return the labels of keypoints by class, and names, skeleton and flip pairs.

    Categories with the same names share them. Those with others come one after the
    other, and the skeleton's numbers are moved along.

    Args:
        categories: By class.

    Raises:
        DataRefused: The names of one are no list of text.
    """
    first: dict[tuple[str, ...], int] = {}
    names: list[str] = []
    skeleton: list[Any] = []
    flip: list[list[int]] = []
    points: list[tuple[int, int] | None] = []
    for category in categories:
        own = category.get("keypoints")
        if not own:
            points.append(None)
            continue
        if not isinstance(own, list) or not all(isinstance(n, str) for n in own):
            raise DataRefused(
                f"category {category.get('name')!r}: keypoints must be a list of names,"
                f" got {own!r:.200}"
            )
        begin = first.setdefault(tuple(own), len(names))
        points.append((begin, len(own)))
        if begin == len(names):
            names += own
            flip += [[begin + i, begin + j] for i, j in flip_pairs(own)]
            skeleton += _moved(category.get("skeleton"), begin)
    return tuple(points), {"names": names, "skeleton": skeleton, "flip": flip}


def _moved(skeleton: object, by: int) -> list[Any]:
    if not isinstance(skeleton, list):
        return []
    whole = all(
        isinstance(bone, list) and all(type(end) is int for end in bone)
        for bone in skeleton
    )
    return [[end + by for end in bone] for bone in skeleton] if whole else skeleton
