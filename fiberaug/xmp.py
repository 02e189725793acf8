"""One property of an XMP packet: found, set, all others left as they stand.

The packet is edited as text at the places that an XML parser names, so what other
programs wrote stays byte for byte. Source: ISO 16684-1:2019, section 7.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr, unescape

__all__ = ["MOST_BYTES", "XmpBroken", "find_property", "new_packet", "set_property"]

MOST_BYTES = 1 << 20
"""A packet above this is not looked into."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_NAME = re.compile(rb"[^\s</>]+")
_PADDING = re.compile(rb"\s*(<\?xpacket end=)")
_MOST_DEPTH = 256
_QUOTES = {"&quot;": '"', "&apos;": "'"}


class XmpBroken(ValueError):
    """A packet is no XMP."""


class Property(NamedTuple):
    """One simple property of XMP."""

    uri: str
    """Of its schema."""

    name: str
    prefix: str
    """What new packets call the schema."""


class _Place(NamedTuple):
    """Where a value of the property stands in the packet."""

    start: int
    end: int
    value: str
    name: bytes | None
    """Name of the element as it is written; None: the place is an attribute's value."""


def new_packet(prop: Property, value: str) -> bytes:
    """Return a packet that holds the property alone."""
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f"{_description(prop, value)}"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    return text.encode()


def find_property(packet: bytes, prop: Property) -> str | None:
    """Return the first value of a property of the packet's subject; None without one.

    Raises:
        XmpBroken: The packet is no XMP, or above ``MOST_BYTES``.
    """
    if prop.name.encode() not in packet:
        return None
    places = _Reader(packet, prop).places
    return places[0].value if places else None


def set_property(
    packet: bytes, prop: Property, value: str, *, most: int = MOST_BYTES
) -> bytes:
    """Return the packet with one value of a property, and all others untouched.

    Args:
        packet: A whole packet, UTF-8.
        prop: The property.
        value: Its value.
        most: Bytes that it may have; above it padding is taken out.

    Raises:
        XmpBroken: The packet is no XMP, or too large.
    """
    found = _Reader(packet, prop)
    if [place.value for place in found.places] == [value]:
        return packet
    edits = [(place.start, place.end, b"") for place in found.places]
    if found.places:
        first = found.places[0]
        edits[0] = (first.start, first.end, _again(packet, first, prop, value))
    else:
        edits.append(found.addition(_description(prop, value, found.about)))
    for start, end, text in sorted(edits, reverse=True):
        packet = packet[:start] + text + packet[end:]
    packet = packet if len(packet) <= most else _PADDING.sub(rb"\1", packet)
    if len(packet) > most:
        raise XmpBroken(f"with the mark it has {len(packet)} bytes, above {most}")
    return packet


def _description(prop: Property, value: str, about: str = "") -> str:
    name = f"{prop.prefix}:{prop.name}"
    return (
        f'<rdf:Description xmlns:rdf="{_RDF}" rdf:about={quoteattr(about)}'
        f' xmlns:{prop.prefix}="{prop.uri}"><{name}>{escape(value)}</{name}>'
        "</rdf:Description>"
    )


def _again(packet: bytes, place: _Place, prop: Property, value: str) -> bytes:
    """Return what replaces a place, in the words that the packet has for it."""
    if place.name is None:
        return quoteattr(value).encode()
    tag = packet[place.start : packet.index(b">", place.start)]
    name, declared = place.name.decode(), ""
    if b"xmlns" in tag:  # the prefix is declared nowhere else
        name = f"{prop.prefix}:{prop.name}"
        declared = f' xmlns:{prop.prefix}="{prop.uri}"'
    return f"<{name}{declared}>{escape(value)}</{name}>".encode()


