"""A pool written from a generator: begun, gone on with, or found finished."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.synthetic.accounting import account_for, refusals
from fiberaug.synthetic.commission import Commission
from fiberaug.synthetic.filling import Filling
from fiberaug.synthetic.generator import ImageGenerator, name_of
from fiberaug.synthetic.held import Held
from fiberaug.synthetic.judging import Judge
from fiberaug.synthetic.likeness import look_at
from fiberaug.synthetic.making import Classify, Making
from fiberaug.synthetic.options import PoolOptions
from fiberaug.synthetic.place import REFUSED, Place
from fiberaug.synthetic.poolfile import PoolFile
from fiberaug.synthetic.stamping import Stamp
from fiberaug.synthetic.study import study

__all__ = ["write_pool"]

_log = logging.getLogger("fiberaug")


def write_pool(
    source: ImageGenerator | Callable[[], ImageGenerator],
    dst: str | Path,
    options: PoolOptions,
) -> PoolFile:
    """Write a pool, or go on with one, or find it written.

    See :meth:`fiberaug.Pool.write`.
    """
    place = Place(dst)
    done, begun = place.find(), place.begun
    factory = isinstance(source, type) or not isinstance(source, ImageGenerator)
    if factory and not callable(source):
        raise UsageError(
            "a generator has generate(seeds, labels), or is a function that makes one;"
            f" got {name_of(source)}"
        )
    held = Held[ImageGenerator](source, factory=factory)
    classify = None
    if options.filter is not None:
        classify = Held[Classify](options.filter, factory=False)
    try:
        studied = study(
            held, options,
            away=factory and options.processes > 1,
            quick=done is not None or begun is not None,
        )  # fmt: skip
        commission = Commission(options, studied)
        if done is not None:
            place.check_same(done.asked, commission.plain)
            place.clear()
            _log.info("%s was written before by the same call", place.folder)
            return done
        batch = studied.batch
        if begun is not None:
            batch = begun.pop("batch", None)
            place.check_same(begun, commission.plain)
        making = Making(
            generator=held, seed=options.seed, names=studied.names,
            encoding=options.encoding, source_type=studied.source_type,
            stamp=_stamp(commission), classify=classify,
            conditions=dict(options.conditions), forked=options.processes > 1,
        )  # fmt: skip
        return _write(place, commission, making, batch)
    finally:
        held.release()
        if classify is not None:
            classify.release()


def _stamp(commission: Commission) -> Stamp:
    asked, options = commission.asked, commission.options
    studied = commission.studied
    checked = {"duplicates": options.dedupe, "copies": options.against is not None}
    return Stamp(
        studied.description, source_type=studied.source_type, names=studied.names,
        labelled=asked.labelled, conditions=options.conditions, split=options.split,
        checked=frozenset(name for name, done in checked.items() if done),
    )  # fmt: skip


def _write(
    place: Place,
    commission: Commission,
    making: Making,
    batch: Mapping[str, Any] | None,
) -> PoolFile:
    asked, options = commission.asked, commission.options
    studied = commission.studied
    if batch is not None and batch["differing"]:
        _log.warning(
            "%d of %d samples differ by up to %d levels when they are made in another"
            " batch: the pool depends on batch_size, and another run may differ",
            batch["differing"], batch["compared"], batch["most"],
        )  # fmt: skip
    likeness = None
    if options.against is not None:
        likeness = look_at(options.against, processes=options.processes)
    target = place.begin(commission.plain | {"batch": batch})
    filling = Filling(
        place, asked, making,
        judge=Judge(options.dedupe, commission.threshold, likeness),
        shard_size=commission.shard_size, batch_size=options.batch_size,
        processes=options.processes,
    )  # fmt: skip
    filling.spend(studied.seconds, studied.peak_mib, calls=studied.calls)
    filling.fill(progress=options.progress)
    entries = [note.entry for note in filling.notes if note.entry is not None]
    found = account_for(filling, commission, batch)
    if not entries:
        raise DataRefused(
            f"none of {sum(filling.state.made.values())} samples was taken:"
            f" {refusals(found)}; change the generator or the checks, and remove"
            f" {place.folder}"
        )
    refused = [line for note in filling.notes for line in note.refused]
    if refused:
        place.store.write(REFUSED, ("\n".join(refused) + "\n").encode())
    place.write_pool_file(found)
    fields = {"image": ENCODINGS[options.encoding]}
    if asked.labelled:
        fields["label"] = "cls"
    target.finish(entries, studied.names if asked.labelled else (), fields)
    if found.state == "short":
        _log.warning(
            "%s has %d of %d samples that were asked for; refused: %s", place.folder,
            filling.taken, asked.total, refusals(found),
        )  # fmt: skip
    return found
