"""Figures of a model of that size are those of its configs, as they are traced."""

import json
from itertools import pairwise

import pytest
import torch

from fiberaug.feasibility import sd15

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


def weights(module):
    return sum(one.numel() for one in module.parameters())


@pytest.fixture(scope="module")
def unet():
    with torch.device("meta"):
        return diffusers.UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8
        ).eval()


@pytest.fixture(scope="module")
def vae():
    with torch.device("meta"):
        return diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2,
            latent_channels=4, sample_size=512,
        ).eval()  # fmt: skip


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def denoise(unet, dtype=torch.float32, rows=2):
    unet(
        empty(rows, 4, 64, 64, dtype=dtype), torch.empty((), dtype=torch.int64,
        device="meta"), encoder_hidden_states=empty(rows, 77, 768, dtype=dtype),
    )  # fmt: skip


def test_weights_are_counted_right(unet, vae):
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=49_408, hidden_size=768, intermediate_size=3072,
        num_hidden_layers=12, num_attention_heads=12, max_position_embeddings=77,
    )  # fmt: skip
    with torch.device("meta"):
        text = transformers.CLIPTextModel(config)
    assert (weights(unet), weights(vae), weights(text)) == (
        sd15.UNET, sd15.VAE, sd15.TEXT
    )  # fmt: skip
    assert (
        max(one.numel() for part in (unet, vae, text) for one in part.parameters())
        == sd15.LARGEST
    )


def _write(folder, unet, vae):
    """Write such a model's configs, and weights whose bytes take no disk."""
    parts = {"unet": weights(unet), "vae": weights(vae), "text_encoder": sd15.TEXT}
    for name, count in parts.items():
        (folder / name).mkdir(parents=True)
        ends = [*range(0, count, sd15.LARGEST), count]
        head = json.dumps({
            str(start): {"dtype": "F16", "shape": [end - start],
                         "data_offsets": [2 * start, 2 * end]}
            for start, end in pairwise(ends)
        }).encode()  # fmt: skip
        with (folder / name / "model.safetensors").open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head)
            file.truncate(8 + len(head) + 2 * count)
    unet.save_config(folder / "unet")
    vae.save_config(folder / "vae")
    return tuple(sorted(folder.rglob("*.safetensors")))


@pytest.mark.parametrize("cuda", [False, True])
def test_an_edit_takes_what_the_pipelines_own_plan_says(unet, vae, cuda, tmp_path):
    from fiberaug.pretrained.footprint import Footprint
    from fiberaug.pretrained.inspecting import Inspected
    from fiberaug.pretrained.levers import Levers

    files = _write(tmp_path, unet, vae)
    plan = Footprint(
        inspected=(Inspected(folder=tmp_path, index={}, files=files),),
        size=(512, 512), rows=1, cuda=cuda, edits=True,
        dtype=torch.float16 if cuda else torch.float32,
    )  # fmt: skip
    taken = [Levers(), Levers(bf16=True)]
    if cuda:
        taken = [
            Levers(), Levers(offload="model"), Levers(offload="group", vae_tiling=True)
        ]  # fmt: skip
    expected = [plan.needs(levers) for levers in taken]
    found = [need.peak for need in sd15.edit_needs(cuda=cuda)]
    assert found == pytest.approx(expected, rel=0.15)


def test_operations_are_counted_right(unet, vae):
    from torch.utils.flop_counter import FlopCounterMode

    def counted(run):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        return counter.get_total_flops()

    unet, vae = unet.float(), vae.float()
    assert counted(lambda: denoise(unet, rows=1)) == pytest.approx(
        sd15.UNET_FLOPS, rel=0.01
    )
    image, latent = empty(1, 3, 512, 512), empty(1, 4, 64, 64)
    assert counted(lambda: vae.encoder(image)) == pytest.approx(
        sd15.ENCODER_FLOPS, rel=0.01
    )
    assert counted(lambda: vae.decoder(latent)) == pytest.approx(
        sd15.DECODER_FLOPS, rel=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recompute", "expected"), [(False, sd15.KEPT), (True, sd15.RECOMPUTED)]
)
def test_a_step_of_adapters_is_what_the_trainers_own_trace_says(
    unet, recompute, expected
):
    from fiberaug.training.contracts import RealBatch
    from fiberaug.training.footprint import footprint, pretended
    from fiberaug.training.levers import Levers
    from fiberaug.training.lora_adapters import inject
    from fiberaug.training.lora_noising import LatentStep, Prompts, Schedule
    from fiberaug.training.lora_options import LoRAOptions
    from fiberaug.training.lora_task import LoRATask
    from fiberaug.training.ranking import Ranks

    options = LoRAOptions()
    unet = unet.float().requires_grad_(requires_grad=False)
    inject(
        unet, rank=options.rank, scale=options.scale, targets=options.targets, seed=0
    )
    trained = [one.numel() for one in unet.parameters() if one.requires_grad]
    assert sum(trained) == sd15.ADAPTERS
    schedule = Schedule(kept=torch.linspace(0.99, 0.01, 1000), predicts="epsilon")

    def build():
        network = pretended(unet, "cpu")
        told = Prompts(told=torch.zeros(2, 77, 768), weights=torch.ones(1))
        step = LatentStep(
            network, schedule=schedule, prompts=told, min_snr=5.0, dropped=0.0,
            noise_offset=0.0, seed=0, each=1,
        )  # fmt: skip
        task = LoRATask(
            network, options, stepper=step, total=2**40, ranks=Ranks.alone(), each=1,
            levers=Levers(recompute=recompute), save=lambda *_: None,
            sampler=lambda *_: None,
        )  # fmt: skip
        batch = RealBatch(torch.empty(1, 8, 64, 64), torch.zeros(1, dtype=torch.int64))
        return lambda: task.advance(batch, step=0, nimg=0)

    found = footprint(build, at_once=recompute)
    assert found.step - found.kept == pytest.approx(expected, rel=0.1)
