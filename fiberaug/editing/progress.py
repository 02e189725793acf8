"""How far the editing of a set is, and what is noted beside each finished shard."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from fiberaug.editing.sample import EditedSample
from fiberaug.shards.manifest import ShardEntry

__all__ = ["Note", "Progress"]


@dataclass
class Progress:
    """What became of the samples so far."""

    at: int = 0
    """Samples that were looked at: numbers below are done."""

    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """By reason."""

    splits: dict[str, int] = field(default_factory=dict)
    """Parents of each part of the data; empty text: nobody says."""

    size: tuple[int, int, int] | None = None
    """Height, width and channels of the largest photo."""

    images: list[str] = field(default_factory=list)
    """Extensions of the photos."""

    windows: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    """How many objects that were repainted got which fate."""

    captions_dropped: int = 0
    outside: int = 0
    """Pixels outside of edits that differ from the parents'."""

    steepest: float = 0.0
    """Highest ratio of a seam."""

    ratios: float = 0.0
    """Sum of the ratios of all seams."""

    generate_s: float = 0.0

    def take(self, sample: EditedSample) -> None:
        """Count a sample that comes into the pool."""
        self.accepted += 1
        for parent in sample.provenance.parents:
            part = parent.split or ""
            self.splits[part] = self.splits.get(part, 0) + 1
        self.size = max(sample.size, self.size or (0, 0, 0), key=_area)
        self.images = sorted({*self.images, sample.image})
        others = sample.provenance.params.others
        for edit in others["edits"]:
            self.windows += 1
            ratio = float(edit["seam"]["ratio"])
            self.steepest, self.ratios = max(self.steepest, ratio), self.ratios + ratio
        for fate in sample.fates.objects.values():
            self.labels[fate] = self.labels.get(fate, 0) + 1
        self.captions_dropped += sample.fates.caption == "dropped"
        self.outside += int(others["outside"]["differing"])

    def refuse(self, reason: str) -> None:
        """Count a sample that does not come into the pool."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    @classmethod
    def from_plain(cls, told: dict[str, Any]) -> Self:
        """Return what ``asdict`` gave, through JSON."""
        size = told.get("size")
        return cls(**(told | {"size": None if size is None else tuple(size)}))


def _area(size: tuple[int, int, int]) -> tuple[int, ...]:
    return size[0] * size[1], *size


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a finished shard added, and how far the job was behind it."""

    progress: Progress
    entry: ShardEntry
    refused: list[str]
    """Lines of what was refused before it was full."""

    def to_bytes(self) -> bytes:
        """Return the note as a file."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return what :meth:`to_bytes` gave.

        Raises:
            ValueError: It is anything else.
        """
        try:
            told = json.loads(content)
            return cls(
                progress=Progress.from_plain(told["progress"]),
                entry=ShardEntry(**told["entry"]), refused=list(told["refused"]),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no note: {error!r}") from error
