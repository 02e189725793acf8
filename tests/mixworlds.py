"""Small mixes of samples that are nothing but numbers, and what is asked of them."""

from collections import Counter
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from fiberaug.dealing import allocate
from fiberaug.mixing import MixedOrder
from fiberaug.mixlaw import ANY, MixLaw, pack_place
from fiberaug.order import EpochOrder, open_order
from fiberaug.plan import Plan
from fiberaug.schedules import Schedule
from fiberaug.turns import turns

__all__ = [
    "EVEN", "FREE", "ODD", "POOL", "ROWS", "World", "asked", "make_world",
    "plain_asked", "worlds",
]  # fmt: skip

POOL = 100  # shard of the first source; the data set's own have small numbers
ROWS = 1000  # rows of class c begin at ROWS * (c + 1): the row says the class

EVEN = [Schedule.constant(r) for r in (0, 0.125, 0.25, 0.5)]
ODD = [
    Schedule.constant(0.3),
    Schedule.constant(1 / 3),
    Schedule.linear(0.5, 0, epochs=2),
    Schedule.cosine(0.1, 0.8, epochs=1.5),
    Schedule.step({0: 0.4, 1: 0.7, 2.5: 0}),
    Schedule.linear(0.2, 0.6, epochs=3, off=0.4),
]


FREE = {"dry": ["cycle"], "reuse": [None]}
"""Options of worlds in which nothing runs out."""


class World(NamedTuple):
    """A data set of numbers with what is mixed into it."""

    plan: Plan
    flat: np.ndarray
    """Class of each sample."""

    law: MixLaw
    weights: tuple[Fraction, ...]

    def labels(self, epoch, order):
        """Return the class of each position, one by one."""
        starts = np.concatenate([[0], np.cumsum(self.plan.counts)])
        places = [order.locate(k) for k in range(order.end)]
        return np.asarray([self.flat[starts[shard] + row] for shard, row in places])

    def base(self, epoch):
        """Return the data set's own order."""
        counts = self.plan.counts
        return open_order(self.plan, epoch, len(counts), counts.__getitem__)

    def order(self, epoch, law=None):
        """Return the order of an epoch."""
        return MixedOrder(law or self.law, epoch, self.base(epoch), self.labels)

    def deals(self, epoch):
        """Return what each position of an epoch has."""
        order = self.order(epoch)
        return [order.deal(k) for k in range(order.end)]


def make_world(
    *, counts=(60,), classes=1, seed=0, mode="replace", schedule=None, weights=(1,),
    members=7, matched=False, shuffle=True, epoch_size=None, per_class=None,
    dry="cycle", reuse=None, unit=16,
):  # fmt: skip
    """Return a world; ``members`` is how many each class of each source has."""
    plan = Plan(
        counts=tuple(counts), seed=seed, shuffle=shuffle, epoch_size=epoch_size,
        unit=unit, window=32,
    )  # fmt: skip
    flat = np.random.default_rng(seed).integers(0, classes, sum(counts))
    own = {ANY: plan.n}
    if matched:
        whole = Plan(counts=plan.counts, seed=seed, shuffle=shuffle, unit=unit)
        order = EpochOrder(whole, 0)
        starts = np.concatenate([[0], np.cumsum(counts)])
        dealt = [order.locate(k) for k in range(order.end)]
        found = Counter(int(flat[starts[shard] + row]) for shard, row in dealt)
        labels = sorted(found)
        sizes = allocate(plan.n, [found[label] for label in labels])
        own = dict(zip(labels, sizes, strict=True))
    pools = []
    for source in range(len(weights)):
        of_class = {}
        for label in own:
            size = members(source, label) if callable(members) else members
            rows = np.arange(size) + ROWS * (label + 1)
            of_class[label] = pack_place(POOL + source, rows)
        pools.append(of_class)
    fractions = tuple(Fraction(weight) for weight in weights)
    law = MixLaw(
        seed=seed, mode=mode, unit=plan.unit, samples=plan.n,
        schedule=schedule or Schedule.constant(0.25), turns=turns(fractions),
        members=tuple(pools), classes=own, per_class=per_class and per_class(own),
        dry=dry, reuse=reuse, live=(None,) * len(weights),
    )  # fmt: skip
    return World(plan, flat, law, fractions)


@st.composite
def worlds(
    draw,
    *,
    modes=("replace", "append", "unit"),
    matched=(False, True),
    per_class=(False, True),
    dry=("cycle", "cycle", "real", "stop"),
    reuse=(None, None, 1, 2),
):
    """Draw a world of up to 250 samples, 5 classes, 4 sources."""
    counts = tuple(
        draw(st.lists(st.sampled_from([1, 3, 17, 50]), min_size=1, max_size=5))
    )
    total = sum(counts)
    mode = draw(st.sampled_from(modes))
    classes, exact = draw(st.sampled_from(matched)), draw(st.sampled_from(per_class))
    exact = exact and mode != "unit"
    whole = st.sampled_from(EVEN + ODD)
    dry = draw(st.sampled_from(dry))
    if mode == "append" and dry == "stop":
        dry = "real"
    size = st.sampled_from([1, 5, 30, 200])
    schedule = draw(whole)
    sizes = draw(st.lists(size, min_size=24, max_size=24))
    others = draw(st.lists(whole, min_size=5, max_size=5))
    return make_world(
        counts=counts,
        classes=draw(st.integers(1, 5)),
        seed=draw(st.integers(0, 2**64 - 1)),
        mode=mode,
        schedule=schedule,
        weights=draw(st.lists(st.sampled_from([1, 2, 3, 7]), min_size=1, max_size=4)),
        members=lambda source, label: sizes[6 * source + label + 1],
        matched=classes or exact,
        shuffle=draw(st.booleans()),
        epoch_size=draw(st.sampled_from([None, None, total + 7, max(1, total // 2)])),
        per_class=(lambda own: {c: others[c] for c in own}) if exact else None,
        dry=dry,
        reuse=draw(st.sampled_from(reuse)) if dry == "cycle" else 1,
        unit=draw(st.sampled_from([4, 16])),
    )


def plain_asked(schedule, epoch, scale, n):
    """Return the integral of the share over each position, in 1 / (1,024 unit).

    A walk over the cuts between positions and parts: no sums, no closed form.
    """
    shares = schedule.parts(epoch).tolist()
    found, part = [], 0
    for k in range(n):
        at, end, total = 1024 * k, 1024 * (k + 1), 0
        while at < end:
            edge = (part + 1) * scale
            stop = end if part == 1023 else min(end, edge)
            total += (stop - at) * shares[part]
            at = stop
            if at == edge and part < 1023:
                part += 1
        found.append(total)
    return found


def asked(world, epoch, n):
    """Return what is asked of each of the n positions, over all classes."""
    schedule, scale = world.law.schedule, world.law.samples
    if world.law.mode == "append":
        mean = Fraction(sum(schedule.parts(epoch).tolist()), 1024 * schedule.unit)
        scale = max(1, round(scale / (1 - mean)))
    return plain_asked(schedule, epoch, scale, n)
