"""When a transfer is tried again, and when it is given up: a clock of our own tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import StoreError
from fiberaug.shards.netpolicy import NetPolicy, Passing, Patience

POLICY = NetPolicy(
    backoff_s=0, min_bytes_per_s=100, rate_s=30, stall_s=60, retries=10**6
)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def play(rate: float, step_s: float, duration_s: float) -> float | None:
    """Bytes at a rate; gives when it is given up, None: never."""
    clock = Clock()
    patience = Patience(POLICY, "x", clock=clock)
    patience.begin()
    while clock.now < duration_s:
        clock.now += step_s
        try:
            patience.add(round(rate * step_s))
        except Passing as failure:
            try:
                patience.wait(failure)
            except StoreError:
                return clock.now
            patience.begin()
    return None


@given(st.floats(0.1, 5), st.floats(130, 10**6))
def test_a_rate_above_the_least_is_never_given_up(step_s, rate):
    assert play(rate, step_s, 400) is None


@given(st.floats(0.1, 5), st.floats(0, 90))
def test_a_rate_below_the_least_is_given_up_soon_after_the_bound(step_s, rate):
    given_up = play(rate, step_s, 400)
    assert given_up is not None
    assert given_up <= POLICY.stall_s + 2 * POLICY.rate_s + 2 * step_s


def test_tries_that_bring_bytes_are_not_counted_and_others_are():
    patience = Patience(NetPolicy(backoff_s=0, retries=3), "x")
    for _ in range(20):
        patience.begin()
        patience.add(100_000)
        patience.wait(Passing("reset"))
    for _ in range(2):
        patience.wait(Passing("refused"))
    with pytest.raises(StoreError, match=r"refused; given up after 4 tries"):
        patience.wait(Passing("refused"))


def test_an_outage_is_counted_from_the_last_good_byte():
    clock = Clock()
    patience = Patience(POLICY, "x", clock=clock)
    patience.begin()
    for _ in range(25):
        clock.now += 1
        patience.add(1000)
    clock.now += 59
    patience.wait(Passing("no connection"))
    clock.now += 2
    with pytest.raises(StoreError, match=r"no progress for 61.0 s"):
        patience.wait(Passing("no connection"))
