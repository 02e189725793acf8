"""The averaged weights follow by images, whatever the batch."""

import pytest
import torch
from torch import nn

from fiberaug.training.averaging import Average


def _follow(batch, total=3_200, half_life=400.0, share=1e9):
    module = nn.Linear(2, 2)
    nn.init.zeros_(module.weight)
    average = Average(module, half_life=half_life, share=share)
    nn.init.ones_(module.weight)
    for shown in range(batch, total + 1, batch):
        average.update(module, images=batch, nimg=shown)
    return float(average.module.weight[0, 0])


def test_after_a_half_life_half_is_left():
    assert _follow(40, total=400) == pytest.approx(0.5, abs=1e-5)
    assert _follow(40, total=800) == pytest.approx(0.75, abs=1e-5)


def test_the_average_does_not_depend_on_the_batch():
    assert _follow(16) == pytest.approx(_follow(160), abs=1e-5)


def test_the_first_weights_are_forgotten_soon_at_the_begin():
    assert _follow(8, total=400, half_life=1e9, share=0.05) > 0.99


def test_buffers_are_those_of_the_network():
    module = nn.BatchNorm2d(3)
    average = Average(module)
    module(torch.randn(4, 3, 5, 5))
    average.update(module, images=4, nimg=4)
    assert torch.equal(average.module.running_mean, module.running_mean)
    assert not average.module.training
