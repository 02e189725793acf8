"""The members of a sample that hold labels, as they are after an edit."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiberaug.decode.annotations import Frame
from fiberaug.decode.fields import FieldSpec, Source
from fiberaug.decode.header import ImageHeader, ImageLimits
from fiberaug.decode.image import decode_mask
from fiberaug.decode.orientation import upright
from fiberaug.decode.text import parse_json, parse_metadata
from fiberaug.editing.labels import Fates
from fiberaug.editing.objects import Objects
from fiberaug.errors import SampleBroken

__all__ = ["Relabelling", "stored_plane"]

_INVERSE = {6: 8, 8: 6}
_SHAPES = ("polygons", "keypoints", "segmentation")


class Relabelling:
    """Changes the labels of one sample as its edits ask for.

    Args:
        members: Of the parent, without its image.
        specs: The field mapping of the set.
        header: Of the image.
    """

    def __init__(
        self,
        members: Mapping[str, bytes],
        specs: Sequence[FieldSpec],
        header: ImageHeader,
    ) -> None:
        self.members = dict(members)
        self._specs = {spec.name: spec for spec in specs}
        self._header = header
        self._texts: dict[str, Any] = {}

    def apply(
        self,
        fates: Fates,
        objects: Objects,
        changed: NDArray[np.uint8],
        *,
        ignore: int,
        to: Any = None,  # noqa: ANN401  # a class id or a name
        filled: NDArray[np.bool_] | None = None,
        to_id: int | None = None,
    ) -> None:
        """Change the members.

        Args:
            fates: What becomes of each label.
            objects: What was annotated.
            changed: How much of each pixel was replaced, upright [H, W].
            ignore: Class id of mask pixels that are not known any more.
            to: What the label of asked objects is now; None: what it was.
            filled: Where the mask shows the class ``to_id`` now, upright [H, W].
            to_id: See ``filled``.

        Raises:
            SampleBroken: A member would have to change, and cannot.
        """
        self._drop_points(fates, objects, changed)
        self._change_objects(fates, to)
        if fates.caption == "dropped":
            self._remove("caption")
        if objects.mask is not None and filled is not None and to_id is not None:
            self._write_mask(filled, to_id)
        if fates.mask == "ignored":
            if objects.masks is not None or objects.outlines:
                raise SampleBroken(
                    "it has masks or polygons of single objects, which an edit of this"
                    " strength may move: edit the background, or keep them on your word"
                    " (labels='keep')",
                    stage="edit",
                )
            if objects.mask is not None:
                self._write_mask(changed > 0, ignore, fresh=True)
        for extension, content in self._texts.items():
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
            self.members[extension] = text.encode()

    def _source(self, field: str) -> Source | None:
        """Return the source that fills a field of this sample."""
        spec = self._specs.get(field)
        for source in () if spec is None else spec.sources:
            if source.extension in self.members and _is_in(
                self._text(source.extension) if source.path else {}, source.path
            ):
                return source
        return None

    def _text(self, extension: str) -> Any:  # noqa: ANN401  # JSON
        if extension not in self._texts:
            return parse_json(self.members[extension])
        return self._texts[extension]

    def _own(self, extension: str) -> Any:  # noqa: ANN401  # JSON
        """Return the content of a JSON member, which is written again."""
        return self._texts.setdefault(extension, self._text(extension))

    def _change_objects(self, fates: Fates, to: Any) -> None:  # noqa: ANN401
        dropped = {i for i, fate in fates.objects.items() if fate == "dropped"}
        asked = {i for i, fate in fates.objects.items() if fate == "asked"}
        source = self._source("bboxes")
        if source is None or not fates.objects:
            return
        items = _items(self._text(source.extension), source.path)
        if items is not None and fates.points == "dropped":
            dropped |= {
                i for i in fates.objects
                if isinstance(items[i], Mapping) and any(map(items[i].get, _SHAPES))
            }  # fmt: skip
        if not dropped and (to is None or not asked):
            return
        if items is None:
            raise self._stuck("bboxes")
        items = _items(self._own(source.extension), source.path)
        labels = self._source("bbox_labels")
        if to is not None and asked:
            if labels is None or labels.path[:-1] != source.path[:-1]:
                raise self._stuck("bbox_labels")
            for i in asked:
                items[i][labels.path[-1]] = to
        for name in ("bbox_labels", "bbox_ids") if dropped else ():
            beside = self._source(name)
            if beside is not None and beside.path[:-1] != source.path[:-1]:
                raise self._stuck(name)
        items[:] = [item for i, item in enumerate(items) if i not in dropped]

    def _drop_points(
        self, fates: Fates, objects: Objects, changed: NDArray[np.uint8]
    ) -> None:
        source = self._source("keypoints")
        if fates.points != "dropped" or source is None or not len(objects.points):
            return
        height, width = changed.shape
        ends = np.array([width - 1, height - 1])
        at = np.clip(np.floor(objects.points), 0, ends).astype(np.int64)
        gone = set(np.flatnonzero(changed[at[:, 1], at[:, 0]]).tolist())
        for name in ("keypoints", "keypoint_labels") if gone else ():
            found = self._source(name)
            if found is None:
                continue
            items = _list(self._own(found.extension), found.path)
            if items is None or len(items) != len(at):
                raise self._stuck(name)
            items[:] = [item for i, item in enumerate(items) if i not in gone]

    def _remove(self, field: str) -> None:
        while (source := self._source(field)) is not None:
            if not source.path:
                del self.members[source.extension]
            else:
                owner = self._own(source.extension)
                for step in source.path[:-1]:
                    owner = owner[step]
                del owner[source.path[-1]]

    def _write_mask(
        self, where: NDArray[np.bool_], ident: int, *, fresh: bool = False
    ) -> None:
        """Give pixels of the mask another class, in the frame in which it is stored."""
        source = self._source("mask")
        if source is None or source.path or not source.extension.endswith("png"):
            raise self._stuck("mask")
        data = self.members[source.extension]
        mask = decode_mask(data, limits=ImageLimits()).astype(np.int32)
        if fresh and bool((mask == ident).any()):
            raise SampleBroken(
                f"its mask has the class {ident} already, which stands for what is not"
                " known any more: say another with ignore",
                stage="edit",
            )
        turned = where
        if self._is_stored(mask.shape[1], mask.shape[0]):
            turned = stored_plane(where, self._header.orientation)
        mask[turned] = ident
        self.members[source.extension] = _like(data, mask)

    def _is_stored(self, width: int, height: int) -> bool:
        """Return whether a reader takes a mask of a size as of the stored frame."""
        header = self._header
        if (header.width, header.height) != header.upright:
            return (width, height) == (header.width, header.height)
        found = parse_metadata(self.members).values()
        notes = next((one for one in found if isinstance(one, Mapping)), {})
        return Frame.of(header, notes).turn != 1

    def _stuck(self, field: str) -> SampleBroken:
        spec = self._specs.get(field)
        return SampleBroken(
            f"the field {field!r} <- {spec} would have to follow the edit, and cannot:"
            " edit the background, or keep it on your word (labels='keep')",
            stage="edit",
        )


def stored_plane(plane: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an upright plane or image [H, W, ...] in the frame that a file stores."""
    return upright(plane, _INVERSE.get(orientation, orientation))


