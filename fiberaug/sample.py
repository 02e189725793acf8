"""One sample on its way through the pipeline."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from fiberaug.record import Record

__all__ = ["EditableSample", "Sample"]


class Sample(Mapping[str, Any]):
    """A read-only mapping from field names to values, with the sample's identity.

    Fields: ``image`` (uint8 [H, W, C] in workers, a tensor [C, H, W] out of
    :func:`fiberaug.replay`), ``label``, ``mask`` ([H, W] class ids), ``bboxes``
    (float32 [N, 4] pixel x_min, y_min, x_max, y_max), ``bbox_labels`` (int64 [N]),
    ``keypoints`` (float32 [N, 2]), ``caption`` and whatever else the shard holds.

    Args:
        fields: The fields.
        key: The sample's key in its shard.
        url: The shard as it was opened.
        record: What was done to the sample, once it is done.
    """

    __slots__ = ("_fields", "key", "record", "url")

    def __init__(
        self,
        fields: Mapping[str, Any],
        *,
        key: str,
        url: str,
        record: Record | None = None,
    ) -> None:
        self._fields = dict(fields)
        self.key = key
        self.url = url
        self.record = record

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  # a field can be anything
        """Return a field, or ``__key__`` and ``__url__`` as webdataset calls them."""
        if name == "__key__":
            return self.key
        if name == "__url__":
            return self.url
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._fields)

    def __repr__(self) -> str:
        """Return the key and the fields with their shapes."""
        fields = ", ".join(
            f"{name}: {getattr(value, 'shape', None) or type(value).__name__}"
            for name, value in self._fields.items()
        )
        return f"Sample({self.key!r}, {fields})"

    def replace(self, **fields: Any) -> Self:  # noqa: ANN401  # a field can be anything
        """Return a sample with some fields replaced or added."""
        return type(self)(
            {**self._fields, **fields}, key=self.key, url=self.url, record=self.record
        )


class EditableSample(Sample):
    """A sample as a user's callable gets it: fields can be set and deleted."""

    __slots__ = ()

    def __setitem__(self, name: str, value: Any) -> None:  # noqa: ANN401
        """Set or add a field; the sample in the pipeline is the one returned."""
        self._fields[name] = value

    def __delitem__(self, name: str) -> None:
        """Leave a field out."""
        del self._fields[name]
