"""Pascal VOC: an XML file of boxes for each image, and PNG files of class ids."""

import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.items import Item, Items, Raw, Source
from fiberaug.jobs.sources.files import EXTENSIONS, Keys, read_file, walk
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.sizes import counted

__all__ = ["list_voc", "looks_like_voc"]

_MASKS = {"SegmentationClass": "mask.png", "SegmentationObject": "mask.objects.png"}
_MOST_PX = 1e9  # farther off than any image reaches
_OWN = {
    "bbox",
    "label",
    "polygons",
    "keypoints",
    "segmentation",
}  # keys with a meaning in the shards
_ANNOTATIONS = re.compile(r"(?i)(^|/)(?:annotations|labels)(?=/|$)")
_NUMBER = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True)
class _Reader:
    root: str = field(repr=False)
    classes: tuple[str, ...]

    def __call__(self, item: Item) -> Raw:
        notes = json.loads(item.notes)
        if "error" in notes:
            raise SampleBroken(notes["error"])
        members = {
            _MASKS[_kind(place)]: Path(self.root, place).read_bytes()
            for place in notes["masks"]
        }
        objects = [
            {"bbox": box, "label": self.classes.index(name), **more}
            for name, box, more in notes["objects"]
        ]
        image = read_file(self.root, item).image
        size = notes["size"]
        stated = (size[0], size[1]) if size else None
        return Raw(image, {"objects": objects}, members, stated)


def looks_like_voc(src: Path) -> bool:
    """Return whether a folder, or one in it, holds Pascal VOC's XML files."""
    if not src.is_dir():
        return False
    below = sorted(
        path
        for path in src.iterdir()
        if path.is_dir() and not path.name.startswith(".")  # as .idea, with XML files
    )[:20]
    folders = (src, *below, *(path / "Annotations" for path in below))
    return any(map(_has_annotations, filter(Path.is_dir, folders)))


def _has_annotations(folder: Path) -> bool:
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(".xml"))
    paths = (folder / name for name in names[:20])
    return any(_is_annotation(path) for path in paths if path.is_file())


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotation" in file.read(2000).replace(b"\0", b"")  # UTF-16


def list_voc(src: Path, options: SourceOptions) -> Source:
    """Return the images of a Pascal VOC set, or of a folder of LabelImg's files.

    The image of an XML file is the one that its ``<filename>`` names, beside it or in
    ``JPEGImages``, else the one of its own name; an image that has an XML file of its
    own name belongs to that. Class ids are those of all names of the folder, whatever
    ``options.listed`` takes, so that train and val agree.

    Raises:
        UsageError: There is no such folder or list, or a class is none of those given.
        DataRefused: There is no XML file.
        StoreError: A folder cannot be read.
    """
    if options.origin not in {0, 1}:
        raise UsageError(f"origin must be 0 or 1, got {options.origin!r}")
    found = _Set(src, options)
    items, count = Items.of(found.items()), found.count
    names = sorted(found.classes)
    if options.classes is not None:
        names = check_classes(options.classes)
        for name in sorted(set(found.classes) - set(names)):
            raise UsageError(
                f"class {name!r} of {found.classes[name]} is none of the classes"
                f" {names}; add it, or leave classes out"
            )
    fields = {"bboxes": "json:objects[].bbox", "bbox_labels": "json:objects[].label"}
    if count["mask.png"]:
        fields["mask" if count["mask.png"] == count["photo"] else "mask?"] = "mask.png"
    left = ", ".join(sorted(tag for tag in count if tag.endswith(">")))
    said = f"; left out of objects: {left}" if left else ""
    if found.links:
        said += f"; {counted(len(found.links), 'link')} passed over"
    return Source(
        kind="voc", root=str(src), items=items, classes=tuple(names), fields=fields,
        reader=_Reader(str(src), tuple(names)),
        said=f"{counted(count['photo'], 'photo')}, {count['box']} boxes of {len(names)}"
        f" classes, {counted(count['error'], 'error')}; the first pixel is"
        f" {options.origin}{said}",
    )  # fmt: skip


