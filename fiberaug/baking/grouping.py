"""Which samples belong together, in the words of the set that they come from."""

from collections.abc import Mapping

from fiberaug.decode.text import parse_metadata
from fiberaug.errors import DataRefused, StoreError
from fiberaug.making import Setup
from fiberaug.record import PackedRecord
from fiberaug.shards.pool import ShardPool

__all__ = ["Groups"]


class Groups:
    """Finds the group of a sample: what ``split`` goes by.

    Args:
        setup: The set.
    """

    def __init__(self, setup: Setup) -> None:
        lanes = 2 * (setup.plan.lanes or 1)
        self._pool = ShardPool(setup.refs, most=max(128, lanes), cache=setup.cache)
        self._numbers = {ref.name: number for number, ref in enumerate(setup.refs)}

    def __call__(self, packed: PackedRecord) -> str | int:
        """Return the group that a sample's JSON names; empty where there is none."""
        try:
            file = self._pool[self._numbers[packed.url]]
            if not file.index.columns["group"][packed.number]:
                return ""
            metadata = parse_metadata(file.read(packed.number)).get("json")
        except (DataRefused, StoreError):  # what cannot be read is replaced
            return ""
        group = metadata.get("group") if isinstance(metadata, Mapping) else None
        return group if isinstance(group, str | int) else ""
