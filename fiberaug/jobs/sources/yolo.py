"""YOLO: a text file of normalised boxes, outlines or keypoints for each image."""

import re
from pathlib import Path

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.items import Items, Source
from fiberaug.jobs.sources.files import EXTENSIONS
from fiberaug.jobs.sources.folder import check_classes
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.yolo_description import PARTS, Description
from fiberaug.jobs.sources.yolo_files import Files
from fiberaug.jobs.sources.yolo_labels import LabelReader
from fiberaug.sizes import counted

__all__ = ["list_yolo", "looks_like_yolo"]


def looks_like_yolo(src: Path) -> bool:
    """Return whether a path is YOLO's ``data.yaml``, or a folder with it or labels."""
    if src.is_file():
        return src.suffix in {".yaml", ".yml"} and _describes(src)
    if not src.is_dir():
        return False
    if _descriptions(src):
        return True
    if any((src / name).is_file() for name in ("classes.txt", "obj.names")):
        return any(src.glob("*.txt")) or any(src.glob("*/*.txt"))
    below = sorted(path for path in src.iterdir() if path.is_dir())[:20]
    return any(
        (folder / "images").is_dir()
        and (any(folder.glob("labels/*.txt")) or any(folder.glob("labels/*/*.txt")))
        for folder in (src, *below)
    )


def _descriptions(src: Path) -> list[Path]:
    """Return the YAML files of a folder that describe a set: ``data.yaml`` alone."""
    found = sorted(p for p in src.iterdir() if p.suffix in {".yaml", ".yml"})
    found = [path for path in found if path.is_file() and _describes(path)]
    return [path for path in found if path.stem == "data"] or found


def _describes(path: Path) -> bool:
    with path.open("rb") as file:
        text = file.read(2**20)
    has = {key for key in (b"train", b"val", b"names", b"nc")
           if re.search(rb"(?m)^" + key + rb"\s*:", text)}  # fmt: skip
    return bool(has & {b"train", b"val"} and has & {b"names", b"nc"})


def list_yolo(src: Path, options: SourceOptions) -> Source:
    """Return the images of a YOLO set: those of a ``data.yaml``, or of a folder.

    The labels of ``a/images/b.jpg`` are in ``a/labels/b.txt``, else beside it; an image
    without is background. An image of two parts is taken once, in the first.

    Raises:
        UsageError: There is no such file or folder, or more than one ``.yaml``.
        DataRefused: The ``.yaml`` or a list of classes is broken, there is no image, or
            no label at all.
        StoreError: A folder cannot be read.
    """
    path = src if src.is_file() else None
    if path is None and src.is_dir():
        found = _descriptions(src)
        if len(found) > 1:
            raise UsageError(f"{src} has {[p.name for p in found]}; say which one")
        path = found[0] if found else None
    about = None if path is None else Description.read(path)
    files = Files(src if path is None else path.parent, about, options)
    items = Items.of(files.items())
    count = files.count
    links = counted(len(files.links), "link")
    passed = f"; {links} passed over, as {files.links[0]}" if files.links else ""
    if not count["image"]:
        raise DataRefused(f"{src} has no image: {_why(about, files)}{passed}")
    if not files.labels and count["error"] == count["stray"]:
        raise DataRefused(
            f"{src} has {counted(count['image'], 'image')} and no label file; those of"
            " a/images/b.jpg are sought in a/labels/b.txt and a/images/b.txt: give the"
            f" folder that has both{passed}"
        )
    if options.classes is not None:
        names = check_classes(options.classes)
    else:
        names = (about.names if about else files.names()) or files.numbers()
    shape = about.shape if about else None
    more = {}
    if about and shape:
        more = {"kpt_shape": list(shape)} | ({"flip": about.flip} if about.flip else {})
    said = [f"{count[part]} of {part}" for part in PARTS if count[part]]
    if count["background"]:
        said += [f"{count['background']} without labels are background"]
    said += [counted(count["error"], "error")]
    if count["twice"]:
        said += [f"{counted(count['twice'], 'image')} of two parts, taken in the first"]
    if files.links:
        said += [f"{links} passed over"]
    return Source(
        kind="yolo", root=str(files.root), items=items, classes=tuple(names),
        reader=LabelReader(str(files.root), len(names), shape, options.frame),
        about=more,
        fields={"bboxes": "json:objects[].bbox", "bbox_labels": "json:objects[].label"},
        said=f"{counted(count['image'], 'image')}, {len(names)} classes;"
        f" {', '.join(said)}",
    )  # fmt: skip


def _why(about: Description | None, files: Files) -> str:
    """Say why there is no image."""
    if about is not None and not any(about.folders.values()):
        return f"the .yaml has no folder or list at {', '.join(PARTS)}"
    return next(iter(files.wrong.values()), ", ".join(sorted(EXTENSIONS)))
