"""Laws of the network of a judge, and of how it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from judged import draw
from safetensors.torch import save

from fiberaug.errors import UsageError
from fiberaug.evaluate.extracting import extractor_of
from fiberaug.training.conditioned import predictions
from fiberaug.training.judges import JudgeNetwork, read_network, write_network
from fiberaug.training.lessons import teach


@pytest.mark.parametrize(
    "size", [(4, 4), (9, 30), (28, 28), (96, 128), (256, 256), (1000, 40)]
)
def test_images_of_any_size_become_as_many_numbers(size: tuple[int, int]) -> None:
    network = JudgeNetwork(size, 3, 5)
    images = torch.rand(2, 3, *size)
    assert network.embed(images).shape == (2, 128)
    assert network(images).shape == (2, 5)
    assert sum(one.numel() for one in network.parameters()) < 1_000_000


def test_an_image_is_seen_alike_in_any_company() -> None:
    network = JudgeNetwork((28, 28), 1, 2)
    images = torch.rand(9, 1, 28, 28)
    alone = torch.cat([network.embed(one[None]) for one in images])
    assert torch.allclose(network.embed(images), alone, atol=1e-5)


@pytest.mark.parametrize(("channels", "width"), [(0, 128), (1, 0), (1, 100)])
def test_an_argument_out_of_range_is_refused(channels: int, width: int) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        JudgeNetwork((28, 28), channels, 2, width=width)


def test_classes_are_learned() -> None:
    train, others = draw(300, 0), draw(200, 1)
    network = teach(train.images, train.labels, outputs=2, shown=3000)
    assert np.mean(predictions(network, others.images) == others.labels) > 0.75


def test_what_is_learned_is_a_function_of_the_arguments_alone() -> None:
    photos = draw(50, 0)
    torch.manual_seed(1)
    one = extractor_of(teach(photos.images, None, shown=200, seed=3))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = extractor_of(teach(photos.images, None, shown=200, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert one == other
    assert extractor_of(teach(photos.images, None, shown=200, seed=4)) != one


def test_a_lesson_brings_views_of_photos_together_that_it_did_not_show() -> None:
    images = torch.from_numpy(draw(200, 1).images).permute(0, 3, 1, 2) / 255
    grain = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    views = (images * 0.8 + 0.05 * grain).roll((1, 1), (2, 3))

    def apart(shown: int) -> float:
        network = teach(draw(300, 0).images, None, shown=shown)
        far = torch.cdist(network.embed(views), network.embed(images))
        return float(far.diagonal().mean() / far.mean())

    assert apart(2000) < 0.9 * apart(1)


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = JudgeNetwork((28, 28), 1, 2)
    write_network(tmp_path / "w", network)
    before = torch.get_rng_state()
    found = read_network(tmp_path / "w", (28, 28), 1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert found is not None
    assert extractor_of(found) == extractor_of(network)


def test_a_file_of_something_else_is_none(tmp_path: Path) -> None:
    path = tmp_path / "w"
    assert read_network(path, (28, 28), 1, 2) is None
    path.write_bytes(b"no safetensors")
    assert read_network(path, (28, 28), 1, 2) is None
    path.write_bytes(save({"head.weight": torch.zeros(2, 128)}))
    assert read_network(path, (28, 28), 1, 2) is None
    write_network(path, JudgeNetwork((28, 28), 1, 3))
    assert read_network(path, (28, 28), 1, 2) is None
    path.write_bytes(bytes(10_000_000))  # not even read
    assert read_network(path, (28, 28), 1, 2) is None
