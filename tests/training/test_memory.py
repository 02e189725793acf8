"""Memory is a budget: a training fits, or says what would make it fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.machine import look
from fiberaug.training.footprint_process import resident_bytes
from fiberaug.training.levers import Levers
from fiberaug.training.memory import budget_bytes, is_out_of_memory, plan_memory


def measure(levers: Levers) -> int:
    """A training of 64 rows in which each lever saves what it is said to."""
    rows = -(-64 // levers.micro_batches)
    each = 10_000_000 * (0.6 if levers.bf16 else 1) * (0.5 if levers.recompute else 1)
    return 100_000_000 + int(rows * each)


def test_what_fits_is_left_as_it_is():
    plan = plan_memory(measure, 740_000_000, 64)
    assert (plan.levers, plan.said, plan.predicted) == (Levers(), (), 740_000_000)


def test_parts_come_first_and_the_fewest_that_fit():
    plan = plan_memory(measure, 300_000_000, 64)
    assert plan.levers == Levers(micro_batches=4)
    assert plan.said == (
        "to stay below 300.0 MB: micro-batches: 4 of 16 rows (740.0 MB -> 260.0 MB)",
    )


def test_bfloat16_comes_where_parts_are_not_enough_and_then_differences():
    plan = plan_memory(measure, 107_000_000, 64)
    assert plan.levers == Levers(micro_batches=64, bf16=True)
    assert "bf16" in plan.said[0]
    plan = plan_memory(measure, 104_000_000, 64)
    assert plan.levers == Levers(
        micro_batches=64, bf16=True, finite_difference=True, recompute=True
    )
    plan = plan_memory(measure, 107_000_000, 64, may_bf16=False)
    assert not plan.levers.bf16
    assert plan.levers.recompute


def test_levers_that_are_asked_for_stay():
    plan = plan_memory(measure, 300_000_000, 64, levers=Levers(bf16=True))
    assert plan.levers == Levers(micro_batches=2, bf16=True)


@given(st.integers(103_000_000, 800_000_000))
def test_a_plan_is_within_its_budget_and_fewer_parts_would_not_be(budget):
    plan = plan_memory(measure, budget, 64)
    assert measure(plan.levers) == plan.predicted <= budget
    parts = plan.levers.micro_batches
    if parts > 1:
        fewer = Levers(
            micro_batches=parts // 2,
            bf16=plan.levers.bf16,
            finite_difference=plan.levers.finite_difference,
            recompute=plan.levers.recompute,
        )
        assert measure(fewer) > budget


def test_what_cannot_fit_is_told_the_least_and_what_would_help():
    with pytest.raises(UsageError) as refused:
        plan_memory(measure, 50_000_000, 64)
    text = str(refused.value)
    assert "50.0 MB" in text
    assert "103.0 MB" in text
    assert "images smaller" in text
    assert "width" in text
    assert "memory='110.0 MB'" in text


@pytest.mark.parametrize("extra", [0, 123_456, 5_000_001])
def test_the_memory_that_the_error_names_is_enough(extra):
    def more(levers: Levers) -> int:
        return measure(levers) + extra

    with pytest.raises(UsageError) as refused:
        plan_memory(more, 1_000_000, 64)
    told = str(refused.value).split("memory='")[1].split("'")[0]
    plan_memory(more, budget_bytes(told), 64)


def test_a_plan_is_made_of_few_measurements():
    seen = []

    def counted(levers):
        seen.append(levers)
        return measure(levers)

    plan_memory(counted, 104_000_000, 64)
    assert len(seen) == len(set(seen)) <= 12
    seen.clear()
    plan_memory(counted, 10**9, 64)
    assert seen == [Levers()]


def test_a_budget_is_read_as_people_write_it():
    assert budget_bytes("2GB") == 2 * 10**9
    assert budget_bytes(1000) == 1000
    with pytest.raises(UsageError, match="memory must be bytes"):
        budget_bytes("much")


def test_without_a_budget_most_of_what_is_free_is_taken():
    free = look().available
    assert free is not None
    assert resident_bytes() < budget_bytes() < resident_bytes() + 0.95 * free


def test_errors_of_memory_are_known_and_others_are_not():
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))
