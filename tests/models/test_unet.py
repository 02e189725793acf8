"""Laws of the denoising UNet: its sizes, its bounds, and that inside it is stock."""

import json
import math
import sys

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from fiberaug.errors import DataRefused, StateMismatch, UsageError
from fiberaug.models import UNet, UNetConfig
from fiberaug.models.storing import save_network
from fiberaug.models.transplanting import start_from
from fiberaug.models.unet_config import MOST_TOKENS, unet_size
from fiberaug.training.windows import Window, place_of


def network(size=(8, 12), classes=3, context_dim=0, *, seed=0, **options):
    torch.manual_seed(seed)
    made = UNet(size, classes, context_dim, width=8, **options).eval()
    nn.init.normal_(made.inner.conv_out.weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))


TIMES = torch.tensor([999, 10])


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        (28, [(28, 28), (14, 14), (7, 7)]),
        (32, [(32, 32), (16, 16), (8, 8)]),
        (64, [(64, 64), (32, 32), (16, 16), (8, 8)]),
        ("96x128", [(96, 128), (48, 64), (24, 32), (12, 16)]),
        ((8, 12), [(8, 12), (4, 6)]),
        (512, [(512 >> i, 512 >> i) for i in range(5)]),
    ],
)
def test_sides_are_halved_while_they_are_even_and_large(size, levels):
    config = UNetConfig(size=unet_size(size))
    assert config.levels == tuple(levels)
    assert len(config.widths) == len(levels)
    assert config.inner["layers_per_block"] == (1 if len(levels) <= 3 else 2)


@settings(max_examples=100, deadline=None)
@given(st.integers(8, 1024), st.integers(8, 1024))
def test_a_size_fits_or_others_near_it_are_named(height, width):
    try:
        config = UNetConfig(size=(height, width))
    except UsageError as error:
        named = str(error).rpartition("can: ")[2].split(", ")
        assert 1 <= len(named) <= 3
        sizes = [unet_size(one) for one in named]  # each of them does
        near = max(height, width, 64) / 2
        assert all(abs(h - height) <= near and abs(w - width) <= near for h, w in sizes)
    else:
        down, right = config.levels[-1]
        assert down * right <= MOST_TOKENS
        assert len(config.levels) >= 2
        assert all(side % 2 == 0 for level in config.levels[:-1] for side in level)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 128).map(lambda times: 8 * times))
def test_groups_and_heads_divide_all_widths(width):
    config = UNetConfig(size=(64, 64), width=width)
    inner = config.inner
    assert all(wide % inner["norm_num_groups"] == 0 for wide in config.widths)
    assert width // inner["norm_num_groups"] >= 4
    assert config.widths[-1] % inner["attention_head_dim"] == 0


@pytest.mark.parametrize("options", [{}, {"classes": 3, "places": True}])
def test_json_brings_a_config_back(options):
    config = UNetConfig(size=(96, 128), context_dim=4, width=16, **options)
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": True}, "classes must be an integer from 0"),
        ({"classes": 10**9}, "classes must be an integer"),
        ({"context_dim": -1}, "context_dim must be"),
        ({"channels": 5}, "channels must be an integer from 1 to 4"),
        ({"width": 4}, "width must be an integer from 8"),
        ({"width": 12}, "multiple of 8"),
        ({"width": 10**9}, "width must be"),
        ({"places": 1}, "places must be True or False"),
        ({"size": [9, 8]}, "a side is odd.*nearest sizes that can: 10x8, 8x8"),
        ({"size": [130, 130]}, "halving stops at 65x65.* at most 4096 px.*128x128"),
        ({"size": [8, 10**9]}, "size must be"),
        ({"size": None}, "size must be"),
        ({"colour": 1}, "has no colour; there are channels"),
    ],
)
def test_a_value_out_of_range_is_refused(change, message):
    told = UNetConfig(size=(8, 8), width=8).to_dict() | change
    with pytest.raises(UsageError, match=message):
        UNetConfig.from_dict(told)


def test_an_absurd_network_is_refused_before_it_is_made():
    with pytest.raises(UsageError, match=r"UNet would have .* parameters"):
        UNet(64, width=1024)
    with pytest.raises(UsageError, match=r"UNet would have .* parameters"):
        UNet(8, classes=100_000, width=1024)


@pytest.mark.parametrize("classes", [0, 3])
def test_without_context_and_places_it_is_a_stock_unet(classes, images):
    ours = network(classes=classes)
    stock = UNet2DModel.from_config(ours.inner.config).eval()
    stock.load_state_dict(ours.inner.state_dict())
    labels = torch.tensor([0, 2]) if classes else None
    assert type(ours.inner) is UNet2DModel
    with torch.no_grad():
        expected = stock(images, TIMES, labels).sample
        assert ours(images, TIMES, labels).equal(expected)
        assert expected.abs().max() > 0.1


@pytest.mark.parametrize("context_dim", [0, 5])
def test_no_class_is_the_last_one(context_dim, images):
    unet = network(context_dim=context_dim)
    null, one = torch.tensor([3, 3]), torch.tensor([1, 1])
    with torch.no_grad():
        unconditional = unet(images, TIMES)
        assert unet(images, TIMES, null).equal(unconditional)
        assert not unet(images, TIMES, one).equal(unconditional)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_context_of_zeros_is_none(classes, images):
    unet = network(classes=classes, context_dim=5)
    with torch.no_grad():
        none = unet(images, TIMES)
        some = unet(images, TIMES, context=torch.randn(2, 5))
        assert unet(images, TIMES, context=torch.zeros(2, 5)).equal(none)
    assert not some.equal(none)
    assert unet.conditioner.context(torch.zeros(1, 5)).abs().max() == 0


