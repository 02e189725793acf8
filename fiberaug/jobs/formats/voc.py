"""Pascal VOC: an XML file for each image."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.formats.annotated import Annotated, box_of, class_of, plain

__all__ = ["check_names", "to_xml"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_OWN = frozenset({"bbox", "label"})
_TAG = re.compile(r"(?!(?i:xml))[A-Za-z_][A-Za-z0-9_.-]*")
_MEANT = frozenset({"name", "bndbox", "part"})  # VOC's own, not an attribute
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RETURN = {"\r": "&#13;"}  # a parser makes a newline of a bare one


def check_names(classes: Sequence[str]) -> None:
    """Refuse class names that nobody would read back from XML.

    Raises:
        UsageError: One is empty, has spaces around it, or a character that XML lacks.
    """
    for i, name in enumerate(classes):
        found = _NO_XML.search(name)
        if found or not name or name != name.strip():
            why = f"has U+{ord(found[0]):04X}" if found else "has spaces around it"
            raise UsageError(
                f"class {i} {name!r:.80} {why if name else 'is empty'}: Pascal VOC"
                " cannot hold it; write another format, or convert with other class"
                " names"
            )


def to_xml(
    one: Annotated,
    classes: Sequence[str],
    *,
    origin: int = 0,
    segmented: bool = False,
    lost: Counter[str] | None = None,
) -> bytes:
    """Return the XML file of an image, UTF-8.

    Each object has its name and box; what else is said of it (``difficult``,
    ``truncated``, ``pose``, and whatever is one number or text) follows under its own
    name. Numbers have all their digits.

    Args:
        one: The annotations.
        classes: Class names by id.
        origin: 1 writes boxes as the original Pascal VOC has them: its first pixel is
            1, and the last belongs to the box.
        segmented: The image has a mask in ``SegmentationClass``.
        lost: Counts what the format cannot hold, by name.

    Raises:
        SampleBroken: An object has no box or no class, or text that XML cannot hold.
    """
    folder, _, name = one.file.rpartition("/")
    lines = [
        "<annotation>",
        f"\t<folder>{_text('/'.join(filter(None, ('JPEGImages', folder))))}</folder>",
        f"\t<filename>{_text(name)}</filename>",
        "\t<size>",
        f"\t\t<width>{one.width}</width>",
        f"\t\t<height>{one.height}</height>",
        "\t\t<depth>3</depth>",
        "\t</size>",
        f"\t<segmented>{int(segmented)}</segmented>",
    ]
    for row, thing in enumerate(one.objects):
        box = box_of(thing, row)
        shifted = (box[0] + origin, box[1] + origin, *box[2:])
        lines += ["\t<object>"]
        lines += [f"\t\t<name>{_text(classes[class_of(thing, row, classes)])}</name>"]
        lines += [
            f"\t\t<{key}>{_value(value)}</{key}>"
            for key, value in thing.items()
            if key not in _OWN and _is_held(key, value, lost)
        ]
        lines += ["\t\t<bndbox>"]
        lines += [
            f"\t\t\t<{edge}>{plain(value)!r}</{edge}>"
            for edge, value in zip(_EDGES, shifted, strict=True)
        ]
        lines += ["\t\t</bndbox>", "\t</object>"]
    return ("\n".join([*lines, "</annotation>"]) + "\n").encode()


def _is_held(key: str, value: Any, lost: Counter[str] | None) -> bool:  # noqa: ANN401  # JSON
    """Return whether something that is said of an object can stand in the XML."""
    if value is None or value == "":
        return False  # nothing is said
    scalar = isinstance(value, str | int | float)
    held = scalar and _TAG.fullmatch(key) is not None and key not in _MEANT
    if not held and lost is not None:
        lost[f"{key} of objects"] += 1
    return held


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return _text(value)
    return repr(int(value) if isinstance(value, bool) else value)


def _text(text: str) -> str:
    found = _NO_XML.search(text)
    if found:
        raise SampleBroken(f"{text!r:.80} has U+{ord(found[0]):04X}, which XML lacks")
    return escape(text, _RETURN)
