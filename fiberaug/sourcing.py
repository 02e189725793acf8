"""From a :class:`fiberaug.Mix` to the opened sources of a data set."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.fields import FieldSpec, parse_fields
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import DataRefused, UsageError
from fiberaug.fitting import (
    check_labels,
    check_unit,
    label_kind,
    per_class_of,
    relabel_of,
    same_fields,
    scaled,
)
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.plain import resolve_any
from fiberaug.matching import Matcher, compare_images, kind_of, make_matcher
from fiberaug.mix import REAL, Mix
from fiberaug.mixlaw import ANY, MixLaw, pack_place
from fiberaug.mixture import (
    Mixture,
    RealRows,
    Source,
    any_class,
    class_counts,
    identity_of,
)
from fiberaug.order import EpochOrder
from fiberaug.parentage import Seen, check_parents
from fiberaug.plan import Plan
from fiberaug.rows import Rows
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.opening import read_index
from fiberaug.shards.reader import ShardRef
from fiberaug.shards.resolve import ShardSet
from fiberaug.turns import turns

__all__ = ["Opening", "make_mixture", "open_mix"]

_log = logging.getLogger("fiberaug")
_LOUD = 0.5
_SHOWN = 10


class Opening(NamedTuple):
    """What a mixture needs to know of the data set."""

    shards: ShardSet
    whole: ShardSet
    """The shards of other parts, too."""

    plan: Plan
    rows: Rows | None
    classes: tuple[str, ...]
    specs: Sequence[FieldSpec]
    decoder: SampleDecoder
    cache: ShardCache
    allow_pipe: bool
    split: Any
    """The part that was asked for; see the data set."""

    @property
    def seen(self) -> Seen:
        """Which real samples the training sees."""
        return Seen(
            self.shards.refs, self.whole.refs, self.rows, self.split, self.cache
        )


class _Found(NamedTuple):
    """A source that was opened."""

    name: str
    refs: tuple[ShardRef, ...]
    labels: tuple[NDArray[np.int64], ...]
    """Class ids of each shard's samples, the data set's; -1 where there is none."""

    source: Source
    fingerprint: str
    live: bool = False


def open_mix(
    mix: Any,  # noqa: ANN401  # a user's value
    section: Any,  # noqa: ANN401  # a recipe's
    own: Opening,
    *,
    train: bool,
) -> tuple[Mixture | None, tuple[str, ...]]:
    """Return what is mixed into a data set, None: nothing; and the names of sources.

    Args:
        mix: What was given to the data set; None: nothing.
        section: The recipe's; None: it has none. In evaluation it does nothing.
        own: The data set.
        train: False for evaluation.

    Raises:
        UsageError: Both are given, or one in evaluation; see :func:`make_mixture`.
    """
    if mix is not None and section is not None:
        raise UsageError("mix is given twice: here and by the recipe")
    if mix is not None and not train:
        raise UsageError(
            "train=False delivers every sample of the set once, which mix would not:"
            " leave it out"
        )
    asked = section if mix is None else mix
    if asked is None or not train:
        return None, ()
    found = Mix.of(asked)
    return make_mixture(found, own), (REAL, *found.sources)


def make_mixture(mix: Mix, own: Opening) -> Mixture | None:
    """Return what is mixed into a data set; None where the ratio is always 0.

    Args:
        mix: What the user asked for.
        own: The data set.

    Raises:
        UsageError: The sets do not fit each other, or something has no index.
        DataRefused: A source is empty.
        StoreError: A source cannot be read.
        ShardDamaged: An index is broken.
    """
    most = max(schedule.most() for schedule in mix.shares())
    if most == 0:
        return None
    if own.plan.counts is None:
        raise UsageError(
            "a mix needs an index, which not all shards of the data set have; run"
            " `fiberaug index SHARDS`"
        )
    if most > _LOUD and not mix.quiet:
        _log.warning(
            "up to %.0f %% of the delivered samples will be mixed in; what is known of"
            " synthetic data speaks for at most %.0f %%",
            100 * most, 100 * _LOUD,
        )  # fmt: skip
    found = [_open(name, place, own) for name, place in mix.sources.items()]
    real, classes = _classes(mix, found, own)
    per_class = per_class_of(mix, own.classes, classes)
    wanted = {c for c in classes if per_class is None or per_class[c].most() > 0}
    first = len(own.shards.refs)
    refs: list[ShardRef] = []
    of: list[int] = []
    members: list[dict[int, NDArray[np.int64] | None]] = []
    live: list[int | None] = []
    for number, one in enumerate(found):
        start = first + len(refs)
        refs += one.refs
        of += [number] * len(one.refs)
        live.append(start if one.live else None)
        members.append(_members(one, start, classes, mix, wanted, own.classes))
    law = MixLaw(
        seed=own.plan.seed, mode=mix.mode, unit=own.plan.unit, samples=own.plan.n,
        schedule=mix.schedule, turns=turns(mix.weights), members=tuple(members),
        classes=classes, per_class=per_class, dry=mix.dry, reuse=mix.reuse,
        live=tuple(live),
    )  # fmt: skip
    if mix.mode == "unit":
        check_unit(mix, own.plan.unit)
    matcher = _matcher(mix, found, own)
    return Mixture(
        law=law, plan=own.plan, sources=tuple(one.source for one in found), first=first,
        refs=tuple(refs), of=tuple(of), labels=real,
        identity=identity_of(mix, {one.name: one.fingerprint for one in found}),
        description={
            **mix.to_dict(),
            # A list: the order of the sources says whose turn it is.
            "sources": [{"name": one.name, **one.source.place} for one in found],
        },
        matcher=matcher, late=mix.late,
        samples={
            one.name: None if one.live else sum(r.samples or 0 for r in one.refs)
            for one in found
        },
    )  # fmt: skip


def _classes(
    mix: Mix, found: Sequence[_Found], own: Opening
) -> tuple[RealRows | None, dict[int, int]]:
    """Return the classes of the data set's samples, and how many an epoch has of each.

    None where classes are not matched.

    Raises:
        UsageError: Labels of a source do not fit.
    """
    if mix.match_labels is not False:
        real, plan = _real_rows(own), own.plan
        if plan.balance is None:
            plan = replace(plan, epoch_size=None)
        dealt = real(0, EpochOrder(plan, 0))
        if _is_matched(mix, found, dealt):
            classes = class_counts(dealt)
            if own.plan.epoch_size is not None and own.plan.balance is None:
                classes = scaled(classes, own.plan.n)
            return real, classes
    pools = [one for one in found if not one.live]
    kinds = {p.name: label_kind(p.refs, own.cache, p.source.decoder) for p in pools}
    check_labels(label_kind(own.shards.refs, own.cache, own.decoder), kinds)
    return None, any_class(own.plan.n)


def _matcher(mix: Mix, found: Sequence[_Found], own: Opening) -> Matcher | None:
    """Return what makes images alike; warn of what differs where nothing does."""
    pools = [one for one in found if not one.live]
    kinds = [kind_of(one.refs, own.cache) for one in pools]
    real = kind_of(own.shards.refs, own.cache) if pools else None
    if real is None:
        return None
    if mix.match is not None:
        return make_matcher(mix.match, kinds, real, [spec.name for spec in own.specs])
    for one, kind in zip(pools, kinds, strict=True):
        if mix.quiet:
            break
        compare_images(one.name, kind, real)
    return None


def _open(name: str, place: Any, own: Opening) -> _Found:  # noqa: ANN401
    """Return a source, opened and with the data set's classes."""
    if hasattr(place, "take"):
        return _live(name, place, own)
    place = getattr(place, "path", place)
    try:
        shards = resolve_any(place, cache=own.cache, allow_pipe=own.allow_pipe)
    except DataRefused as error:
        raise type(error)(f"source {name!r} of the mix: {error.message}") from error
    if shards.counts is None:
        raise UsageError(
            f"source {name!r} of the mix has no index; run `fiberaug index SHARDS`"
        )
    if not sum(shards.counts):
        raise DataRefused(f"source {name!r} of the mix is empty: {place}")
    check_parents(name, shards.refs, own.seen, own.cache)
    _, specs = resolve_fields(shards, "auto")
    specs = same_fields(name, specs, own.specs)
    theirs = shards.manifest.classes if shards.manifest else ()
    relabel = relabel_of(name, theirs, own.classes)
    columns = [
        np.asarray(read_index(ref, own.cache).columns["label"], np.int64)
        for ref in shards.refs
    ]
    if relabel is not None:
        to = np.asarray([relabel.get(i, i) for i in range(len(theirs))], np.int64)
        columns = [np.where(c >= 0, to[c], c) for c in columns]
    decoder = replace(
        own.decoder, specs=specs, classes={n: i for i, n in enumerate(theirs)}
    )
    source = Source(
        name, decoder, relabel=relabel, place={"shards": [r.place for r in shards.refs]}
    )
    return _Found(name, shards.refs, tuple(columns), source, shards.fingerprint)


