"""The mark that says how an image came about, in the file itself.

It is the XMP property ``Iptc4xmpExt:DigitalSourceType`` with a term of the IPTC
NewsCodes "Digital Source Type", which search engines, photo programs and exiftool read.
The compressed pixels stay as they are. The mark can be taken out by anybody: it tells
what the maker states, and proves nothing.

Sources: IPTC Photo Metadata Standard 2023.2, "Digital Source Type";
http://cv.iptc.org/newscodes/digitalsourcetype/.
"""

from fiberaug.embedding import FileBroken, container_of
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.xmp import Property, XmpBroken, find_property, new_packet, set_property

__all__ = [
    "COMPOSITE", "PROCEDURAL", "SOURCE_TYPES", "TRAINED", "carry", "mark", "read_mark",
]  # fmt: skip

TRAINED = "trainedAlgorithmicMedia"
"""Made by a trained model alone."""

COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
"""A photo edited by a trained model: image to image, inpainting, outpainting."""

PROCEDURAL = "algorithmicMedia"
"""Made by an algorithm that was trained on nothing: rendered, drawn, computed."""

SOURCE_TYPES = frozenset({TRAINED, COMPOSITE, PROCEDURAL})

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PROPERTY = Property(
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "DigitalSourceType", "Iptc4xmpExt"
)


def mark(data: bytes, source_type: str) -> bytes:
    """Return an image file that says how it came about; its pixels are the same.

    Marking again with the same type changes nothing, with another one replaces it. XMP
    that the file has stays; so do EXIF, profiles and data behind the image.

    Args:
        data: A PNG, JPEG or WebP file.
        source_type: One of ``SOURCE_TYPES``.

    Raises:
        UsageError: The type is unknown, or files of this format have no room for it.
        SampleBroken: The file, or the XMP in it, is not built as its format says.
    """
    if source_type not in SOURCE_TYPES:
        raise UsageError(
            f"a source type is one of {sorted(SOURCE_TYPES)}, got {source_type!r}"
        )
    container = container_of(data)
    if container is None:
        raise UsageError(
            "only PNG, JPEG and WebP files can be marked, this one begins with"
            f" {bytes(data[:8])!r}; write it as one of them (--encode png)"
        )
    value = _VOCABULARY + source_type
    try:
        found = container.find(data)
        if found is None:
            return container.put(data, new_packet(_PROPERTY, value))
        before = found[1].rstrip(b"\0")
        packet = set_property(before, _PROPERTY, value, most=container.most)
        return data if packet == before else container.put(data, packet)
    except FileBroken as error:
        raise SampleBroken(f"it cannot be marked: {error}", stage="mark") from error
    except XmpBroken as error:
        raise SampleBroken(
            f"it cannot be marked: its XMP is unsound, {error}; take it out first",
            stage="mark",
        ) from error


def read_mark(data: bytes | memoryview) -> str | None:
    """Return the source type of ``SOURCE_TYPES`` that a file states; None without one.

    Only the head of the file is looked at, and of a PNG also its last 16 KiB. A file
    that is broken, or of another format, states nothing. Never raises.
    """
    container = container_of(data)
    if container is None:
        return None
    try:
        found = container.find(data)  # type: ignore[arg-type]  # a view reads the same
        if found is None:
            return None
        value = find_property(found[1].rstrip(b"\0"), _PROPERTY)
    except ValueError:  # both kinds of damage, and text that is none
        return None
    found_type = (value or "").rpartition("/")[2]
    return found_type if found_type in SOURCE_TYPES else None


def carry(source: bytes | memoryview, encoded: bytes) -> bytes:
    """Return a newly encoded image with the mark of the file that it was made from.

    Args:
        source: The file whose pixels were changed and encoded anew.
        encoded: The new file; it is returned as it is where ``source`` has no mark.

    Raises:
        UsageError: The source is marked, and the new file's format has no room for it.
    """
    source_type = read_mark(source)
    return encoded if source_type is None else mark(encoded, source_type)
