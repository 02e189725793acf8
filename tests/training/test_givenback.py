"""Laws of telling copies without photos that were held out."""

import numpy as np
import pytest

from fiberaug.errors import UsageError
from fiberaug.training.givenback import given_back


def cloud(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 12)).astype(np.float32)


TRAIN = cloud(600, 0)


def test_of_other_photos_about_the_quantile_is_found() -> None:
    found = given_back(cloud(3000, 1), TRAIN, quantile=0.05)
    assert found.low < 0.05 < found.high


def test_all_of_what_was_slightly_changed_is_found() -> None:
    noise = 0.02 * cloud(600, 2)
    assert given_back(TRAIN + noise, TRAIN).value > 0.99


def test_averages_of_photos_are_no_copies_though_they_are_near_to_many() -> None:
    random = np.random.default_rng(3)
    rows = random.integers(0, 600, (500, 8))
    assert given_back(TRAIN[rows].mean(1), TRAIN).value < 0.01


def test_the_share_is_that_of_the_copies_in_a_mix() -> None:
    mixed = np.concatenate([TRAIN[:100] + 0.01, cloud(300, 4)])
    found = given_back(mixed, TRAIN)
    assert found.value == pytest.approx(0.25, abs=0.02)
    assert found.low > 0.15


def test_many_images_of_one_photo_are_no_sure_verdict() -> None:
    one = TRAIN[:1] + 0.01 * cloud(500, 5)
    assert given_back(one, TRAIN).low < 0.5 < given_back(TRAIN[:500], TRAIN).low


def test_no_unit_matters() -> None:
    made = cloud(200, 6)
    assert given_back(1000 * made + 7, 1000 * TRAIN + 7) == given_back(made, TRAIN)


@pytest.mark.parametrize(("count", "quantile"), [(2, 0.01), (9, 0), (9, 1)])
def test_too_few_photos_or_no_quantile_are_refused(count: int, quantile: float) -> None:
    with pytest.raises(UsageError, match=f"got {count} and {quantile}"):
        given_back(cloud(9, 7), TRAIN[:count], quantile=quantile)
