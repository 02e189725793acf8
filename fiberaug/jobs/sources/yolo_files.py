"""The images and label files of a YOLO set, and what belongs together."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fiberaug.errors import DataRefused
from fiberaug.jobs.items import Item
from fiberaug.jobs.sources.coco_images import elsewhere
from fiberaug.jobs.sources.files import EXTENSIONS, Keys, inside, walk
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.yolo_description import PARTS, Description
from fiberaug.jobs.sources.yolo_labels import text_lines

__all__ = ["Files"]

_LISTS = {f"{name}.txt" for name in (*PARTS, "valid", "classes", "predefined_classes")}
_TEXTS = frozenset({"txt", "names"})


class Files:
    """Images and label files, and what belongs together."""

    def __init__(
        self, root: Path, about: Description | None, options: SourceOptions
    ) -> None:
        self.root, self._about, self._anywhere = root, about, options.allow_outside
        self.count = Counter[str]()
        self.links: list[str] = []
        self._images: dict[str, tuple[str, int]] = {}  # part and size by place
        self._texts: dict[str, None] = {}
        self.labels: list[str] = []
        self.wrong: dict[str, str] = {}  # reasons by place
        self._inside: dict[str, bool] = {}  # by folder

    def items(self) -> Iterator[Item]:
        """Yield the samples part by part, and what cannot be one."""
        if self._about is None:
            self._folder(str(self.root), "")
        else:
            for part, entries in self._about.folders.items():
                for entry in entries:
                    self._entry(part, entry, f"{part} {entry!r:.200} of the .yaml")
        keys, homes = Keys(), set[str]()
        for image, (part, size) in self._images.items():
            homes.update(map(os.path.dirname, _ways(image)))
            self.count.update(["image", part])
            yield self._item(image, part, size, keys)
        for text in self._texts:
            if _is_list(text):
                continue
            folder = os.path.dirname(text)
            if folder in homes:
                self.wrong[text] = f"{text} has no image"
            elif self._about is None and _holds_labels(folder):
                self.wrong[text] = f"{text} has no image"
                self.count["stray"] += 1
        for place, reason in self.wrong.items():
            yield self._error(place, reason, keys)

    def names(self) -> list[str]:
        """Return the classes that ``classes.txt`` or ``obj.names`` lists.

        Raises:
            DataRefused: Two such files differ, or a line is empty.
        """
        found: dict[str, list[str]] = {}
        for text in self._texts:
            if os.path.basename(text) == "classes.txt" or text.endswith(".names"):
                try:
                    whole = (self.root / text).read_text("utf-8-sig")
                except (OSError, UnicodeDecodeError) as error:
                    raise DataRefused(
                        f"cannot read {self.root / text}: {error}; save it as UTF-8, or"
                        " give classes"
                    ) from error
                found[text] = [line.strip() for line in whole.rstrip().split("\n")]
                if "" in found[text]:
                    line = found[text].index("") + 1
                    raise DataRefused(f"{self.root / text} line {line} is empty")
        if len({*map(tuple, found.values())}) > 1:
            raise DataRefused(
                f"{sorted(found)} in {self.root} differ; leave one, or give classes"
            )
        return check_classes(next(iter(found.values()), []))

    def numbers(self) -> list[str]:
        """Return names for all class ids that stand in the label files."""
        most = -1
        for label in self.labels:
            data = (self.root / label).read_bytes().removeprefix(b"\xef\xbb\xbf")
            ids = map(int, re.findall(rb"(?m)^\s*([0-9]{1,5})(?:\.0*)?\s", data))
            most = max(most, max(ids, default=-1))
        return [str(i) for i in range(most + 1)]

    def _entry(self, part: str, entry: str, said: str, home: str = "") -> None:
        """Take a folder, a list or an image."""
        base = "" if self._about is None else self._about.base
        homes = [home] * bool(home) + [os.path.join(self.root, base), str(self.root)]
        # Roboflow writes ../train/images for train/images.
        names = [entry, entry.removeprefix("../"), *elsewhere(entry)]
        ways = (os.path.normpath(os.path.join(h, n)) for h in homes for n in names)
        there = [way for way in dict.fromkeys(ways) if os.path.exists(way)]
        path = next(filter(self._is_allowed, there), "")
        if not path:
            self.wrong[entry] = f"{said} is not there"
            if there:
                self.wrong[entry] = f"{said} {self._outside()}"
        elif os.path.isdir(path):
            self._folder(path, part)
        elif not os.path.isfile(path):  # a pipe would be waited for
            self.wrong[entry] = f"{said} is no folder, list or image"
        elif path.lower().endswith(".txt") and not home:
            for number, line in text_lines(Path(path)).items():
                said = f"{line.strip():.200} of {entry} line {number}"
                self._entry(part, line.strip(), said, os.path.dirname(path))
        elif os.path.splitext(path)[1][1:].lower() in EXTENSIONS:
            self._image(self._place(path), part, os.stat(path).st_size)
        else:
            self.wrong[entry] = f"{said} is no folder, list or image"

    def _folder(self, folder: str, part: str) -> None:
        for file in walk(Path(folder), self.links, EXTENSIONS | _TEXTS):
            place = self._place(os.path.join(folder, file.path))
            if os.path.splitext(place)[1][1:].lower() in _TEXTS:
                self._texts[place] = None
            else:
                self._image(place, part, file.size)
        labels = self.root / os.path.dirname(_ways(self._place(folder) + "/x")[0])
        if labels.is_dir() and self._is_allowed(str(labels)):
            for file in walk(labels, self.links, _TEXTS):
                self._texts[self._place(os.path.join(labels, file.path))] = None

    def _image(self, place: str, part: str, size: int) -> None:
        self.count["twice"] += place in self._images
        self._images.setdefault(place, (part, size))

    def _place(self, path: str) -> str:
        place = os.path.relpath(path, self.root)
        if place.startswith("..") and inside(self.root, path):
            return os.path.relpath(os.path.realpath(path), os.path.realpath(self.root))
        return place

    def _is_allowed(self, path: str) -> bool:
        if self._anywhere:
            return True
        folder = os.path.dirname(path)
        if folder not in self._inside:
            self._inside[folder] = inside(self.root, folder)
        straight = self._inside[folder] and not os.path.islink(path)
        return straight or inside(self.root, path)

    def _outside(self) -> str:
        return (
            f"lies outside of {self.root}; move it there, or say allow_outside=True"
            " (--allow-outside)"
        )

    def _item(self, image: str, part: str, size: int, keys: Keys) -> Item:
        notes = {"part": part} if part else {}
        for way in _ways(image):
            path = os.path.join(self.root, way)
            if not os.path.lexists(path):
                continue
            if not self._is_allowed(path):
                return self._error(image, f"its label {way} {self._outside()}", keys)
            if not os.path.isfile(path):
                reason = f"its label {way} is no file: a folder, or a link to nowhere"
                return self._error(image, reason, keys)
            state = os.stat(path)
            size += state.st_size
            # Labels of the same length can have changed: the time tells.
            notes |= {"label": way, "changed": f"{state.st_mtime_ns:016x}"}
            self.labels.append(way)
            self._texts.pop(way, None)
            break
        else:
            self.count["background"] += 1
        key = keys(image.replace("../", ""))
        return Item(key, image, size, None, json.dumps(notes).encode())

    def _error(self, place: str, reason: str, keys: Keys) -> Item:
        self.count["error"] += 1
        name = place.replace("../", "")[:200].strip("./") or "error"
        notes = json.dumps({"error": reason}).encode()
        return Item(keys(name), place, 0, None, notes)


def _ways(image: str) -> tuple[str, str]:
    """Return where the labels of an image may lie."""
    beside = os.path.splitext(image)[0] + ".txt"
    return "/labels/".join(f"/{beside}".rsplit("/images/", 1))[1:], beside


def _holds_labels(folder: str) -> bool:
    """Return whether a folder is for labels, as labels/val without images/val."""
    return "labels" in folder.split("/") and "images" not in folder.split("/")


def _is_list(text: str) -> bool:
    name = os.path.basename(text).lower()
    return name in _LISTS or name.endswith(".names") or name.startswith("readme")
