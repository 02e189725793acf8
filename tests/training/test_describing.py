"""Laws of what the kernel distance of a judge compares."""

import numpy as np
import pytest
import torch
from judged import draw
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.evaluate import kid
from fiberaug.training.describing import Description, Seen, batch_of, see


def blurred(images: np.ndarray) -> np.ndarray:
    wide = images.astype(int)
    near = (
        wide + np.roll(wide, 1, 1) + np.roll(wide, 1, 2) + np.roll(wide, (1, 1), (1, 2))
    )
    levels: np.ndarray = (near // 4).astype(np.uint8)
    return levels


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(  # which sees a quarter of the pixels, and no blur
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(),
            nn.Linear(32, 2),
        )  # fmt: skip


def test_photos_of_the_training_have_mean_0_and_mean_square_1(
    classifier: nn.Module,
) -> None:
    seen = see(classifier, draw(300, 0).images)
    plain = Seen(seen.features, seen.grain[:, :0])
    vectors = Description.of(plain)(plain)
    assert np.allclose(vectors.mean(0), 0, atol=1e-9)
    assert (vectors**2).mean() == pytest.approx(1)


def test_the_unit_of_features_does_not_matter(classifier: nn.Module) -> None:
    seen, other = (
        see(classifier, draw(300, 0).images),
        see(classifier, draw(50, 1).images),
    )
    once = Description.of(seen)(other)
    larger = Description.of(Seen(90 * seen.features + 5, seen.grain))(
        Seen(90 * other.features + 5, other.grain)
    )
    assert np.allclose(np.abs(once), np.abs(larger), atol=1e-3)


def test_blur_shows_where_a_classifier_does_not_see_it(classifier: nn.Module) -> None:
    photos, others = draw(300, 0).images, draw(300, 1).images
    seen = see(classifier, photos)
    description = Description.of(seen)
    good, dull = (see(classifier, some) for some in (others, blurred(others)))
    at_best = kid(description(seen), description(good))
    found = kid(description(seen), description(dull))
    assert abs(at_best.value) < 3 * at_best.error
    assert found.value > 4 * found.error
    blind = Seen(seen.features, seen.grain[:, :0])
    plain = Description.of(blind)
    missed = kid(plain(blind), plain(Seen(dull.features, dull.grain[:, :0])))
    assert missed.value < found.value / 4


def test_grain_has_a_bound_so_that_it_does_not_outweigh_what_is_shown(
    classifier: nn.Module,
) -> None:
    seen = see(classifier, draw(300, 0).images)
    width = seen.features.shape[1]
    noise = np.random.default_rng(2).integers(0, 256, (9, 16, 16, 1)).astype(np.uint8)
    vectors = Description.of(seen)(see(classifier, noise))
    assert (vectors[:, width:] ** 2).sum(1).max() <= 0.1 * 2**2 * width * 1.001


def test_octaves_go_down_to_8_px_and_small_images_have_none(
    classifier: nn.Module,
) -> None:
    assert see(classifier, draw(5, 0).images).grain.shape == (5, 2)
    tiny = nn.Sequential(nn.Flatten(), nn.Linear(49, 4), nn.Linear(4, 2))
    images = np.random.default_rng(0).integers(0, 256, (40, 7, 7, 1)).astype(np.uint8)
    seen = see(tiny, images)
    assert seen.grain.shape == (40, 0)
    assert Description.of(seen)(seen).shape == (40, 4)


def test_images_are_seen_alike_in_any_company(classifier: nn.Module) -> None:
    images = draw(300, 0).images
    whole, part = see(classifier, images), see(classifier, images[270:])
    assert np.allclose(whole.features[270:], part.features, atol=1e-6)
    assert np.allclose(whole.grain[270:], part.grain, atol=1e-6)


def test_a_classifier_that_sees_no_difference_is_refused() -> None:
    first = nn.Linear(256, 4)
    nn.init.zeros_(first.weight)
    blind = nn.Sequential(nn.Flatten(), first, nn.Linear(4, 2))
    with pytest.raises(UsageError, match="sees no difference"):
        Description.of(see(blind, draw(20, 0).images))


def test_large_images_are_looked_at_few_at_a_time() -> None:
    assert batch_of(28 * 28) == 256
    assert batch_of(256 * 256 * 3) == 21
    assert batch_of(1 << 30) == 1
