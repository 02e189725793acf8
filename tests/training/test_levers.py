"""Levers: the cheapest in quality first, until there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.training.levers import Levers, following, next_kind

ROWS = st.integers(1, 300)


def all_of(rows: int, *, may_bf16: bool = True) -> list[tuple[Levers, str]]:
    found = [(Levers(), "")]
    while (more := following(found[-1][0], rows, may_bf16=may_bf16)) is not None:
        found.append(more)
    return found


@given(ROWS)
def test_levers_end_and_none_comes_twice(rows):
    found = [levers for levers, _ in all_of(rows)]
    assert len(set(found)) == len(found) <= 12
    assert found[-1] == Levers(
        micro_batches=rows, bf16=True, finite_difference=True, recompute=True
    )


@given(ROWS)
def test_parts_come_before_rounding_and_rounding_before_noise(rows):
    found = [levers for levers, _ in all_of(rows)]
    cost = [(one.finite_difference, one.bf16, one.micro_batches) for one in found]
    assert cost == sorted(cost)
    assert all(one.micro_batches == rows for one in found if one.bf16)


def test_recomputation_never_comes_without_differences():
    assert all(one.recompute == one.finite_difference for one, _ in all_of(8))


def test_a_machine_without_bfloat16_goes_on_with_differences():
    found = all_of(4, may_bf16=False)
    assert not any(levers.bf16 for levers, _ in found)
    assert found[-1][0].finite_difference
    assert next_kind(found[-1][0], may_bf16=False) is None


@given(ROWS, st.integers(1, 300))
def test_two_parts_are_as_large_as_the_largest_of_all(rows, count):
    levers, some = Levers(micro_batches=count, bf16=True).two_parts(rows)
    largest = -(-rows // min(count, rows))
    assert -(-some // min(some, levers.micro_batches)) == largest
    assert some <= rows
    assert levers.bf16


def test_levers_say_what_they_are():
    assert Levers().told(8) == "none"
    assert Levers(micro_batches=3).told(8) == "micro-batches: 3 of 3 rows"
    assert following(Levers(), 64) == (
        Levers(micro_batches=2),
        "micro-batches: 2 of 32 rows",
    )
    many = Levers(micro_batches=2, bf16=True, finite_difference=True, recompute=True)
    assert "bf16" in many.told(8)
    assert "finite differences" in many.told(8)
    assert "again" in many.told(8)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_count_of_parts_is_a_positive_integer(count):
    with pytest.raises(UsageError, match="micro_batches must be an integer >= 1"):
        Levers(micro_batches=count)


def test_of_a_loss_without_penalties_blocks_are_computed_again_before_bf16():
    found, said = [Levers()], []
    while (more := next_kind(found[-1], penalised=False)) is not None:
        found.append(more[0])
        said.append(more[1])
    assert found[1:] == [Levers(recompute=True), Levers(recompute=True, bf16=True)]
    assert not any("differences" in one for one in said)
    more = next_kind(Levers(bf16=True), penalised=False)
    assert more[0] == Levers(bf16=True, recompute=True)
    last = Levers(micro_batches=8, recompute=True, bf16=True)
    assert following(last, 8, penalised=False) is None
