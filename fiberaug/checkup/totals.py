"""How much there is: shards that can be read, samples, lengths of shards, classes."""

from collections.abc import Iterator, Mapping

import numpy as np

from fiberaug.checkup.findings import Finding, named, note, ok, problem
from fiberaug.checkup.listing import Listing
from fiberaug.sizes import counted, format_bytes

__all__ = ["check_classes", "check_indexes", "check_lengths", "check_shards"]

_SHORT = 0.25  # of the median
_UNEVEN = 10  # times the smallest class
_REMEDIES = {
    "missing": "restore it, or leave it out of the description",
    "unreadable": "mend its permissions, or unpack it to a plain .tar",
    "damaged": "fetch it again; `fiberaug verify` names the byte",
    "size differs": "restore the shard, or index it again with `fiberaug index`",
    "bad index": "make it again with `fiberaug index`",
}


def check_shards(listing: Listing) -> Iterator[Finding]:
    """Yield what is wrong with shards, each kind of trouble in one line."""
    for kind, remedy in _REMEDIES.items():
        found = [shard for shard in listing.shards if shard.trouble == kind]
        if found:
            names = named([f"{shard.name} ({shard.reason})" for shard in found])
            text = f"{counted(len(found), 'shard')}, {kind}: {names}"
            yield problem("shards", text, remedy, {kind: [s.name for s in found]})


def check_indexes(listing: Listing) -> Iterator[Finding]:
    """Yield how many samples there are, and which shards have no index."""
    readable, counts = listing.readable, listing.counts
    bare = [shard.name for shard in readable if shard.index is None]
    size = sum(shard.bytes for shard in readable)
    total = f"{counted(len(readable), 'shard')}, {format_bytes(size)}"
    samples = None if counts is None else sum(counts)
    figures = {"samples": samples, "shards": len(readable), "bytes": size}
    remedy = "run `fiberaug index SHARDS`"
    if not readable:
        yield problem("samples", "no shard can be read", "see the lines above", figures)
    elif not bare:
        yield ok("samples", f"{samples:,} in {total}", figures)
    elif len(bare) == len(readable):
        text = f"not counted, in {total}, none with an index: no len(), one lane"
        yield note("samples", text, remedy, figures)
    else:
        text = f"not counted: {len(bare)} of {total} have no index ({named(bare)})"
        text += ", so the set is read as one without"
        yield problem("samples", text, remedy, figures)
    older = [shard.name for shard in readable if shard.older_index]
    if older:
        text = f"older than its shard: {named(older)}"
        yield note(
            "index", text, "where the shard was changed, run `fiberaug index` again"
        )


def check_lengths(listing: Listing) -> Iterator[Finding]:
    """Yield how samples spread over shards, and which are empty or far too short."""
    if not listing.counts:
        return
    counts, names = np.asarray(listing.counts), [s.name for s in listing.readable]
    median = float(np.median(counts))
    empty = [names[i] for i in np.flatnonzero(counts == 0)]
    if empty:
        text = f"{counted(len(empty), 'shard')} without a sample: {named(empty)}"
        yield problem("lengths", text, "leave them out, or write them again")
    spread = f"{counts.min():,} to {counts.max():,} samples a shard"
    text = f"{spread}, median {median:,.0f}"
    figures = {"min": int(counts.min()), "median": median, "max": int(counts.max())}
    # The last shard of a writer is as short as it comes.
    low = np.flatnonzero((counts < _SHORT * median) & (counts > 0))
    short = [f"{names[i]} ({counts[i]})" for i in low if i != len(counts) - 1]
    if short:
        remedy = "if that was not meant, `fiberaug verify` tells whether they are whole"
        yield note("lengths", f"{text}; far below: {named(short)}", remedy, figures)
    else:
        yield ok("lengths", text, figures)


def check_classes(
    listing: Listing, seen: Mapping[int, int], *, whole: bool
) -> Iterator[Finding]:
    """Yield the classes, and which of them are empty.

    Args:
        listing: The shards.
        seen: Samples by class id, of the side-cars that were read.
        whole: Whether all side-cars were read.
    """
    manifest = listing.manifest
    classes = manifest.classes if manifest else ()
    counts: dict[str, int] = {}
    if manifest is not None and manifest.counts:
        counts = {str(name): int(n) for name, n in manifest.counts.items()}
        whole = True
    elif seen:
        last = max(seen)
        # Ids far apart are codes of something, not classes counted from 0.
        ids = range(last + 1) if last < 2 * len(seen) + 8 else sorted(seen)
        counts = {str(i): seen.get(i, 0) for i in ids}
        counts = {_name(name, classes): count for name, count in counts.items()}
    if not counts:
        return
    counts = {**dict.fromkeys(classes, 0), **counts} if whole else counts
    empty = [name for name, count in counts.items() if not count]
    filled = {name: count for name, count in counts.items() if count}
    few = min(filled, key=filled.__getitem__, default="none")
    many = max(filled, key=filled.__getitem__, default="none")
    text = f"{len(counts):,}, from {filled.get(few, 0):,} ({few})"
    text += f" to {filled.get(many, 0):,} ({many}) samples"
    text += "" if whole else " in the side-cars that were read"
    if empty and whole:
        remedy = "add samples, or leave the class out of the list of classes"
        yield problem("classes", f"{text}; empty: {named(empty)}", remedy, counts)
    elif filled and filled[many] > _UNEVEN * filled[few]:
        yield note("classes", text, 'balance="sqrt" or "uniform" evens them', counts)
    else:
        yield ok("classes", text, counts)


def _name(label: str, classes: tuple[str, ...]) -> str:
    return classes[int(label)] if int(label) < len(classes) else label
