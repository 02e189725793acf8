"""Which member fills which field: presets, the mapping's small language, ``auto``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fiberaug.errors import UsageError

__all__ = [
    "AUTO",
    "FieldSpec",
    "Source",
    "describe_fields",
    "parse_fields",
    "resolve_auto",
]

AUTO: Mapping[str, str] = {
    "image": "jpg;jpeg;png;webp;bmp;tif;tiff;gif;ppm;jpg.jpg",
    "label": "cls;json:label;json:class",
    "mask": "mask.png;seg.png;mask.webp",
    "bboxes?": "json:objects[].bbox",
    "bbox_labels?": "json:objects[].label",
    "keypoints?": "json:keypoints",
    "caption?": "txt;json:caption",
}
"""The preset ``auto``: of each line the first source that the first sample has; of the
image all, since folders mix formats."""

_PRESETS: Mapping[str, Mapping[str, str]] = {
    "classification": {"image": AUTO["image"], "label": AUTO["label"]},
    "detection": {
        "image": AUTO["image"],
        "bboxes": AUTO["bboxes?"],
        "bbox_labels": AUTO["bbox_labels?"],
    },
    "segmentation": {"image": AUTO["image"], "mask": AUTO["mask"]},
    "image": {"image": AUTO["image"]},
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(r"[^.\[\]]+(?:\[\])?")


@dataclass(frozen=True, slots=True)
class Source:
    """One place where a field can come from."""

    extension: str
    """Extension of the member, in lower case."""

    path: tuple[str, ...] = ()
    """Steps into JSON, ``[]`` for each item of a list; empty: the member itself."""

    def __str__(self) -> str:
        """Return the source as the mapping writes it."""
        steps = ".".join(self.path).replace(".[]", "[]")
        return f"{self.extension}:{steps}" if self.path else self.extension


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field and where it comes from, first match first."""

    name: str
    """Name in the sample."""

    sources: tuple[Source, ...]
    """Places to look, in order."""

    optional: bool = False
    """A missing optional field is empty; any other is that sample's error."""

    def __str__(self) -> str:
        """Return the right side of the mapping."""
        return ";".join(map(str, self.sources))


def _parse_source(text: str, field: str) -> Source:
    extension, colon, path = text.strip().lstrip(".").partition(":")
    if not extension or (
        colon
        and extension.lower() != "json"
        and not extension.lower().endswith(".json")
    ):
        raise UsageError(
            f"source {text!r} of field {field!r} must be an extension such as jpg, or"
            " json:path.to.value"
        )
    steps: list[str] = []
    for step in path.split(".") if colon else ():
        if not _STEP.fullmatch(step):
            raise UsageError(
                f"path {path!r} of field {field!r} must look like objects[].bbox"
            )
        steps += [step.removesuffix("[]"), "[]"] if step.endswith("[]") else [step]
    return Source(extension.lower(), tuple(steps))


def parse_fields(fields: Mapping[str, str] | str) -> tuple[FieldSpec, ...]:
    """Return the field mapping that the user gave.

    Args:
        fields: A preset (``classification``, ``detection``, ``segmentation``,
            ``image``) or ``{"image": "jpg;png", "label": "cls;json:label", "caption?":
            "txt"}``.

    Raises:
        UsageError: A preset, a name or a source is not understood, a field stands
            twice, or there is no image.
    """
    if isinstance(fields, str) and fields in _PRESETS:
        fields = _PRESETS[fields]
    if not isinstance(fields, Mapping):
        raise UsageError(
            f"fields must be auto, {', '.join(_PRESETS)} or a mapping, got {fields!r}"
        )
    specs = [_parse_field(name, text) for name, text in fields.items()]
    names = [spec.name for spec in specs]
    if "image" not in names:
        raise UsageError(f"fields must name the image, got {names}")
    if len(set(names)) != len(names):
        raise UsageError(f"a field stands twice among {list(fields)}")
    return tuple(specs)


def _parse_field(name: str, text: str) -> FieldSpec:
    bare = str(name).removesuffix("?")
    if (
        not _NAME.fullmatch(bare)
        or bare.startswith("__")
        or bare in {"record", "is_pad"}
    ):
        raise UsageError(f"{name!r} cannot be the name of a field")
    if not isinstance(text, str):
        raise UsageError(f"the source of {name!r} must be text, got {text!r}")
    sources = tuple(
        _parse_source(part, bare) for part in text.split(";") if part.strip()
    )
    if not sources:
        raise UsageError(f"field {name!r} has no source")
    return FieldSpec(bare, sources, optional=name.endswith("?"))


def resolve_auto(
    extensions: Iterable[str], metadata: Mapping[str, Any]
) -> tuple[FieldSpec, ...]:
    """Return the mapping that ``fields="auto"`` means for a set like its first sample.

    Args:
        extensions: Extensions of the first sample.
        metadata: Content of its JSON members, by extension.

    Raises:
        UsageError: The sample has no image that the preset knows.
    """
    present = set(extensions)
    specs = []
    for spec in parse_fields(dict(AUTO)):
        found = next((s for s in spec.sources if _has(s, present, metadata)), None)
        if found is None:
            continue
        # Folders mix formats: any that the first sample lacks is another's image. What
        # it has beside its image, such as a mask in .png, is not.
        others = spec.sources if spec.name == "image" else ()
        others = tuple(s for s in others if s.extension not in present)
        specs.append(FieldSpec(spec.name, (found, *others), spec.optional))
    if not specs or specs[0].name != "image":
        raise UsageError(
            f"no field looks like an image; the first sample has {sorted(present)}; say"
            ' which it is: fields={"image": "..."}'
        )
    return tuple(specs)


def _has(source: Source, present: set[str], metadata: Mapping[str, Any]) -> bool:
    if source.extension not in present:
        return False
    values: list[Any] = [metadata.get(source.extension)]
    for step in source.path:
        if step == "[]":
            if not all(isinstance(value, list) for value in values):
                return False
            values = [item for value in values for item in value]
        elif not all(isinstance(v, Mapping) and step in v for v in values):
            return False
        else:
            values = [value[step] for value in values]
    return True


def describe_fields(specs: Iterable[FieldSpec], extensions: Iterable[str]) -> str:
    """Return one line: ``image <- jpg, label <- cls, ignored: xyz``."""
    specs = tuple(specs)
    present = set(extensions)
    used = {source.extension for spec in specs for source in spec.sources}
    parts = []
    for spec in specs:
        here = tuple(s for s in spec.sources if s.extension in present)
        shown = FieldSpec(spec.name, here or spec.sources)
        parts.append(f"{spec.name}{'?' * spec.optional} <- {shown}")
    ignored = sorted(present - used)
    if ignored:
        parts.append(f"ignored: {' '.join(ignored)}")
    return ", ".join(parts)
