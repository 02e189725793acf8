"""Laws of the share of images that show the class asked for."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.training.conditioned import (
    conditioned_accuracy,
    outputs_of,
    predictions,
)


class Brightness(nn.Module):
    """Takes an image for class 0, 1 or 2 by its brightness."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        light = images.mean((1, 2, 3))
        return -((light[:, None] - torch.tensor([0.0, 0.5, 1.0])) ** 2)


def painted(seeds: Sequence[int], labels: Sequence[int]) -> np.ndarray:
    """Return images of a brightness; every fourth of class 2 is black."""
    levels = [
        0 if y == 2 and s % 4 == 0 else 127 * y
        for s, y in zip(seeds, labels, strict=True)
    ]
    return np.asarray(levels, np.uint8)[:, None, None, None] * np.ones(
        (4, 4, 1), np.uint8
    )


def test_the_share_of_each_class_is_that_of_images_that_show_it() -> None:
    found = conditioned_accuracy(Brightness(), painted, 3, per_class=40, batch_size=7)
    assert found.per_class == {0: 1.0, 1: 1.0, 2: 0.75}
    assert found.overall == pytest.approx(2.75 / 3)


def test_it_is_the_same_however_many_are_made_at_a_time() -> None:
    one, other = (
        conditioned_accuracy(Brightness(), painted, 3, per_class=10, batch_size=rows)
        for rows in (1, 64)
    )
    assert one == other


def test_a_classifier_is_left_as_it_was() -> None:
    mine = Brightness()
    mine.train()
    predictions(mine, painted([1, 2], [0, 1]))
    assert mine.training
    assert torch.is_grad_enabled()


def test_outputs_are_counted_and_other_things_than_logits_are_none() -> None:
    images = painted([1, 2], [0, 1])
    assert outputs_of(Brightness(), images) == 3
    assert outputs_of(nn.Conv2d(1, 5, 1), images) == 0


def test_a_classifier_of_too_few_classes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"logits of 4 classes are \[B, 4\]"):
        conditioned_accuracy(Brightness(), painted, 4)


@pytest.mark.parametrize("wrong", ["classes", "per_class", "batch_size"])
def test_a_number_below_1_is_refused(wrong: str) -> None:
    arguments = {"classes": 3, "per_class": 2, "batch_size": 2, wrong: 0}
    with pytest.raises(UsageError, match="must be >= 1"):
        conditioned_accuracy(Brightness(), painted, **arguments)
