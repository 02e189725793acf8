"""What an engine is set up with, and what it gives: values that go to workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import FiberAugError
from fiberaug.mixture import Mixture
from fiberaug.plan import Plan
from fiberaug.proven import Proven
from fiberaug.record import PackedRecord
from fiberaug.rows import Rows
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.reader import ShardRef
from fiberaug.tiling import Tiling

if TYPE_CHECKING:
    from fiberaug.augment.pipeline import Pipeline

__all__ = ["Failure", "Made", "OnError", "Setup"]

OnError = str | Callable[[FiberAugError], str]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that an engine needs; it is sent to workers once."""

    refs: tuple[ShardRef, ...]
    """The shards, those that are mixed in behind the others."""

    plan: Plan
    """The order."""

    decoder: SampleDecoder
    """Field mapping and decoders."""

    pipeline: "Pipeline | None"
    """The user's pipeline."""

    on_error: OnError
    """``replace``, ``mask``, ``raise`` or a function of the error that names one."""

    ignore_index: int | None = None
    """What padding puts into masks, where the pipeline does not say."""

    rows: Rows | None = None
    """From dealt rows to samples, where there is a subset or a balance."""

    cache: ShardCache | None = None
    """Where remote shards are kept; None: all are local."""

    windows: int = 1
    """Windows of each lane that the cache can hold."""

    skip_shards: bool = False
    """Whether a damaged shard is an event, as a broken sample is."""

    views: int = 1
    """How often each sample is augmented; it is decoded once."""

    pixel_hash: bool = False
    """Whether records hold a hash of the augmented image."""

    tiling: Tiling | None = None
    """How photos are cut into tiles; None: they are whole."""

    shift_tiles: bool = False
    """Whether each epoch cuts a photo elsewhere."""

    proven: Proven | None = None
    """Which samples are known to decode; None: the counts of shards are not known."""

    mixture: Mixture | None = None
    """What is mixed in; its shards stand behind the data set's own in ``refs``."""

    @property
    def decode(self) -> Mapping[str, Any]:
        """What records say of decoding."""
        return self.decoder.options.describe()


class Failure(NamedTuple):
    """A sample that could not be made: one line of the quarantine log."""

    shard: str
    key: str | None
    offset: int | None
    stage: str | None
    reason: str
    uid: int
    epoch: int
    position: int
    attempt: int
    samples: int | None = 1
    """Samples that are lost. A whole shard has no key, and None where it was not
    counted."""


class Made(NamedTuple):
    """A sample ready to be collated."""

    fields: dict[str, Any]
    """Fields; image uint8 or float32 [H, W, C]."""

    packed: PackedRecord
    url: str
    is_pad: bool
    failures: tuple[Failure, ...] = ()
    more: tuple[tuple[dict[str, Any], PackedRecord], ...] = ()
    """Fields and record of the views after the first."""

    def views(self) -> list[tuple[dict[str, Any], PackedRecord]]:
        """Return fields and record of each view."""
        return [(self.fields, self.packed), *self.more]
