"""What a user can say of a source beside where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["SourceOptions"]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Hints for reading a source; each source takes those that it knows."""

    classes: Sequence[str] | None = None
    """Class names by id. None: what the source says."""

    images: str | None = None
    """Folder that the images' paths are relative to. None: where the format has it."""

    listed: str | None = None
    """A file that lists the samples to take, one name a line, as Pascal VOC's
    ``ImageSets/Main/train.txt``. None: all."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: the column of each field, as ``{"image": "path", "label": "y"}``."""

    origin: int = 0
    """First pixel of Pascal VOC's boxes: 0, or 1 as in the original data set, where the
    last pixel belongs to the box."""

    frame: str | None = None
    """Pixels that annotations are for, ``stored`` or ``upright``: for formats whose
    coordinates are shares of the image's sides."""

    masks: bool = False
    """Store masks of objects where the source has outlines."""

    allow_outside: bool = False
    """Files may lie outside of the source's folder."""
