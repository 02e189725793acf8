"""What the source says of how a sample came about: its mark and its provenance."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fiberaug.baking.sources import SourceShards
from fiberaug.decode.text import parse_metadata
from fiberaug.marking import read_mark
from fiberaug.mix import REAL
from fiberaug.synthetic.provenance import FIELD

__all__ = ["NO_ORIGIN", "Origin", "Origins"]


class Origin(NamedTuple):
    """Of one sample; both are empty for a photo."""

    marks: Mapping[str, str]
    """Source type of each marked image, by field."""

    provenance: Any = None
    """As its JSON has it."""


NO_ORIGIN = Origin({})
"""Of a photo."""


class Origins:
    """Finds the origin of a sample; one that has none costs a look at its heads.

    Args:
        shards: The shards of the set.
    """

    def __init__(self, shards: SourceShards) -> None:
        self._shards = shards
        self._images = {
            origin: [
                (spec.name, [one.extension for one in spec.sources if not one.path])
                for spec in decoder.specs
                if decoder.kind(spec.name) == "image"
            ]
            for origin, decoder in shards.decoders.items()
        }

    def __call__(self, origin: str, url: str, number: int) -> Origin:
        """Return the origin of a sample.

        Args:
            origin: The source that it is from; empty: the set itself.
            url: Name of its shard.
            number: Its number there.

        Raises:
            UsageError: The source makes its samples while the loader runs.
        """
        members = self._shards.members(origin, url, number)
        marks: dict[str, str] = {}
        for name, extensions in self._images[origin or REAL]:
            found = next((members[one] for one in extensions if one in members), b"")
            source_type = read_mark(found)
            if source_type is not None:
                marks[name] = source_type
        text = members.get("json", b"")
        if FIELD.encode() not in bytes(text):
            return Origin(marks) if marks else NO_ORIGIN
        notes = parse_metadata({"json": text}).get("json")
        stated = notes.get(FIELD) if isinstance(notes, Mapping) else None
        return Origin(marks, stated)
