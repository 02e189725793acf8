"""Adapters of a diffusion model of ours: small on disk, and a whole model with them."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.models import UNet
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.training import LoRATrainer, Plan
from fiberaug.training import trainer as training
from fiberaug.training.levers import Levers
from fiberaug.training.lora_adapters import Adapters, inject, merged, scaled
from fiberaug.training.states import latest

QUICK = {
    "memory": "20GB", "progress": False, "rank": 2, "lr": 3e-2, "batch_size": 4,
    "sample_every": 10**6,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_plan(monkeypatch):
    cheap = Plan(
        levers=Levers(), peak=0, budget=1, parameters={}, disk=0, images=1
    )  # fmt: skip
    monkeypatch.setattr(training, "plan_for", lambda *_, **__: cheap)


def unet():
    torch.manual_seed(0)
    made = UNet((8, 12), 2, width=8)
    torch.nn.init.normal_(made.inner.conv_out.weight, std=0.1)
    return made


def photos(count=12):
    images = np.random.default_rng(0).integers(
        0, 256, (count, 8, 12, 3), dtype=np.uint8
    )
    return images, np.arange(count) % 2


def test_the_folder_is_a_diffusion_model_with_adapters_added_to_its_weights(tmp_path):
    base = DiffusionGenerator(unet(), classes=("cat", "dog"), steps=4)
    base.save(tmp_path / "base")
    made = LoRATrainer(tmp_path / "base", photos(), out=tmp_path / "run", **QUICK)
    generator = made.train(images=40)
    again = LoRATrainer(base, photos(), out=tmp_path / "again", **QUICK)
    again.train(images=4)
    folder = tmp_path / "run/generator"
    assert generator.classes == ("cat", "dog")
    images = generator.generate([1, 2], [0, 1], steps=4)
    opened = fiberaug.load(folder)
    assert np.array_equal(opened.generate([1, 2], [0, 1], steps=4), images)
    assert not np.array_equal(base.generate([1, 2], [0, 1], steps=4), images)

    held = load_file(folder / "adapter/pytorch_lora_weights.safetensors")
    whole = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    was = load_file(tmp_path / "base/unet/diffusion_pytorch_model.safetensors")
    changed = {name for name, one in whole.items() if not torch.equal(one, was[name])}
    names = {name.partition(".lora_")[0] for name in held}
    assert changed == {f"{name.removeprefix('inner.')}.weight" for name in names}
    for name in names:
        short = f"{name.removeprefix('inner.')}.weight"
        product = held[f"{name}.lora_B.weight"] @ held[f"{name}.lora_A.weight"]
        assert torch.allclose(whole[short], was[short] + product, atol=1e-6)
    assert sum(one.numel() for one in held.values()) < 0.2 * sum(
        one.numel() for one in whole.values()
    )


def test_scale_0_is_the_base_and_merged_is_unmerged(tmp_path):
    network = unet().eval()
    given = torch.randn(2, 3, 8, 12), torch.tensor([3, 900]), torch.tensor([0, 1])
    before = network(*given)
    inject(network, rank=2, scale=1.5, targets=("to_q", "to_v"), seed=0)
    assert torch.equal(network(*given), before)
    for name, one in Adapters(network).named():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.5)
    after = network(*given)
    assert not torch.allclose(after, before)
    with scaled(network, 0.0):
        assert torch.equal(network(*given), before)
    assert torch.equal(network(*given), after)
    plain = merged(network)
    assert torch.allclose(plain(*given), after, atol=1e-5)
    assert set(plain.state_dict()) == set(unet().state_dict())
    assert torch.equal(network(*given), after)


def test_it_goes_on_where_it_was_and_the_base_stays(tmp_path):
    def run(out, images, network):
        made = LoRATrainer(network, photos(), out=out, seed=3, save_every=8, **QUICK)
        made.train(images=images)
        return latest(out).tensors

    networks = [unet(), unet(), unet()]
    whole = run(tmp_path / "whole", 32, networks[0])
    run(tmp_path / "run", 16, networks[1])
    gone_on = run(tmp_path / "run", 32, networks[2])
    assert whole.keys() == gone_on.keys() == {"adapters", "average", "adam_adapters"}
    for file, tensors in whole.items():
        for name, value in tensors.items():
            assert torch.equal(value, gone_on[file][name])
    fresh, held = unet().state_dict(), networks[2].state_dict()
    assert fresh.keys() == held.keys()
    assert all(torch.equal(held[name], one) for name, one in fresh.items())
    assert all(one.requires_grad for one in networks[2].parameters())


def test_a_unet_of_diffusers_gets_adapters_too(tmp_path):
    network = UNet2DModel(
        sample_size=(8, 12), block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), norm_num_groups=4,
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8,
    )  # fmt: skip
    made = LoRATrainer(
        network, photos()[0], out=tmp_path / "run", targets="to_q", **QUICK
    )
    images = made.train(images=8).generate([1], steps=2)
    assert images.shape == (1, 8, 12, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "a cat"}, "prompt is for text-to-image models"),
        ({"prior": 3, "prior_prompt": "a cat"}, "prior is for text-to-image"),
        ({"classes": ("x", "y")}, "knows the classes cat, dog.*x, y"),
        ({"targets": "to_x"}, "to_x is no module of UNet"),
        ({"conditional": False}, "made for 2 classes"),
    ],
)
def test_what_does_not_belong_to_such_a_model_is_refused(tmp_path, options, said):
    base = DiffusionGenerator(unet(), classes=("cat", "dog"), steps=4)
    with pytest.raises(UsageError, match=said):
        LoRATrainer(base, photos(), out=tmp_path / "run", **QUICK, **options).train(
            images=4
        )
