"""Laws of photos in memory: each as often as any other, whoever reads them."""

import json

import numpy as np
import pytest
import torch
from feeds import assert_same, numbers_of, stamped, take
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.training.feeding import open_source

SIZE = (8, 8)


def gray(data, **options):
    return open_source(data, **{"size": SIZE, "channels": 1, "batch_size": 6} | options)


def noisy(count: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (count, height, width, 3), np.uint8
    )


@given(st.integers(2, 60), st.integers(1, 50), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_every_photo_comes_once_in_each_pass_whatever_the_batch(
    photos, batch, passes
) -> None:
    source = gray(stamped(photos), batch_size=batch)
    rows = passes * photos
    found = torch.cat([b.images for b in take(source, -(-rows // batch))])[:rows]
    levels = ((found[:, 0, 0, 0] + 1) * 127.5).round().int().view(passes, photos)
    wanted = torch.arange(photos, dtype=torch.int32).expand(passes, photos)
    assert torch.equal(levels.sort(dim=1).values, wanted)


def test_passes_have_different_orders_and_seeds_too() -> None:
    (first,), (second,) = (take(gray(stamped(40), batch_size=80, seed=s), 1)
                           for s in (0, 1))  # fmt: skip
    assert not torch.equal(first.images[:40], first.images[40:])
    assert not torch.equal(first.images[:40], second.images[:40])


def test_ranks_together_have_the_rows_of_one() -> None:
    alone = take(gray(stamped(10)), 4)
    ranks = [take(gray(stamped(10), rank=r, world_size=2), 4) for r in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


def test_a_resumed_source_goes_on_as_if_it_had_never_ended() -> None:
    data, options = noisy(10), {"channels": 3, "windows": True, "flip": True}
    through = take(gray(data, **options), 7)
    first = gray(data, **options)
    before = take(first, 3)
    state = json.loads(json.dumps(first.state_dict()))
    second = gray(data, **options)
    second.load_state_dict(state)
    assert_same(through, before + take(second, 4))


def test_batches_asked_for_again_go_on() -> None:
    source = gray(stamped(10))
    assert_same(take(gray(stamped(10)), 4), take(source, 2) + take(source, 2))


def test_a_state_goes_on_with_another_batch_size() -> None:
    source = gray(stamped(12), batch_size=4)
    first = take(source, 1)
    other = gray(stamped(12), batch_size=8)
    other.load_state_dict(source.state_dict())
    assert numbers_of(first + take(other, 1)) == dict.fromkeys(range(12), 1)


@pytest.mark.parametrize(
    "other",
    [{"data": stamped(11)}, {"seed": 1}, {"data": (stamped(10), np.arange(10) % 2)}],
)
def test_a_state_of_other_data_is_refused_by_name(other) -> None:
    state = gray(stamped(10)).state_dict()
    with pytest.raises(StateMismatch, match=r"fingerprint|seed"):
        gray(**{"data": stamped(10)} | other).load_state_dict(state)


@pytest.mark.parametrize("position", [-1, "3", None, 1.5])
def test_a_state_without_a_position_is_refused(position) -> None:
    source = gray(stamped(10))
    with pytest.raises(StateMismatch, match="position"):
        source.load_state_dict(source.state_dict() | {"position": position})


def test_pixels_go_from_minus_one_to_one() -> None:
    levels = np.array([0, 255], np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    (batch,) = take(gray(levels, batch_size=2), 1)
    assert batch.images.dtype == torch.float32
    assert sorted(batch.images.flatten().unique().tolist()) == [-1.0, 1.0]


def test_labels_stay_with_their_photos() -> None:
    data = stamped(200), np.arange(200) % 7
    for batch in take(gray(data, held_out=0), 40):
        numbers = ((batch.images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert torch.equal(batch.labels, numbers % 7)


def test_photos_that_are_held_out_are_never_dealt_and_stay_the_same() -> None:
    data = noisy(400, 8, 8)[..., :1]
    source = gray(data, held_out=0.2)
    held = source.reference(1000, held_out=True).images
    assert 40 < len(held) < 120
    assert source.photos == 400 - len(held)
    dealt = {
        row.numpy().tobytes()
        for batch in take(source, 2 * source.photos // 6)
        for row in ((batch.images[:, 0] + 1) * 127.5).round().byte()
    }
    assert len(dealt) == source.photos
    assert not dealt & {photo.tobytes() for photo in held}
    # Photos that are added, or come in another order, change no side.
    other = gray(
        np.concatenate([noisy(30, 8, 9)[:, :, :8, :1], data[::-1]]), held_out=0.2
    )
    again = {p.tobytes() for p in other.reference(1000, held_out=True).images}
    assert {photo.tobytes() for photo in held} <= again


def test_none_of_few_photos_is_held_out() -> None:
    source = gray(stamped(199))
    assert source.photos == 199
    assert len(source.reference(10, held_out=True).images) == 0


def test_references_are_the_same_at_every_call_and_spread_over_the_classes() -> None:
    data = stamped(100), np.repeat([0, 1], [90, 10])
    source = gray(data)
    first, second = source.reference(20), gray(data, seed=5).reference(20)
    np.testing.assert_array_equal(first.images, second.images)
    assert np.bincount(first.labels).tolist() == [18, 2]
    assert len(np.unique(first.images[:, 0, 0, 0])) == 20
    assert len(source.reference(1000).images) == 100


def test_windows_say_where_they_lie() -> None:
    rows = np.linspace(0, 255, 64).round().astype(np.uint8)
    photos = np.broadcast_to(rows[None, :, None, None], (4, 64, 64, 1)).copy()
    source = gray(photos, windows=True, batch_size=64)
    (batch,) = take(source, 1)
    assert source.has_places
    assert batch.places.shape == (64, 3)
    # The photo's level grows from top to bottom: the middle's tells the place.
    middle = batch.images.mean(dim=(1, 2, 3))
    assert (middle - batch.places[:, 0]).abs().max() < 0.03
    assert batch.places[:, 2].min() >= 0
    assert batch.places[:, 2].max() <= 3.001
    assert batch.places[:, 2].std() > 0.3


def test_windows_for_figures_come_again_elsewhere() -> None:
    source = gray(noisy(3)[..., :1], windows=True)
    found = source.reference(12)
    assert len({image.tobytes() for image in found.images}) == 12
    np.testing.assert_array_equal(found.places, source.reference(12).places)


def test_photos_of_another_size_are_cut_to_the_aspect_and_shrunk() -> None:
    photos = np.zeros((4, 16, 32, 3), np.uint8)
    photos[:, :, 16:] = 200
    source = gray(photos, channels=3, windows=False)
    middle = source.reference(1).images[0]
    assert middle.shape == (8, 8, 3)
    assert (middle[:, :4] == 0).all()
    assert (middle[:, 4:] == 200).all()


def test_gray_becomes_rgb_and_rgb_luma_where_asked() -> None:
    colours = noisy(4, 8, 8)
    luma = gray(colours, channels=1).reference(4).images
    wanted = np.rint(colours @ [0.299, 0.587, 0.114])
    assert np.abs(np.sort(luma[..., 0].ravel()) - np.sort(wanted.ravel())).max() <= 1
    assert gray(stamped(4), channels=3).reference(4).images.shape == (4, 8, 8, 3)


def test_tensors_are_taken_as_channels_first() -> None:
    data = noisy(5, 8, 8)
    tensor = torch.from_numpy(data).permute(0, 3, 1, 2)
    assert_same(take(gray(data, channels=3), 2), take(gray(tensor, channels=3), 2))


def test_labels_can_have_names_and_can_be_left_aside() -> None:
    data = stamped(10), np.arange(10) % 2
    assert gray(data, classes=("cat", "dog")).classes == ("cat", "dog")
    assert gray(data).classes == ("0", "1")
    source = gray(data, conditional=False)
    assert source.classes == ()
    assert take(source, 1)[0].labels is None


def test_what_a_source_says_of_itself_is_json() -> None:
    said = json.loads(json.dumps(gray((stamped(10), np.arange(10) % 2)).describe()))
    assert said["photos"] == 10
    assert said["counts"] == [5, 5]


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (stamped(4).astype(np.float32), {}, "must be uint8"),
        (np.zeros((4, 8), np.uint8), {}, "N, H, W"),
        (stamped(4), {"channels": 4}, "channels=1"),
        (stamped(4), {"conditional": True}, "needs labels"),
        ((stamped(4), np.arange(3)), {}, "4 class ids"),
        ((stamped(4), np.array([0, 1, -1, 0])), {}, "4 class ids"),
        ((stamped(4), np.ones(4)), {}, "4 class ids"),
        ((stamped(4), np.arange(4)), {"classes": ("a",)}, "name all"),
        ((stamped(2), np.array([0, 10**9])), {}, "without gaps"),
        (stamped(4), {"batch_size": 0}, "batch_size"),
        (stamped(4), {"held_out": 0.7}, "held_out"),
        (stamped(4), {"seed": -1}, "seed"),
        (stamped(4), {"scales": (1, 2), "windows": False}, "leave one out"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(data, options, words) -> None:
    with pytest.raises(UsageError, match=words):
        gray(data, **options)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    source = gray(stamped(4), batch_size=5, rank=0, world_size=2)
    with pytest.raises(UsageError, match="multiple of world_size"):
        take(source, 1)


def test_an_array_without_rows_is_refused() -> None:
    with pytest.raises((DataRefused, UsageError)):
        gray(stamped(0))
