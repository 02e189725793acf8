"""Which samples belong together, in the words of the set that they come from."""

from collections.abc import Mapping

from fiberaug.baking.sources import SourceShards
from fiberaug.decode.text import parse_metadata
from fiberaug.record import PackedRecord

__all__ = ["Groups"]


class Groups:
    """Finds the group of a sample: what ``split`` goes by.

    Args:
        shards: The shards of the set.
    """

    def __init__(self, shards: SourceShards) -> None:
        self._shards = shards

    def __call__(self, packed: PackedRecord) -> str | int:
        """Return the group that a sample's JSON names; empty where there is none."""
        place = packed.origin, packed.url
        index = self._shards.index(*place)
        if index is None or not index.columns["group"][packed.number]:
            return ""
        members = self._shards.members(*place, packed.number)
        metadata = parse_metadata(members).get("json")
        group = metadata.get("group") if isinstance(metadata, Mapping) else None
        return group if isinstance(group, str | int) else ""
