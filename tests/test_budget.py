"""A budget of broken samples counts each once, and never less than ten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.budget import LEAST, ErrorBudget
from fiberaug.errors import BudgetExceeded
from fiberaug.making import Failure


def failure(uid: int) -> Failure:
    return Failure("s.tar", f"k{uid}", 512, "decode", "cut", uid, 0, uid, 0)


@given(
    st.floats(0, 0.2), st.integers(0, 3000), st.lists(st.integers(0, 400), max_size=300)
)
def test_it_stops_at_the_first_distinct_sample_beyond_the_share(share, samples, uids):
    budget = ErrorBudget(share)
    most = max(LEAST, int(share * samples))
    for i, uid in enumerate(uids):
        if len(set(uids[: i + 1])) > most:
            with pytest.raises(BudgetExceeded, match=f"allows {most};") as caught:
                budget.spend([failure(uid)], samples=samples)
            assert caught.value.key == f"k{uid}"
            return
        budget.spend([failure(uid)], samples=samples)
        assert len(budget) == len(set(uids[: i + 1]))


def test_every_epoch_has_its_own(caplog):
    budget = ErrorBudget(0)
    for _ in range(3):
        budget.start()
        budget.spend([failure(uid) for uid in range(LEAST)] * 2, samples=5)

    assert len(caplog.records) == 3 * LEAST  # each sample is told once an epoch