class _Set:
    """What lies in the folder of a set, and what belongs together."""

    def __init__(self, src: Path, options: SourceOptions) -> None:
        self._src, self._options = src, options
        self.classes: dict[str, str] = {}  # and where each was met first
        self.count = Counter[str]()
        self.links: list[str] = []
        files = {f.path: f.size for f in walk(src, self.links, EXTENSIONS | {"xml"})}
        self._xmls = [path for path in files if path.lower().endswith(".xml")]
        if not self._xmls:
            raise DataRefused(f"{src} has no .xml file")
        self._masks = [path for path in files if _kind(path) in _MASKS]
        hidden = {*self._xmls, *self._masks}
        self._sizes = files
        self._images = [path for path in files if path not in hidden]
        self._names = {_nfc(path): path for path in self._images}
        self._bare = {_nfc(_bare(path)): path for path in reversed(self._images)}
        self._own = {_nfc(_stem(path)) for path in self._xmls}

    def items(self) -> Iterator[Item]:
        """Yield the samples in sorted order, and what cannot be one."""
        found: dict[str, dict[str, Any]] = {}
        for xml in self._xmls:
            about, named = self._read(xml)
            image = self._find(xml, named)
            if image is None or image in found:
                reason = self._why(xml, named, image and found[image]["xml"])
                found[xml] = {"error": reason, **about}
            else:
                found[image] = about
        for image in self._images:
            found.setdefault(image, {"error": f"{image} has no annotation"})
        masks = {_nfc(_bare(path)): path for path in self._masks}
        for image, about in found.items():
            base = re.sub(r"(^|/)JPEGImages$", "", os.path.dirname(image))
            ways = (_nfc(os.path.join(base, kind, _stem(image))) for kind in _MASKS)
            about["masks"] = [masks.pop(way) for way in ways if way in masks]
        for mask in masks.values():
            found[mask] = {"error": f"{mask} has no image", "masks": []}
        keys, wanted = Keys(), self._listed()
        met = set[str]()
        for place in sorted(found):
            about = found[place]
            names = {_nfc(name) for name in (_stem(place), os.path.basename(place))}
            names |= {
                _nfc(place),
                _nfc(_bare(place)),
                _nfc(_stem(about.get("xml", ""))),
            }
            if wanted is None or names & wanted:
                met |= names
                yield self._item(place, about, keys)
        gone = (wanted or set()) - met
        if gone == wanted:
            raise UsageError(
                f"{self._src} has no {sorted(gone)[:3]}, and nothing else that"
                f" {self._options.listed} lists; a list has a name a line, no more"
            )
        for name in sorted(gone):
            error = f"{name} of {self._options.listed} is not there"
            yield self._item(name, {"error": error, "masks": []}, keys)

    def _item(self, place: str, about: dict[str, Any], keys: Keys) -> Item:
        if "error" in about:
            self.count["error"] += 1
            about = {"error": about["error"], "masks": []}
        else:
            self.count["photo"] += 1
            self.count["box"] += len(about["objects"])
            self.count.update(_MASKS[_kind(mask)] for mask in about["masks"])
        size = sum(self._sizes.get(path, 0) for path in (place, *about["masks"]))
        notes = json.dumps(about, separators=(",", ":")).encode()
        name = place.replace("../", "")[:500].strip("/") or "error"
        return Item(keys(name), place, size, None, notes)

    def _listed(self) -> set[str] | None:
        """Return the names of the list that the user gave."""
        listed = self._options.listed
        if listed is None:
            return None
        ways = (
            self._src / "ImageSets" / "Main" / f"{listed}.txt",
            self._src / listed,
            Path(listed),
        )
        path = next((path for path in ways if path.is_file()), None)
        if path is None:
            raise UsageError(
                f"there is no list {listed}: neither of {[*map(str, ways)]}"
            )
        try:
            lines = path.read_text("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the list {path}: {error}") from error
        return {_nfc(line.strip()) for line in lines if line.strip()}

    def _find(self, xml: str, named: str) -> str | None:
        """Return the image of an XML file."""
        own = next(filter(None, map(self._bare.get, _places(xml, _stem(xml)))), None)
        last = re.split(r"[/\\]", named)[-1]
        for name in filter(None, (named, last, _stem(xml))):
            for place in _places(xml, name):
                image = self._names.get(place)
                if image is not None:
                    taken = own is not None and _nfc(_stem(image)) in self._own
                    return own if taken else image
                if self._options.allow_outside and os.path.isfile(self._src / place):
                    self._sizes[place] = (self._src / place).stat().st_size
                    return place
        if own is not None or not last:
            return own
        # Some tools leave the extension out, or keep that of the file before.
        bare = [place for n in (last, _bare(last)) for place in _places(xml, n)]
        found = next(filter(None, map(self._bare.get, bare)), None)
        return None if found and _nfc(_stem(found)) in self._own else found

    def _why(self, xml: str, named: str, other: str | None) -> str:
        """Say why an XML file has no image."""
        if other is not None:
            return f"{xml}: its image {named} has its annotation in {other}"
        named = named or _stem(xml)
        places = [self._src / place for place in _places(xml, named)]
        named = f"{named:.200}"
        if any(os.path.isfile(p) or not _is_below(p, self._src) for p in places):
            return (
                f"{xml}: its image {named} lies outside of {self._src}; move it there,"
                " or say allow_outside=True (--allow-outside)"
            )
        return f"{xml}: its image {named} is not there"

    def _read(self, xml: str) -> tuple[dict[str, Any], str]:
        """Return what an XML file says, and the name of its image."""
        named = ""
        try:
            tree = _parse((self._src / xml).read_bytes())
            named = _text(tree, "filename")
            sizes = [_number(tree, f"size/{side}", 0) for side in ("width", "height")]
            size = [*map(int, sizes)] if min(sizes) > 0 else None
            objects = [self._object(node, xml) for node in tree.findall("object")]
        except SampleBroken as error:
            return {"xml": xml, "error": f"{xml} {error.message}"}, named
        except OSError as error:
            return {"xml": xml, "error": f"cannot read {xml}: {error.strerror}"}, named
        return {"xml": xml, "size": size, "objects": objects}, named

    def _object(self, node: Element, xml: str) -> list[Any]:
        """Return the name of an object, its box, and what else is said of it."""
        name = _nfc(_text(node, "name"))
        if not name:
            raise SampleBroken(f"line {node.get('line')}: the object has no <name>")
        if node.find("bndbox") is None:
            raise SampleBroken(f"line {node.get('line')}: {name!r:.80} has no <bndbox>")
        edges = ("xmin", "ymin", "xmax", "ymax")
        box = [_number(node, f"bndbox/{edge}") for edge in edges]
        first = self._options.origin
        more = dict[str, Any]()
        for child in node:
            text = (child.text or "").strip()
            if child.tag in {"name", "bndbox"}:
                continue
            if len(child) or child.tag in _OWN:
                self.count[f"<{child.tag}>"] += 1
            elif child.tag in more:
                self.count[f"a second <{child.tag}>"] += 1
            elif text:
                more[child.tag] = int(text) if _NUMBER.fullmatch(text) else text
        if name not in self.classes:
            self.classes[name] = f"{self._src / xml} line {node.get('line')}"
        return [name, [box[0] - first, box[1] - first, *box[2:]], more]