@dataclass
class _Reader:
    """Reads a packet once, and keeps where things stand."""

    packet: bytes
    prop: Property
    places: list[_Place] = field(default_factory=list)
    about: str = ""

    def __post_init__(self) -> None:
        self._depth = self._rdf_depth = 0
        self._rdf = -1, -1
        self._open: tuple[int, str | None] | None = None
        self._text: list[str] = []
        if len(self.packet) > MOST_BYTES:
            raise XmpBroken(f"it has {len(self.packet)} bytes, above {MOST_BYTES}")
        if b"\0" in self.packet:
            raise XmpBroken("it is not UTF-8")
        parser = ParserCreate("UTF-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser
        try:
            parser.Parse(self.packet, True)  # noqa: FBT003  # expat's own argument
        except (ExpatError, UnicodeError, LookupError) as error:
            raise XmpBroken(str(error)) from error
        finally:
            del self._parser  # its handlers hold this object
        if self._rdf[0] < 0:
            raise XmpBroken("it has no rdf:RDF")

    def addition(self, description: str) -> tuple[int, int, bytes]:
        """Return the edit that puts a description at the end of the RDF."""
        start, end = self._rdf
        text = description.encode()
        if not self._is_empty(start, end):
            return end, end, text
        return end - 2, end, b">" + text + b"</" + self._name(start) + b">"

    def _doctype(self, *_: Any) -> None:  # noqa: ANN401
        raise XmpBroken("it has a DOCTYPE, which XMP has not")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        at = self._parser.CurrentByteIndex
        if self._depth > _MOST_DEPTH:
            raise XmpBroken(f"its elements are nested deeper than {_MOST_DEPTH}")
        if name == f"{_RDF} RDF" and not self._rdf_depth:
            self._rdf_depth, self._rdf = self._depth, (at, at)
        elif self._rdf_depth and self._depth == self._rdf_depth + 1:
            self.about = self.about or attributes.get(
                f"{_RDF} about", attributes.get("about", "")
            )
            value = attributes.get(f"{self.prop.uri} {self.prop.name}")
            if value is not None:
                self._add_attribute(at, value)
        elif (
            self._rdf_depth
            and self._depth == self._rdf_depth + 2
            and name == f"{self.prop.uri} {self.prop.name}"
        ):
            self._open = at, attributes.get(f"{_RDF} resource")
            self._text = []

    def _characters(self, text: str) -> None:
        if self._open is not None:
            self._text.append(text)

    def _end(self, _: str) -> None:
        at = self._parser.CurrentByteIndex
        if self._depth == self._rdf_depth:
            self._rdf = self._rdf[0], at
            self._rdf_depth = -_MOST_DEPTH - 2  # a second RDF is not looked into
        elif self._open is not None and self._depth == self._rdf_depth + 2:
            start, resource = self._open
            end = at if self._is_empty(start, at) else self._tag_end(at)
            value = "".join(self._text).strip() if resource is None else resource
            self.places.append(_Place(start, end, value, self._name(start)))
            self._open = None
        self._depth -= 1

    def _name(self, start: int) -> bytes:
        """Return the name in the tag that begins here, as it is written."""
        found = _NAME.search(self.packet, start)
        return found[0] if found else b""

    def _is_empty(self, start: int, end: int) -> bool:
        """Return whether an element is one tag: expat tells where that ends."""
        return end == self._tag_end(start) and self.packet[end - 2 : end] == b"/>"

    def _tag_end(self, start: int) -> int:
        at = start + 1
        for found in self._attributes(start):
            at = found.end()
        return self.packet.index(b">", at) + 1

    def _attributes(self, start: int) -> Iterator[re.Match[bytes]]:
        at = start + 1 + len(self._name(start))
        while found := _ATTRIBUTE.match(self.packet, at):
            yield found
            at = found.end()

    def _add_attribute(self, start: int, value: str) -> None:
        """Add where the value of the property stands in the tag that begins here."""
        for found in self._attributes(start):
            prefix, _, last = found[1].rpartition(b":")
            stated = unescape(found[2][1:-1].decode(), _QUOTES)
            if prefix and last == self.prop.name.encode() and stated == value:
                self.places.append(_Place(*found.span(2), value, None))
                return
