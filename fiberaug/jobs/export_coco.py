"""The annotation files of a COCO export, made of the lines that its shards left."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

import numpy as np

from fiberaug.jobs.export_target import ExportTarget
from fiberaug.jobs.export_unit import lines_of, scratch_name
from fiberaug.jobs.formats.annotated import Annotated
from fiberaug.jobs.formats.coco import Entry, captions_of, categories, chunks, entries

__all__ = ["CocoFiles"]

_ANNOTATIONS = "annotations.part"


@dataclass(frozen=True, kw_only=True)
class CocoFiles:
    """Writes ``annotations/instances_<part>.json`` and ``captions_<part>.json``.

    Lines are read twice, never held: once for their ids, which take 8 bytes each, and
    once to be written.
    """

    target: ExportTarget

    shards: Sequence[str]
    """Names of the shards in order."""

    classes: Sequence[str]
    """Class names by id."""

    about: Mapping[str, Any]
    """What the source said of the whole set."""

    objects: bool
    """The set has objects."""

    captions: bool
    """The set has captions."""

    def write(self, part: str, lost: Counter[str]) -> None:
        """Write the files of a part.

        Ids of images and objects are those of the source where all of the file have
        one of their own, else they count from 1, and ``lost`` says so.
        """
        images, objects = self._numbered(part)
        end = f"_{part}.json" if part else ".json"
        if self.objects or not self.captions:
            scratch = self.target.scratch(_ANNOTATIONS)
            with scratch.open("w+b") as aside:
                found = self._entries(part, aside, lost, images=images, objects=objects)
                rest = _stored(aside)
                pieces = chunks(found, rest, self.classes, self.about)
                with self.target.writing(f"annotations/instances{end}") as file:
                    file.writelines(pieces)
        if self.captions:
            with self.target.writing(f"annotations/captions{end}") as file:
                file.writelines(self._captions(part, images=images))

    def _lines(self, part: str) -> Iterator[Annotated]:
        for shard in self.shards:
            for line in lines_of(self.target, scratch_name(shard, part)):
                yield Annotated(**line["one"])

    def _numbered(self, part: str) -> tuple[bool, bool]:
        """Return whether images, and whether objects, have ids of their own."""
        images, objects = _Ids(), _Ids()
        for one in self._lines(part):
            images.add(_image_id(one))
            for thing in one.objects:
                objects.add(thing.get("id"))
        return images.are_unique(), objects.are_unique()

    def _entries(
        self,
        part: str,
        aside: Any,  # noqa: ANN401  # a binary file
        lost: Counter[str],
        *,
        images: bool,
        objects: bool,
    ) -> Iterator[Entry]:
        """Yield the entries of images; those of objects are put aside."""
        ids = [one["id"] for one in categories(self.classes, self.about)]
        following = 1
        for number, one in enumerate(self._lines(part), 1):
            own = _image_id(one)
            if not objects:
                lost["ids of objects, which count anew"] += sum(
                    "id" in thing for thing in one.objects
                )
            if own is not None and not images:
                lost["ids of images, which count anew"] += 1
            image, found = entries(
                one, own if images else number, None if objects else following,
                classes=self.classes, category_ids=ids,
            )  # fmt: skip
            following += len(found)
            aside.writelines(json.dumps(entry).encode() + b"\n" for entry in found)
            yield image

    def _captions(self, part: str, *, images: bool) -> Iterator[bytes]:
        scratch = self.target.scratch(_ANNOTATIONS)
        with scratch.open("w+b") as aside:

            def found() -> Iterator[Entry]:
                following = count(1)
                for number, one in enumerate(self._lines(part), 1):
                    own = _image_id(one) if images else number
                    bare = one._replace(objects=[])
                    image, _ = entries(bare, own, 1, classes=self.classes)
                    for entry in captions_of(one, own, 0):
                        entry["id"] = next(following)
                        aside.write(json.dumps(entry).encode() + b"\n")
                    yield image

            yield from chunks(found(), _stored(aside), (), self.about)


def _stored(aside: Any) -> Iterator[Entry]:  # noqa: ANN401  # a binary file
    """Yield what was put aside, once all of it is there."""
    aside.seek(0)
    for line in aside:
        yield json.loads(line)


def _image_id(one: Annotated) -> Any:  # noqa: ANN401  # JSON
    own = one.notes.get("image")
    return own.get("id") if isinstance(own, Mapping) else None


class _Ids:
    """Tells whether ids are there and unique, by 8 bytes of a hash of each."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._lacking = False

    def add(self, own: object) -> None:
        if not isinstance(own, int | str):
            self._lacking = True
            return
        digest = blake2b(repr(own).encode(), digest_size=8).digest()
        self._hashes.append(int.from_bytes(digest, "little"))

    def are_unique(self) -> bool:
        if self._lacking or not self._hashes:
            return False
        hashes = np.frombuffer(self._hashes, np.uint64)
        return len(np.unique(hashes)) == len(hashes)