def _parse(data: bytes) -> Element:
    """Return the tree of an XML file; each node has its line."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, _: object) -> None:
        builder.start(tag, {"line": str(parser.CurrentLineNumber)})

    def refuse(*_: object) -> None:  # entities can grow without bound, and read files
        line = parser.CurrentLineNumber
        raise SampleBroken(f"line {line}: has a DOCTYPE, which is refused; remove it")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(data, True)  # noqa: FBT003  # takes no name
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise SampleBroken(f"line {error.lineno}: is no XML: {reason}") from error
    except SampleBroken:  # a ValueError, too
        raise
    except (LookupError, ValueError) as error:  # an encoding that expat has not
        raise SampleBroken(f"is no XML: {error}; save it as UTF-8") from error
    tree = builder.close()
    if tree.tag == "annotations":
        raise SampleBroken(
            "line 1: is CVAT's <annotations>; export it as COCO or as Pascal VOC"
        )
    if tree.tag != "annotation":
        raise SampleBroken(f"line 1: is <{tree.tag}>, not Pascal VOC's <annotation>")
    return tree


def _text(node: Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def _number(node: Element, path: str, absent: float | None = None) -> float:
    found = node.find(path)
    text = "" if found is None else (found.text or "").strip()
    if absent is not None and not text:
        return absent
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= _MOST_PX:  # NaN, too
        line = (node if found is None else found).get("line")
        raise SampleBroken(
            f"line {line}: {path} is {text!r:.40}, no finite number below"
            f" {_MOST_PX:.0f}"
        )
    return number


def _places(xml: str, name: str) -> list[str]:
    """Return where an image of some name may lie for an XML file."""
    folder = os.path.dirname(xml)
    folders = [folder]
    for images in ("JPEGImages", "images"):
        changed = re.sub(
            r"(?i)(^|/)(?:annotations|labels)(?=/|$)", rf"\1{images}", folder
        )
        folders += [changed] if changed != folder else []
    return [_nfc(os.path.normpath(os.path.join(one, name))) for one in folders]


def _is_below(path: Path, root: Path) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(root) + os.sep)


def _kind(path: str) -> str:
    return os.path.basename(os.path.dirname(path))


def _bare(path: str) -> str:
    return os.path.splitext(path)[0]


def _stem(path: str) -> str:
    return _bare(os.path.basename(path))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
