"""Laws of what follows from the looks of a judge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.training.contracts import Verdict
from fiberaug.training.verdicts import Look, copying, verdict_on


def look(nimg: int = 0, kid: float = 0.1, **more: Any) -> Look:
    facts = {
        "kid_error": 0.01, "precision": 0.9, "recall": 0.8, "density": 1.0,
        "coverage": 0.9, "near_copies": 0.01, "given_back": 0.01,
        "given_back_low": 0.005, "closer_to_train": 0.5, "closer_to_train_low": 0.45,
    }  # fmt: skip
    return Look(nimg=nimg, kid=kid, **(facts | more))


COPIES: dict[str, float] = {"closer_to_train": 0.7, "closer_to_train_low": 0.6}


@given(st.lists(st.floats(-1, 9), min_size=1, max_size=20))
def test_a_look_is_the_best_where_it_is_below_all_before(kids: list[float]) -> None:
    looks = [look(i, kid) for i, kid in enumerate(kids)]
    found = verdict_on(looks, patience=None, stop_on_copies=True)
    assert found == Verdict(best=all(kids[-1] < kid for kid in kids[:-1]))


@given(st.lists(st.floats(-1, 9), min_size=1, max_size=20), st.integers(1, 9))
def test_patience_ends_after_so_many_looks_without_a_gain(
    kids: list[float], patience: int
) -> None:
    looks = [look(i, kid) for i, kid in enumerate(kids)]
    since = len(kids) - 1 - kids.index(min(kids))
    found = verdict_on(looks, patience=patience, stop_on_copies=True)
    assert bool(found.stop) == (since >= patience)


def test_a_copying_generator_is_no_best_though_its_distance_is_the_least() -> None:
    looks = [look(1, 0.3), look(2, 0.01, **COPIES)]
    found = verdict_on(looks, patience=None, stop_on_copies=True)
    assert not found.best
    assert "70%" in found.stop
    assert "best generator is that after 1 images" in found.stop


def test_one_that_copied_before_does_not_keep_a_later_one_from_being_the_best() -> None:
    looks = [look(1, 0.01, **COPIES), look(2, 0.3)]
    assert verdict_on(looks, patience=1, stop_on_copies=False) == Verdict(best=True)


def test_patience_counts_looks_that_copied() -> None:
    looks = [look(1, 0.3), look(2, 0.1, **COPIES), look(3, 0.1, **COPIES)]
    found = verdict_on(looks, patience=2, stop_on_copies=False)
    assert "no gain in 2 looks" in found.stop
    alone = verdict_on([look(1, **COPIES)], patience=1, stop_on_copies=False)
    assert "no earlier look was better" in alone.stop


@pytest.mark.parametrize(
    ("facts", "copies"),
    [
        ({}, False),
        ({"closer_to_train": 0.64, "closer_to_train_low": 0.6}, False),
        ({"closer_to_train": 0.9, "closer_to_train_low": 0.49}, False),  # not sure
        ({"closer_to_train": 0.66, "closer_to_train_low": 0.51}, True),
        ({"given_back": 0.3, "given_back_low": 0.2}, True),
        ({"near_copies": 0.9}, False),  # blurred
        ({"closer_to_train": None, "closer_to_train_low": None}, False),
    ],
)
def test_copying_takes_evidence(facts: dict[str, Any], *, copies: bool) -> None:
    assert bool(copying(look(**facts))) == copies


def test_a_look_comes_back_from_its_dict() -> None:
    one = look(5, label_accuracy=0.5)
    assert Look.from_dict(one.to_dict()) == one


def test_figures_are_those_that_there_are() -> None:
    found = look(5, closer_to_train=None).figures()
    assert "judge/kid" in found
    assert "judge/closer_to_train" not in found
    assert "judge/label_accuracy" not in found
    assert "judge/nimg" not in found
