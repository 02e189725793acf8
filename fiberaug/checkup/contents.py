"""What side-cars say of the samples: members, sizes, classes and keys.

All side-cars are read where they are few and small, or where that is asked for; else
some, spread over the set. Shards without one are read from member to member instead.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fiberaug.bars import ProgressBar
from fiberaug.checkup.findings import Finding, named, note, ok, problem
from fiberaug.checkup.keys import KeyCheck
from fiberaug.checkup.listing import Listing
from fiberaug.checkup.looking import Shard
from fiberaug.decode.fields import FieldSpec, parse_fields, resolve_auto
from fiberaug.decode.text import parse_metadata
from fiberaug.errors import FiberAugError
from fiberaug.shards.index import ShardIndex
from fiberaug.shards.reader import ShardFile, ShardRef, build_index, map_file
from fiberaug.sizes import counted

__all__ = ["Contents", "read_contents"]

_MOST_SAMPLES = 100_000  # a second or so
_MOST_SHARDS = 1_000
_MOST_BYTES = 256_000_000  # of shards without a side-car
_SPREAD = 16  # shards, where not all are read
_IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm"})


@dataclass(slots=True)
class Contents:
    """What was found in the shards that were read."""

    whole: bool
    """Whether that was all of them."""

    shards: int = 0
    samples: int = 0
    labels: Counter[int] = field(default_factory=Counter)
    """Samples by class id."""

    pixels: int = 0
    """Pixels of all images whose size is known."""

    known: int = 0
    """Images whose size is known."""

    largest: tuple[int, int] = (0, 0)
    """Width and height of the image with the most pixels, px."""

    uniform: bool = True
    """Whether all images have one size."""

    turned: int = 0
    """Images with an EXIF orientation."""

    lacking: Counter[str] = field(default_factory=Counter)
    """Samples that lack a field that the first one has, by field."""

    first_lacking: dict[str, str] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)
    """Samples that are several files, merged by a dot in their names."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def mean_pixels(self) -> float:
        """Pixels of a mean image; 0 where no size is known."""
        return self.pixels / self.known if self.known else 0.0


def read_contents(
    listing: Listing, *, deep: bool = False, progress: bool = True
) -> Contents:
    """Return what the side-cars say, with what is wrong with it.

    Args:
        listing: The shards.
        deep: Read all of them, however many there are.
        progress: Show a bar on a terminal.
    """
    readable, chosen = listing.readable, _choose(listing, deep=deep)
    contents = Contents(whole=len(chosen) == len(readable))
    specs: tuple[FieldSpec, ...] | None = None
    if listing.manifest is not None and listing.manifest.fields:
        specs = parse_fields(listing.manifest.fields)
    keys = KeyCheck()
    for shard in ProgressBar(
        chosen, "read", unit="shard", disable=None if progress and deep else True
    ):
        try:
            index = _open(shard)
            specs = specs or _auto(shard, index, remote=listing.remote)
        except FiberAugError as error:
            place = f"{shard.name}: {error.message}"
            place += f" (key {error.key})" if error.key else ""
            contents.findings.append(
                problem("contents", place, "`fiberaug verify` names the place")
            )
            continue
        _add(contents, index, specs)
        keys.add(index, partial(_open, shard))
    contents.findings += [*_report(contents), *keys.report(whole=contents.whole)]
    return contents


def _choose(listing: Listing, *, deep: bool) -> list[Shard]:
    shards = listing.readable
    if listing.counts is None and listing.remote:
        return []
    if listing.counts is None:
        few = sum(shard.bytes for shard in shards) <= _MOST_BYTES
    else:
        few = sum(listing.counts) <= _MOST_SAMPLES
    if deep or (few and len(shards) <= _MOST_SHARDS):
        return shards
    if listing.counts is None:  # one of them is all that is bearable
        small = [shard for shard in shards[:1] if shard.bytes <= _MOST_BYTES]
        return [shard for shard in shards if shard.index is not None][:_SPREAD] or small
    rows = np.unique(np.linspace(0, len(shards) - 1, _SPREAD).astype(int))
    chosen = [shards[i] for i in rows]
    total = np.cumsum([shard.samples or 0 for shard in chosen])
    return [s for s, n in zip(chosen, total, strict=True) if n <= 2 * _MOST_SAMPLES]


def _open(shard: Shard) -> ShardIndex:
    if shard.fetch is not None:
        return ShardIndex.open(shard.fetch(), shard=shard.name)
    if shard.index is not None:
        return ShardIndex.open(shard.index, shard=shard.name)
    return build_index(map_file(shard.path, shard=shard.name), shard=shard.name)