def _live(name: str, live: Any, own: Opening) -> _Found:  # noqa: ANN401
    """Return a source that makes samples on demand."""
    theirs = tuple(live.classes)
    relabel = relabel_of(name, theirs, own.classes)
    members = {"image": live.encoding, "label": "cls"}
    specs = same_fields(name, parse_fields(members), own.specs)
    decoder = replace(
        own.decoder, specs=specs, classes={n: i for i, n in enumerate(theirs)}
    )
    keep = None if live.keep is None else str(live.keep)
    place = {"online": str(live.folder), "keep": keep}
    source = Source(name, decoder, live=live, relabel=relabel, place=place)
    ref = ShardRef(path=name, samples=0)
    return _Found(name, (ref,), (), source, f"online {live.identity}", live=True)


def _real_rows(own: Opening) -> RealRows:
    refs = own.shards.refs
    columns = [
        np.asarray(read_index(ref, own.cache).columns["label"], np.int32)
        for ref in refs
    ]
    starts = np.cumsum([0, *(len(column) for column in columns)])
    return RealRows(
        refs=refs, cache=own.cache, rows=own.rows,
        labels=np.concatenate(columns), starts=starts[:-1],
    )  # fmt: skip


def _is_matched(mix: Mix, found: Sequence[_Found], dealt: NDArray[np.int64]) -> bool:
    """Return whether mixed-in samples get the classes of real ones.

    Raises:
        UsageError: It is asked for, and a set has samples without a class; or it is
            not, and only some have any.
    """
    without = int((dealt < 0).sum())
    bare = [
        one.name for one in found if any((column < 0).any() for column in one.labels)
    ]
    if not without and not bare:
        return True
    if mix.match_labels or mix.per_class is not None:
        where = f"sources {bare}" if bare else f"{without} of the data set's samples"
        raise UsageError(f"match_labels goes by class, and {where} have no class id")
    if without == len(dealt) and len(bare) == len(found):
        return False
    raise UsageError(
        "some sets of the mix have classes and others do not: sources without are"
        f" {bare}, samples of the data set without are {without}; say"
        " match_labels=False to mix them whatever their class"
    )