def _is_in(content: Any, path: Sequence[str]) -> bool:  # noqa: ANN401  # JSON
    for step in path:
        if step == "[]":
            return isinstance(content, list)
        if not isinstance(content, Mapping) or step not in content:
            return False
        content = content[step]
    return True


def _items(content: Any, path: Sequence[str]) -> Any:  # noqa: ANN401  # JSON
    """Return the list of objects that a path goes through; None: there is none."""
    if len(path) < 2 or "[]" not in path[:-1] or path.count("[]") > 1:
        return None
    return _list(content, path[: path.index("[]")])


def _list(content: Any, path: Sequence[str]) -> Any:  # noqa: ANN401  # JSON
    for step in path:
        if not isinstance(content, Mapping) or step not in content:
            return None
        content = content[step]
    return content if isinstance(content, list) else None


def _like(before: bytes, mask: NDArray[Any]) -> bytes:
    """Return a mask as a PNG of the kind that it was: with its palette, or gray."""
    with Image.open(io.BytesIO(before), formats=("PNG",)) as image:
        palette = image.getpalette() if image.mode == "P" else None
    fits = int(mask.max()) <= 255
    plain = np.ascontiguousarray(mask, np.uint8 if fits else np.uint16)
    made = Image.fromarray(plain)
    if palette is not None and fits:
        made = Image.frombytes("P", made.size, plain.tobytes())
        made.putpalette([*palette, *[0] * (768 - len(palette))])  # room for all ids
    file = io.BytesIO()
    made.save(file, "PNG", compress_level=1)
    return file.getvalue()
