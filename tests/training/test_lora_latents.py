"""Latents from the disk are those of the VAE, in the order in which photos come."""

import json

import numpy as np
import pytest
import torch

from fiberaug.errors import StateMismatch
from fiberaug.training.feeding import open_source
from fiberaug.training.lora_latents import LatentSource
from fiberaug.training.ranking import Ranks


class Encoder:
    """Stands for a VAE: mean and deviation of each photo, and it counts its calls."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        small = torch.nn.functional.avg_pool2d(images, 4)
        return torch.cat([small, small.abs()], 1)


def photos(count=5):
    images = np.random.default_rng(1).integers(
        0, 256, (count, 24, 16, 3), dtype=np.uint8
    )
    return images, np.arange(count) % 2


def source(encoder, *, count=5, rows=2, windows=None, views=1, rank=(0, 1), seed=3):
    ranks = Ranks.alone()
    ranks.rank, ranks.world = rank
    ranks.told = lambda value: value  # both are this process
    inner = open_source(
        photos(count), size=(8, 8), batch_size=rows, conditional=True, seed=seed,
        windows=windows, rank=0, world_size=1,
    )  # fmt: skip
    return LatentSource(inner, encoder, rows=rows, views=views, seed=seed, ranks=ranks)


def take(some, count):
    batches = some.batches()
    found = [next(batches) for _ in range(count)]
    images = torch.cat([one.images for one in found])
    return images, torch.cat([one.labels for one in found])


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("windows", [False, True])
def test_the_first_pass_from_the_disk_is_what_is_encoded_afresh(
    tmp_path, views, windows
):
    fresh = source(Encoder(), windows=windows, views=views)
    cached = source(Encoder(), windows=windows, views=views)
    cached.encode(tmp_path, "key")
    steps = 5 * views // 2
    for one, other in zip(take(fresh, steps), take(cached, steps), strict=True):
        assert torch.equal(one, other)


def test_each_view_comes_once_in_each_later_pass_and_in_another_order(tmp_path):
    cached = source(Encoder(), views=2, windows=True, rows=2)
    cached.encode(tmp_path, "key")
    images, labels = take(cached, 15)
    turns = [images[at : at + 10] for at in (0, 10, 20)]
    keys = [[one.numpy().tobytes() for one in turn] for turn in turns]
    assert len(set(keys[0])) == 10
    assert sorted(keys[0]) == sorted(keys[1]) == sorted(keys[2])
    assert len({tuple(one) for one in keys}) == 3
    told = dict(zip(keys[0], labels[:10].tolist(), strict=True))
    assert [told[one] for one in keys[1]] == labels[10:20].tolist()


def test_photos_are_encoded_once_for_all_runs_of_a_folder(tmp_path):
    encoder = Encoder()
    source(encoder).encode(tmp_path, "key")
    assert encoder.seen == 5
    again = source(encoder)
    again.encode(tmp_path, "key")
    assert encoder.seen == 5
    source(encoder).encode(tmp_path, "another VAE")
    source(encoder, count=6).encode(tmp_path, "key")
    source(encoder, views=2).encode(tmp_path, "key")
    assert encoder.seen == 5 + 5 + 6 + 10


class Breaking(Encoder):
    """Ends the program, as Ctrl-C does, when it has encoded so many photos."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def __call__(self, images):
        if self.seen >= self.after:
            raise KeyboardInterrupt
        return super().__call__(images)


def files(folder):
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@pytest.mark.parametrize("after", [0, 2, 4, 8])
def test_encoding_that_was_ended_goes_on_where_it_was(tmp_path, after):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    source(Encoder(), views=2, windows=True).encode(whole, "key")
    with pytest.raises(KeyboardInterrupt):
        source(Breaking(after), views=2, windows=True).encode(broken, "key")
    for path in broken.glob("*.npy"):  # a row that was half written
        path.write_bytes(path.read_bytes() + b"half")
    encoder = Encoder()
    source(encoder, views=2, windows=True).encode(broken, "key")
    assert encoder.seen == 10 - after
    assert files(broken) == files(whole)
    (path,) = broken.glob("*.npy")
    assert np.load(path).shape == (10, 6, 2, 2)


def test_no_more_photos_are_encoded_than_are_shown_and_the_rest_when_they_are(tmp_path):
    short, longer = Encoder(), Encoder()
    some = source(short, views=2)
    some.encode(tmp_path / "a", "key", needed=3)
    assert short.seen == 4  # whole steps
    images, labels = take(some, 2)
    more = source(longer, views=2)
    more.encode(tmp_path / "a", "key", needed=100)
    assert longer.seen == 6
    source(Encoder(), views=2).encode(tmp_path / "b", "key")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    for one, other in zip(take(more, 2), (images, labels), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_state_goes_on_at_its_row(tmp_path, after):
    whole = source(Encoder())
    whole.encode(tmp_path, "key")
    images, _ = take(whole, after + 3)
    begun = source(Encoder())
    begun.encode(tmp_path, "key")
    take(begun, after) if after else None
    state = json.loads(json.dumps(begun.state_dict()))
    gone_on = source(Encoder())
    gone_on.encode(tmp_path, "key")
    gone_on.load_state_dict(state)
    assert torch.equal(take(gone_on, 3)[0], images[2 * after :])


def test_a_state_of_other_latents_is_refused(tmp_path):
    one, other = source(Encoder()), source(Encoder(), count=6)
    one.encode(tmp_path, "key")
    other.encode(tmp_path, "key")
    with pytest.raises(StateMismatch, match="other data: file was"):
        other.load_state_dict(one.state_dict())


def test_ranks_share_the_rows_of_a_step(tmp_path):
    whole = source(Encoder(), rows=4)
    whole.encode(tmp_path, "key")
    parts = [source(Encoder(), rows=4, rank=(rank, 2)) for rank in range(2)]
    for one in parts:
        one.encode(tmp_path, "key")
    batches = [one.batches() for one in (whole, *parts)]
    for _ in range(4):
        all_of, first, second = (next(one) for one in batches)
        assert torch.equal(all_of.images, torch.cat([first.images, second.images]))
        assert torch.equal(all_of.labels, torch.cat([first.labels, second.labels]))
