"""Where the images of a COCO file lie, and what a name in it stands for."""

import errno
import os
import re
import stat
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.jobs.sources.coco_annotations import Image
from fiberaug.jobs.sources.files import inside

__all__ = ["Images", "Place", "elsewhere", "image_folder", "root_of"]

_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?/+")
_TRIED = 64  # images that tell in which folder they lie


class Place(NamedTuple):
    """Where an image lies."""

    path: str
    """Below the root."""

    size: int
    """Bytes; 0 where there is no file."""


def root_of(path: str) -> str:
    """Return the folder of a set, of one of its annotation files."""
    folder = os.path.dirname(path)
    return (
        os.path.dirname(folder)
        if os.path.basename(folder).lower() == "annotations"
        else folder
    )


def _candidates(path: str, root: str, images: str | None) -> list[str]:
    stem = os.path.splitext(os.path.basename(path))[0]
    parts = [part for part in re.split(r"[_.-]", stem) if part]
    splits = dict.fromkeys([*parts[-1:], *parts[:1], stem])  # as in train2017.json
    if images is not None:
        return [images, *(os.path.join(images, split) for split in splits)]
    below = [os.path.join(root, split) for split in splits]
    folder = os.path.join(root, "images")
    places = [os.path.dirname(path), root, folder, *below]
    places += [os.path.join(folder, split) for split in splits]
    return list(dict.fromkeys(places))


def image_folder(
    path: str, root: str, images: str | None, entries: Sequence[Image]
) -> str:
    """Return the folder that the names of an annotation file are relative to.

    Args:
        path: The annotation file.
        root: Folder of the set.
        images: Folder that the user says.
        entries: Images of the file.

    Raises:
        UsageError: None of them lies in any folder; those that were tried are named.
    """
    candidates = _candidates(path, root, images)
    there = [folder for folder in candidates if os.path.isdir(folder)]
    for some in (entries[:: -(-len(entries) // _TRIED) or 1], entries):
        hits = [
            sum(_is_file(_path(folder, entry.name)) for entry in some)
            for folder in there
        ]
        if any(hits):
            return there[hits.index(max(hits))]
    if not entries and there:
        return there[0]
    first = f" (the first: {entries[0].name!r:.200})" if entries else ""
    raise UsageError(
        f"no image of {path}{first} lies in {', '.join(candidates)}; say where:"
        " images=FOLDER (--images)"
    )


def _path(folder: str, name: str) -> str:
    """Return where a name leads; it may be a path of Windows, or of another machine."""
    path = os.path.join(folder, name)
    ways = [os.path.join(folder, way) for way in elsewhere(name)]
    if not ways or _is_file(path):
        return path
    return next(filter(_is_file, ways), path)


def elsewhere(name: str) -> list[str]:
    r"""Return how a path that leads nowhere can be meant, the longest first.

    >>> elsewhere("C:\\sets\\a.jpg")
    ['sets/a.jpg', 'a.jpg']
    >>> elsewhere("/home/me/a.jpg")
    ['home/me/a.jpg', 'me/a.jpg', 'a.jpg']
    >>> elsewhere("train\\a.jpg"), elsewhere("train/a.jpg")
    (['train/a.jpg'], [])
    """
    path = name.replace("\\", "/")
    found = _ABSOLUTE.match(path)
    if found is None:
        return [path] if path != name else []
    parts = [part for part in path[found.end() :].split("/") if part]
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


class Images:
    """Finds the files of names below a folder.

    Args:
        root: Folder of the set: paths are relative to it, and stay in it.
        outside: They may leave it.
    """

    def __init__(self, root: str, *, outside: bool) -> None:
        self._root, self._outside = root, outside
        self._stays = cache(lambda folder: inside(root, folder))

    def __call__(self, folder: str, name: str, said: str) -> Place:
        """Return where an image lies.

        Args:
            folder: What the name is relative to.
            name: As the annotation file has it.
            said: That file, for errors.

        Raises:
            DataRefused: The name is no path.
            SecurityRefused: It leads out of the root.
        """
        path = os.path.normpath(_path(folder, name))
        size, link, kind = 0, False, stat.S_IFREG
        try:
            found = os.lstat(path)
            link = stat.S_ISLNK(found.st_mode)
            found = os.stat(path) if link else found
            size, kind = found.st_size, stat.S_IFMT(found.st_mode)
        except ValueError as error:
            raise DataRefused(f"{said}: {name!r:.200} is no file name") from error
        except OSError as error:  # reading it says why
            if error.errno == errno.ENAMETOOLONG:
                raise DataRefused(f"{said}: {name!r:.200} is no file name") from error
        if not self._outside and not (
            self._stays(os.path.dirname(path))
            and (not link or inside(self._root, path))
        ):
            raise SecurityRefused(
                f"{said}: {name!r:.200} leads to {os.path.realpath(path)}, out of"
                f" {self._root}; allow_outside=True (--allow-outside) takes it all the"
                " same"
            )
        if kind not in {stat.S_IFREG, stat.S_IFDIR}:  # a pipe would be waited for
            raise DataRefused(f"{said}: {name!r:.200} is a pipe or device, no file")
        return Place(os.path.relpath(path, self._root), size)