def _members(
    one: _Found,
    start: int,
    classes: Mapping[int, int],
    mix: Mix,
    wanted: set[int],
    names: tuple[str, ...],
) -> dict[int, NDArray[np.int64] | None]:
    """Return the members of each class of a source.

    Raises:
        UsageError: A class that is needed has none.
    """
    if one.live:
        return dict.fromkeys(classes)
    found: dict[int, NDArray[np.int64] | None] = {}
    for label in classes:
        parts = [
            pack_place(
                start + shard,
                np.flatnonzero(column == label)
                if label != ANY
                else np.arange(len(column)),
            )
            for shard, column in enumerate(one.labels)
        ]
        found[label] = np.concatenate(parts)
    empty = [c for c in wanted if not _size(found[c])]
    if empty and mix.dry != "real":
        shown = [names[c] if c < len(names) else c for c in sorted(empty)[:_SHOWN]]
        raise UsageError(
            f"source {one.name!r} of the mix has no sample of the classes {shown}, and"
            " mixed-in samples have the class of the real ones whose place they take;"
            ' make them, leave them out with per_class={name: 0}, give dry="real" for'
            " real ones there, or match_labels=False"
        )
    return found


def _size(members: NDArray[np.int64] | None) -> int:
    return 0 if members is None else len(members)
