"""The order of a mix is part of the interface: what it was it stays."""

import pytest
from mixworlds import POOL, make_world

from fiberaug import Schedule

# Source (r: real), shard and row of each; an apostrophe before a later visit.
GOLDEN = {
    ("replace", False): (
        "a0.0 r0.1 b1.0 r0.6 a0.1 r1.1 a0.0'1 r1.5 b1.1 r0.8 a0.1'1 r0.3 a0.0'2 "
        "r0.11 b1.0'1 r1.8 a0.1'2 r0.0 a0.0'3 r0.2 b1.1'1"
    ),
    ("replace", True): (
        "a0.2000 r1.6 b1.2000 r0.6 a0.1000 r1.1 a0.2001 r1.5 b1.2001 r0.8 "
        "a0.2000'1 r0.7 a0.1001 r0.11 b1.1000 r1.8 a0.1000'1 r0.0 a0.2001'1 "
        "r0.2 b1.1001"
    ),
    ("append", False): (
        "b1.1 r0.5 a0.1 r0.1 a0.0 r1.6 b1.0 r0.6 a0.1'1 r1.2 a0.0'1 r1.1 b1.1'1 "
        "r1.3 a0.1'2 r1.5 a0.0'2 r1.0 b1.0'1 r0.8 a0.1'3 r0.7 a0.0'3 r0.3 "
        "b1.1'2 r1.4 a0.1'4 r0.11 a0.0'4 r1.7 b1.0'2 r1.8 a0.1'5 r0.9 a0.0'5 "
        "r0.0 b1.1'3 r0.4 a0.1'6 r0.2 a0.0'6 r0.10"
    ),
    ("append", True): (
        "b1.2000 r0.5 a0.2000 r0.1 a0.1001 r1.6 b1.1001 r0.6 a0.1000 r1.2 "
        "a0.2001 r1.1 b1.2001 r1.3 a0.1001'1 r1.5 a0.2000'1 r1.0 b1.2000'1 r0.8 "
        "a0.2001'1 r0.7 a0.2000'2 r0.3 b1.2001'1 r1.4 a0.2001'2 r0.11 a0.1000'1 "
        "r1.7 b1.2000'2 r1.8 a0.1001'2 r0.9 a0.1000'2 r0.0 b1.1000 r0.4 "
        "a0.1001'3 r0.2 a0.2000'3 r0.10"
    ),
    ("unit", False): (
        "r0.5 a0.0 r1.6 b1.0 a0.1 r1.1 r1.3 a0.0'1 r1.0 r0.8 b1.1 a0.1'1 r1.4 "
        "a0.0'2 r1.7 b1.0'1 a0.1'2 a0.0'3 r0.4 r0.2 b1.1'1"
    ),
    ("unit", True): (
        "r0.5 a0.1000 r0.1 b1.2000 a0.1001 r1.1 r1.3 a0.2000 r1.0 r0.8 b1.1000 "
        "a0.2001 r1.4 a0.2000'1 r1.7 b1.2001 a0.1000'1 a0.2001'1 r0.4 r0.2 "
        "b1.1001"
    ),
}
BY_CLASS = (
    "r0.5 r0.1 a0.1004 r0.6 r1.2 a0.1003 a0.2005 r1.5 r1.0 r0.8 a0.1002 "
    "r0.3 r1.4 a0.2000 a0.1006 r1.8 r0.9 r0.0 r0.4 a0.2002 a0.1005"
)


def said(deals):
    """Return what positions have, as text."""
    words = []
    for source, shard, row, visit in deals:
        again = f"'{visit}" if visit else ""
        words.append(f"{'rab'[0 if source is None else source + 1]}")
        words[-1] += f"{shard % POOL}.{row}{again}"
    return " ".join(words)


@pytest.mark.parametrize(("mode", "matched"), GOLDEN)
def test_the_order_of_a_small_mix_stays_as_it_is(mode, matched):
    world = make_world(
        counts=(12, 9), classes=2, seed=7, mode=mode, schedule=Schedule.constant(0.5),
        weights=(2, 1), members=2, matched=matched, unit=4,
    )  # fmt: skip
    assert said(world.deals(1)) == GOLDEN[mode, matched]


def test_the_order_of_a_small_mix_by_class_stays_as_it_is():
    shares = {0: Schedule.constant(0.5), 1: Schedule.linear(0.5, 0, epochs=3)}
    world = make_world(
        counts=(12, 9), classes=2, seed=7, matched=True, per_class=lambda _: shares
    )
    assert said(world.deals(1)) == BY_CLASS