def _auto(shard: Shard, index: ShardIndex, *, remote: bool) -> tuple[FieldSpec, ...]:
    if not len(index):
        return ()
    if remote:  # the sample itself would have to be fetched
        return resolve_auto([field.extension for field in index.fields(0)], {})
    side_car = None if shard.index is None else str(shard.index)
    ref = ShardRef(path=str(shard.path), index=side_car)
    members = ShardFile(ref).read(0)
    return resolve_auto(members, parse_metadata(members))


def _add(contents: Contents, index: ShardIndex, specs: tuple[FieldSpec, ...]) -> None:
    columns = index.columns
    contents.shards += 1
    contents.samples += len(index)
    labels, counts = np.unique(columns["label"], return_counts=True)
    contents.labels.update(
        {
            int(label): int(count)
            for label, count in zip(labels, counts, strict=True)
            if label >= 0
        }
    )
    width, height = (columns[name].astype(np.int64) for name in ("width", "height"))
    area = width * height
    if area.any():
        at = int(area.argmax())
        most = int(width[at]), int(height[at])
        seen = contents.largest
        sizes = {(int(w), int(h)) for w, h in zip(width[:64], height[:64], strict=True)}
        same = len(sizes) == 1 and area.min() == area.max()
        contents.uniform &= same and seen in {(0, 0), most}
        contents.largest = max(seen, most, key=lambda size: size[0] * size[1])
        contents.pixels += int(area.sum())
        contents.known += int((area > 0).sum())
    contents.turned += int((columns["orientation"] > 1).sum())
    _members(contents, index, specs)


def _members(
    contents: Contents, index: ShardIndex, specs: tuple[FieldSpec, ...]
) -> None:
    extensions = bytes(index.columns["extensions"]).decode(errors="replace").split("\0")
    for spec in specs:
        wanted = {source.extension for source in spec.sources}
        rows = _count(index, [e in wanted for e in extensions])
        if not spec.optional and not rows.all():
            missing = np.flatnonzero(rows == 0)
            contents.lacking[spec.name] += len(missing)
            place = f"{index.key(int(missing[0]))} of {index.shard}"
            contents.first_lacking.setdefault(spec.name, place)
    # img.001.jpg and img.002.jpg: the key ends at the first dot.
    numbered = [
        e.rpartition(".")[2] in _IMAGES and e.partition(".")[0].isdigit()
        for e in extensions
    ]
    if any(numbered):
        rows = np.flatnonzero(_count(index, numbered))
        contents.merged += [f"{index.key(int(i))} of {index.shard}" for i in rows[:9]]


def _count(index: ShardIndex, wanted: list[bool]) -> np.ndarray:
    """Return how many members of each sample have one of some extensions."""
    hits = np.asarray(wanted, np.int64)[index.columns["extension"]]
    ends = np.concatenate([[0], np.cumsum(hits)])
    first = index.columns["first_member"].astype(np.int64)
    found: np.ndarray = ends[first + index.columns["members"]] - ends[first]
    return found


def _report(contents: Contents) -> Iterator[Finding]:
    looked = f"{contents.samples:,} samples of {counted(contents.shards, 'shard')}"
    if not contents.whole:
        looked += ", not all: --deep reads the rest"
    for name, count in contents.lacking.items():
        first = contents.first_lacking[name]
        yield problem(
            "fields", f"{count:,} of {looked}: no {name}, such as {first}",
            f"mend them, or say that it may miss: fields={{'{name}?': ...}}",
            {name: count},
        )  # fmt: skip
    if contents.merged:
        yield problem(
            "fields",
            f"files merged into one sample by a dot in their names: "
            f"{named(contents.merged)}",
            "rename img.001.jpg to img_001.jpg; `fiberaug convert` does that",
        )
    if not contents.lacking and contents.samples:
        yield ok("fields", f"the same in {looked}")
    if contents.known:
        width, height = contents.largest
        mean = f"{contents.mean_pixels / 1e6:.2f} Mpx"
        text = f"{mean} on the average, the largest {width}x{height} px"
        text += (
            "" if contents.uniform else "; sizes differ, so stacks need a crop or pad"
        )
        figures = {"mean_pixels": contents.mean_pixels, "largest": contents.largest}
        yield ok("images", text, figures)
    if contents.turned:
        text = f"{contents.turned:,} stored turned (EXIF); they are read upright"
        yield note("images", text)
