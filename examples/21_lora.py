"""Adapters (LoRA) of a text-to-image model, trained on a few photos.

Run:     python examples/21_lora.py
Prints:  plan: ... weights frozen, 2048 in adapters
         shown 16 images, losses finite: True
         saved: adapter_config.json, generator.json, pytorch_lora_weights.safetensors
         one seed, one image: True; scale 0 is the base: True
Why:     A pretrained model learns what your photos show, and nothing of it is changed:
         thin matrices are trained beside it. Latents and prompts are made once, then
         VAE and text encoder are freed; the same call goes on after Ctrl-C or kill -9.
         (The model here is made on the spot, of random weights: a number of CI.)
"""

import csv
import json
import math
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from fiberaug.pretrained import PretrainedPipeline
from fiberaug.training import LoRATrainer


def write_base(folder: Path) -> Path:
    """Write a tiny text-to-image model of random weights, as diffusers stores it."""
    letters = [chr(code) for code in range(97, 123)]
    vocab = ["<|startoftext|>", "<|endoftext|>", *letters]
    vocab += [f"{letter}</w>" for letter in letters]
    words, merges = folder.with_suffix(".json"), folder.with_suffix(".txt")
    words.write_text(json.dumps({word: at for at, word in enumerate(vocab)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(words), str(merges), model_max_length=32)
    config = CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=32,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=4, in_channels=4, out_channels=4, block_out_channels=(8, 16),
        layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, sample_size=32,
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(config), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def main() -> None:
    """Make a model and photos, train adapters, generate with and without them."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    torch.manual_seed(0)
    base = write_base(folder / "base")
    photos = rng.integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)
    trainer = LoRATrainer(
        base, photos, prompt="a photo of a gear", size="32x32", rank=2, lr=1e-2,
        memory="2GB", out=folder / "run", batch_size=4, sample_every=16, save_every=8,
        sample_steps=2, progress=False,
    )  # fmt: skip
    plan = trainer.plan(images=16, probe=False)
    frozen, thin = plan.parameters["network"], plan.parameters["adapters"]
    print(f"plan: {frozen} weights frozen, {thin} in adapters")
    model = trainer.train(images=16)
    with (folder / "run/loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    finite = all(math.isfinite(float(row["loss"])) for row in rows)
    print(f"shown {rows[-1]['nimg']} images, losses finite: {finite}")
    saved = folder / "run/generator"
    print("saved:", ", ".join(sorted(path.name for path in saved.iterdir())))

    images = model.generate(seeds=[1, 2], steps=4)
    same = bool((model.generate(seeds=[2], steps=4)[0] == images[1]).all())
    asked = {"prompt": "a photo of a gear", "size": 32, "device": "cpu"}
    plain = PretrainedPipeline.open(base, **asked)
    none = PretrainedPipeline.open(base, lora=saved, lora_scale=0.0, **asked)
    bare = plain.generate(seeds=[1], steps=4) == none.generate(seeds=[1], steps=4)
    print(f"one seed, one image: {same}; scale 0 is the base: {bool(bare.all())}")


if __name__ == "__main__":
    main()
