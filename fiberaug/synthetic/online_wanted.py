"""Which samples to make next, and which to drop: functions of who took what.

Of each class the ``ahead`` samples behind every taker's position are wanted: the
window. What a taker waits for goes first, then whatever its taker reaches soonest, so
the class that is filled least is the next one.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise

__all__ = ["Address", "choose", "drop_behind", "drop_far", "starts"]

Address = tuple[int, int]
"""Class and index of a sample."""

_FAR = 2**62


def starts(positions: Iterable[Sequence[int]], classes: int) -> list[list[int]]:
    """Return the different positions in each class, ascending; -1: none was taken.

    Args:
        positions: Of each taker the index that it took last of each class, [K].
        classes: Number of classes, K.
    """
    rows = list(positions) or [[-1] * classes]
    return [sorted({row[label] for row in rows}) for label in range(classes)]


def choose(
    waiting: Iterable[Address],
    begun: Sequence[Sequence[int]],
    ready: Sequence[Collection[int]],
    *,
    ahead: int,
    most: int,
) -> tuple[list[Address], list[Address]]:
    """Return the missing samples: those waited for, and those wanted soonest.

    Args:
        waiting: What takers wait for.
        begun: Positions in each class, of :func:`starts`.
        ready: Indexes of each class that are there.
        ahead: Length of a window, samples.
        most: Largest number of samples to return of the second kind.
    """
    asked = list(dict.fromkeys(a for a in waiting if a[1] not in ready[a[0]]))
    known = set(asked)
    soonest = heapq.merge(
        *(
            _missing(label, start, min(start + ahead, after), ready[label])
            for label, found in enumerate(begun)
            for start, after in pairwise([*found, _FAR])
        )
    )
    wanted = ((label, index) for _, label, index in soonest)
    return asked, list(islice((one for one in wanted if one not in known), most))


def _missing(
    label: int, start: int, last: int, ready: Collection[int]
) -> Iterator[tuple[int, int, int]]:
    for index in range(start + 1, last + 1):
        if index not in ready:
            yield index - start, label, index


def drop_behind(
    waiting: Collection[Address],
    begun: Sequence[Sequence[int]],
    ready: Sequence[Mapping[int, int]],
    *,
    ahead: int,
    least: int,
) -> list[Address]:
    """Return samples to drop that nobody wants, those first that are farthest away.

    Args:
        waiting: What takers wait for.
        begun: Positions in each class, of :func:`starts`.
        ready: Bytes of each sample that is there, by index, of each class.
        ahead: Length of a window, samples.
        least: Bytes to free; fewer where no more can be.
    """
    return _drop(waiting, begun, ready, least, lambda lead: lead > ahead)


def drop_far(
    waiting: Collection[Address],
    begun: Sequence[Sequence[int]],
    ready: Sequence[Mapping[int, int]],
    *,
    least: int,
) -> list[Address]:
    """Return samples to drop that nobody waits for; see :func:`drop_behind`."""
    return _drop(waiting, begun, ready, least, lambda _: True)


def _drop(
    waiting: Collection[Address],
    begun: Sequence[Sequence[int]],
    ready: Sequence[Mapping[int, int]],
    least: int,
    may: Callable[[int], bool],
) -> list[Address]:
    kept = set(waiting)
    found = []
    for label, sizes in enumerate(ready):
        for index in sizes:
            # The sample at a position may be being read just now.
            below = [index - start for start in begun[label] if start <= index]
            # Behind all positions: farther away than whatever is in a window.
            lead = min(below) if below else _FAR - index
            if may(lead) and (label, index) not in kept:
                found.append((lead, label, index))
    dropped, freed = [], 0
    for _, label, index in sorted(found, reverse=True):
        if freed >= least:
            break
        dropped.append((label, index))
        freed += ready[label][index]
    return dropped