def test_rows_do_not_see_each_other(images):
    unet = network(context_dim=2, places=True)
    told = [torch.tensor([0, 1]), torch.randn(2, 2), torch.randn(2, 3)]
    with torch.no_grad():
        both = unet(images, TIMES, *told)
        alone = unet(images[1:], TIMES[1:], *(one[1:] for one in told))
    torch.testing.assert_close(alone, both[1:])


@given(
    height=st.integers(4, 60), width=st.integers(4, 60), down=st.integers(0, 40),
    right=st.integers(0, 40), zoom=st.integers(1, 5), flipped=st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_channels_of_places_tell_where_each_pixel_lies_in_the_photo(
    height, width, down, right, zoom, flipped
):
    unet, size = network(places=True), (8, 12)
    window = Window(right, down, right + zoom * 12, down + zoom * 8, flipped)
    photo = (window.y_max + height, window.x_max + width)
    place = torch.tensor([place_of(window, photo, size)])
    seen = []
    unet.inner.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    unet(torch.zeros(1, 3, 8, 12), torch.tensor([5]), places=place)

    planes = seen[0][0, 3:]
    middles = (torch.arange(size[0]) + 0.5) * zoom + down
    found = (planes[0] + 2 * 256 * planes[3] / photo[0] + 1) / 2 * photo[0]
    assert torch.allclose(found, middles[:, None].expand(8, 12), atol=1e-3)
    across = (planes[1] + 2 * 256 * planes[4] / photo[1] + 1) / 2 * photo[1]
    middles = (torch.arange(size[1]) + 0.5) * zoom + right
    if flipped:  # a window of the mirrored photo
        middles = photo[1] - middles.flip(0)
    assert torch.allclose(across, middles.expand(8, 12), atol=1e-3)


def test_places_make_a_difference_and_must_be_there(images):
    unet = network(places=True)
    here, there = torch.zeros(2, 3), torch.tensor([[0.0, 0.0, 3.0]] * 2)
    with torch.no_grad():
        assert not unet(images, TIMES, places=here).equal(
            unet(images, TIMES, places=there)
        )
    with pytest.raises(UsageError, match="places are missing"):
        unet(images, TIMES)
    with pytest.raises(UsageError, match=r"images must be \[B, 3, 8, 12\]"):
        unet(images[:, :, :, :8], TIMES, places=here)


def test_training_starts_calm_and_reaches_every_weight(images):
    unet = UNet((8, 12), 3, 2, width=8, places=True)
    told = torch.tensor([0, 3]), torch.randn(2, 2), torch.randn(2, 3)
    assert unet(images, TIMES, *told).abs().max() == 0
    nn.init.normal_(unet.inner.conv_out.weight)
    unet(images, TIMES, *told).square().sum().backward()
    assert all(one.grad is not None for one in unet.parameters())


def test_a_missing_diffusers_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UsageError, match=r'pip install "fiberaug\[diffusion\]"'):
        UNet(8)


def test_weights_come_back_whole_from_a_folder_of_diffusers(tmp_path, images):
    trained, fresh = network(seed=1), network(seed=2)
    trained.inner.save_pretrained(tmp_path / "a" / "unet")
    trained.inner.save_pretrained(tmp_path / "b")
    labels = torch.tensor([0, 2])
    for path in ("a", "b", "b/diffusion_pytorch_model.safetensors"):
        fresh = network(seed=2)
        assert start_from(fresh, tmp_path / path) == []
        with torch.no_grad():
            expected = trained(images, TIMES, labels)
            assert fresh(images, TIMES, labels).equal(expected)


def test_what_does_not_fit_is_named_and_left_as_it_was(tmp_path):
    trained, fresh = network(seed=1), network(classes=4, seed=2)
    save_network(tmp_path, "diffusion_pytorch_model", trained.inner)
    before = {name: one.clone() for name, one in fresh.state_dict().items()}

    assert start_from(fresh, tmp_path) == ["inner.class_embedding.weight"]
    after, theirs = fresh.state_dict(), trained.inner.state_dict()
    left = "inner.class_embedding.weight"
    assert after[left].equal(before[left])
    assert all(
        one.equal(theirs[name.removeprefix("inner.")])
        for name, one in after.items()
        if name != left
    )


def test_weights_of_16_bits_are_taken_too(tmp_path):
    network(seed=1).half().inner.save_pretrained(tmp_path)
    fresh = network(seed=2)
    assert start_from(fresh, tmp_path) == []
    assert {one.dtype for one in fresh.parameters()} == {torch.float32}


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    fresh = network()
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(DataRefused, match="other formats than safetensors"):
        start_from(fresh, tmp_path)
    with pytest.raises(DataRefused, match="holds no weights"):
        start_from(fresh, tmp_path / "diffusion_pytorch_model.bin")
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    torch.save(fresh.inner.state_dict(), file)
    with pytest.raises(DataRefused, match="no sound safetensors"):
        start_from(fresh, tmp_path)
    file.unlink()
    UNet(8, width=16).inner.save_pretrained(tmp_path)
    with pytest.raises(StateMismatch, match=r"fits .* of .* numbers.*at least half"):
        start_from(fresh, tmp_path)
    tensors = fresh.inner.state_dict()
    save_file({n: t.clone() for n, t in tensors.items()}, file)
    broken = load_file(file)
    broken["conv_in.bias"][0] = math.nan
    save_file(broken, file)
    with pytest.raises(DataRefused, match=r"conv_in\.bias that are not finite"):
        start_from(fresh, tmp_path)
