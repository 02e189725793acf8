"""Batches for training: passes without a gap, dealt by the seed."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.evaluate.endless import endless
from fiberaug.evaluate.feeding import batches


def numbered(count):
    """Images that hold their own number, which is their label as well."""
    numbers = np.arange(count)
    images = np.broadcast_to(numbers[:, None, None], (count, 2, 3)).astype(np.uint8)
    return images, numbers


def dealt(count, **arguments):
    found = list(endless(numbered(count), **arguments))
    for images, labels in found:
        assert images.dtype == torch.float32
        assert torch.allclose(images[:, 0, 0, 0] * 255, labels.float())
    return [labels.tolist() for _, labels in found]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32)
)
def test_every_pass_deals_every_image_once_in_full_batches(count, size, steps, seed):
    found = dealt(count, batch_size=size, steps=steps, seed=seed)
    order = list(chain.from_iterable(found))

    assert [len(batch) for batch in found] == [min(size, count)] * steps
    for at in range(0, len(order) - count + 1, count):
        assert sorted(order[at : at + count]) == list(range(count))


def test_passes_and_seeds_have_their_own_order():
    order = list(chain.from_iterable(dealt(50, batch_size=10, steps=10, seed=0)))
    again = list(chain.from_iterable(dealt(50, batch_size=10, steps=10, seed=0)))
    other = list(chain.from_iterable(dealt(50, batch_size=10, steps=10, seed=1)))

    assert order == again
    assert order[:50] != order[50:]
    assert order != other


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_one_pass_of_arrays_is_in_order_and_whole(size):
    found = list(batches(numbered(7), batch_size=size))

    assert torch.cat([labels for _, labels in found]).tolist() == list(range(7))
    assert max(len(images) for images, _ in found) <= size


def test_padding_rows_are_left_out():
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    batch = {
        "image": images,
        "label": torch.tensor([5, 6, 7]),
        "is_pad": torch.tensor([False, True, False]),
    }
    without = {"image": images, "is_pad": [True, False, False]}

    (found, labels), (unlabelled, none) = batches([batch, without])

    assert (len(found), labels.tolist()) == (2, [5, 7])
    assert (len(unlabelled), none) == (2, None)
