"""A few steps tell how long a training takes."""

import time

import pytest

from fiberaug.errors import UsageError
from fiberaug.training.probing import seconds_per_image


def test_the_first_step_is_made_and_not_counted():
    made = []

    def step() -> None:
        made.append(0)
        time.sleep(0.2 if len(made) == 1 else 0.001)

    found = seconds_per_image(step, 10)
    assert len(made) == 4
    assert 0.0001 <= found < 0.02  # not 0.2 s, the first


@pytest.mark.parametrize(("rows", "steps"), [(0, 3), (3, 0)])
def test_a_probe_has_rows_and_steps(rows, steps):
    with pytest.raises(UsageError, match="must be >= 1"):
        seconds_per_image(lambda: None, rows, steps=steps)
