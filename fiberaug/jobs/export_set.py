"""A data set on its way out: what of it goes, and in which style."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fiberaug.bars import ProgressBar
from fiberaug.decode.fields import FieldSpec
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.export_names import PARTS, Naming, check_folders, find_naming
from fiberaug.jobs.export_sample import SampleReader
from fiberaug.jobs.export_style import FORMATS, Style
from fiberaug.jobs.formats.annotated import outlines_of
from fiberaug.jobs.formats.coco_masks import check_masks
from fiberaug.jobs.formats.voc import check_names
from fiberaug.jobs.formats.yolo import KINDS, shape_of
from fiberaug.shards.manifest import Manifest
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.resolve import ShardSet

__all__ = ["Asked", "ExportSet"]

_UNNAMED = "object"  # the class of masks and boxes that have none
_HELD = {
    "coco": frozenset({"bboxes", "masks", "keypoints", "caption"}),
    "voc": frozenset({"bboxes", "mask"}),
    "yolo": frozenset({"bboxes"}),
    "folder": frozenset({"image"}),
}
_LOOKED_AT = 256  # samples that tell what lines of YOLO are to be


@dataclass(frozen=True)
class Asked:
    """What the user asks for, checked."""

    to: str
    split: str | None
    lines: str | None
    origin: int
    workers: int | None
    on_error: str

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise UsageError(f"to must be {', '.join(FORMATS)}, got {self.to!r}")
        if self.lines not in {None, *KINDS}:
            raise UsageError(f"lines must be {', '.join(KINDS)}, got {self.lines!r}")
        if self.lines is not None and self.to != "yolo":
            raise UsageError(f"lines is for yolo, got {self.lines!r} for {self.to}")
        if self.origin not in {0, 1} or (self.origin and self.to != "voc"):
            raise UsageError(
                f"origin must be 0, or 1 for voc, got {self.origin!r} for {self.to}"
            )
        if self.on_error not in {"skip", "fail"}:
            raise UsageError(f"on_error must be skip or fail, got {self.on_error!r}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be >= 1, got {self.workers}")


@dataclass(frozen=True, kw_only=True)
class ExportSet:
    """A data set on its way out."""

    found: ShardSet
    refs: Sequence[tuple[ShardRef, str | None]]
    """The shards, and the part of each."""

    reader: SampleReader
    style: Style
    classes: Sequence[str]
    about: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        found: ShardSet,
        specs: Sequence[FieldSpec],
        classes: Sequence[str],
        asked: Asked,
    ) -> "ExportSet":
        """Return a set, checked against the format."""
        names = {spec.name for spec in specs}
        about = found.manifest.about if found.manifest else {}
        unnamed = 0
        held = _HELD[asked.to]
        if not names & held:
            raise UsageError(
                f"the set has {sorted(names)}, of which {FORMATS[asked.to]} holds none"
                f" but the image: it is for {' or '.join(sorted(held))}"
            )
        located = bool(names & {"bboxes", "masks"})
        if located and asked.to != "folder":
            if "bbox_labels" in names and not classes:
                raise UsageError(
                    "the set has no class names, and its boxes have classes; give them:"
                    ' classes=["...", ...] (--classes)'
                )
            if not classes:
                classes = (_UNNAMED,)
            elif asked.to == "coco" and not names & {"bboxes", "mask_labels"}:
                unnamed = len(classes) if len(classes) > 1 else 0
                classes = (*classes, _UNNAMED)[: unnamed + 1]
        if asked.to == "coco" and "masks" in names:
            check_masks()
        if asked.to == "voc":
            check_names(classes)
        labelled = "label" in names
        if asked.to == "folder" and labelled:
            check_folders(classes, "class")
        reader = SampleReader(specs=specs, classes=classes)
        refs = _parted(found.refs, found.manifest, asked.split)
        style = Style(
            to=asked.to, classes=classes, origin=asked.origin, labelled=labelled,
            masks=not labelled and bool(names & {"mask", "masks"}), unnamed=unnamed,
        )  # fmt: skip
        if asked.to == "yolo":
            style = _with_lines(style, asked.lines, about, found, reader)
        return cls(
            found=found, refs=refs, reader=reader, style=style, classes=classes,
            about=about,
        )  # fmt: skip

    def order(self, part: str) -> tuple[int, str]:
        """Return where a part stands among others."""
        known = [*PARTS, *dict.fromkeys(own for _, own in self.refs if own)]
        return (known.index(part) if part in known else len(known), part)

    def naming(self, *, progress: bool) -> Naming:
        """Return how keys become paths; see :func:`find_naming`."""
        own = {part for _, part in self.refs if part}
        to, total = self.style.to, self.found.counts
        by_class = to == "folder" and self.style.labelled
        with ProgressBar(
            total=sum(total) if total else None, unit="key", desc="names", leave=False,
            disable=None if progress else True,
        ) as bar:  # fmt: skip
            return find_naming(
                [ref for ref, _ in self.refs], self.found.cache,
                heads=to != "folder", parts=() if to == "voc" else {*PARTS, *own},
                classes=self.classes if by_class else None,
                seen=bar.update,
            )  # fmt: skip


def _parted(
    refs: Sequence[ShardRef], manifest: Manifest | None, split: str | None
) -> list[tuple[ShardRef, str | None]]:
    """Return the shards of a part, or all, each with its part."""
    splits = manifest.splits if manifest else {}
    check_folders(list(splits), "part")
    if split is not None and split not in splits:
        raise UsageError(
            f"the set has no part {split!r}; its parts are {sorted(splits)}"
        )
    parts = {name: part for part, names in splits.items() for name in names}
    found = [(ref, parts.get(ref.name)) for ref in refs]
    return [pair for pair in found if split is None or pair[1] == split]


def _with_lines(
    style: Style,
    lines: str | None,
    about: Mapping[str, Any],
    found: ShardSet,
    reader: SampleReader,
) -> Style:
    """Return a style with what all lines of a YOLO set are to be."""
    shape = shape_of(about)
    kind = lines or _find_kind(found, reader, shape)
    if kind == "keypoints" and shape is None:
        raise UsageError(
            "the set does not say how many keypoints an object has, and YOLO needs it;"
            " give boxes or outlines"
        )
    return replace(style, kind=kind, shape=shape if kind == "keypoints" else None)


def _find_kind(
    found: ShardSet, reader: SampleReader, shape: tuple[int, int] | None
) -> str:
    """Return what the first samples have: keypoints, else outlines, else boxes."""
    objects = list(_first_objects(found, reader))
    if shape is not None and any(one.get("keypoints") for one in objects):
        return "keypoints"
    return "outlines" if any(map(outlines_of, objects)) else "boxes"


def _first_objects(
    found: ShardSet, reader: SampleReader
) -> Iterator[Mapping[str, Any]]:
    looked = 0
    for ref in found.refs:
        shard = open_shard(ref, found.cache)
        for i in range(min(len(shard.index), _LOOKED_AT - looked)):
            try:
                yield from reader(shard.read(i), Counter()).one.objects
            except DataRefused:  # the export says it of its sample
                continue
        looked += len(shard.index)
        if looked >= _LOOKED_AT:
            return
