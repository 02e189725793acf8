"""Sketches say what all values say, whatever their number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.auditing.limits import Limits
from fiberaug.auditing.sketches import Sketch


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 30_000), seed=st.integers(0, 99))
def test_a_sketch_is_exact_but_for_quantiles(size, seed):
    values = np.random.default_rng(seed).normal(3, 2, size)
    sketch = Sketch()
    for value in values.tolist():
        sketch.add(value)
    found = sketch.summary()
    assert sketch.count == size
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert found["mean"] == pytest.approx(values.mean())
    ranks = {name: (values <= found[name]).mean() for name in ("q05", "q50", "q95")}
    near = 0.05 + 1 / size
    assert ranks == pytest.approx({"q05": 0.05, "q50": 0.5, "q95": 0.95}, abs=near)
    assert len(sketch._kept) <= 4096
    every = np.flatnonzero(np.isin(values, sketch._kept))
    assert (np.diff(every) == sketch._stride).all()
    assert len(sketch._kept) >= min(size, 2048)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 9000), power=st.floats(0.3, 3))
def test_a_distance_is_never_larger_than_it_is(size, power):
    values = np.random.default_rng(size).random(size) ** power
    sketch = Sketch(Limits(0, 1, "uniform"))
    for value in values.tolist():
        sketch.add(value)
    ordered, steps = np.sort(values), np.arange(1, size + 1) / size
    true = max(abs(steps - ordered).max(), abs(ordered - steps + 1 / size).max())
    assert true - 1 / 64 - 1e-9 <= sketch.distance() <= true + 1e-9


def test_values_at_the_edges_of_limits_count_where_they_are():
    sketch = Sketch(Limits(0, 1, "uniform"))
    for number in range(1, 65):
        sketch.add(number / 64)
    assert sketch.distance() == pytest.approx(0)


def test_a_single_value_has_no_distribution():
    sketch = Sketch(Limits(2, 2, "uniform"))
    sketch.add(2)
    assert not sketch.has_law
    assert not Sketch(Limits(0, 1, "uniform")).has_law
