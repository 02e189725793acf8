"""Memory of training adapters as it is planned, against what a process really took.

    python benchmarks/lora_footprint.py [--sizes 64 128 256] [--out x.json]

prints the table. A text-to-image model with random weights is written on the spot: a
UNet of 64 to 256 channels, a VAE that makes sides 8 times smaller. Each row is a
process of its own: it opens the model, plans, trains some steps through the trainer
itself (photos encoded, steps, a picture, states), and reads the most memory that it
had (VmHWM of Linux, see proc(5)). ``grown`` leaves out what the process had before the
model was opened.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import peft  # noqa: F401  # of the process, as diffusers is
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from fiberaug.training import LoRATrainer
from fiberaug.training import trainer as home
from fiberaug.training.footprint_process import base_bytes, resident_bytes

LEVERS = {
    "none": {"batch_size": 1},
    "4 rows": {"batch_size": 4},
    "bf16": {"batch_size": 4, "bf16": True},
}
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WORDS = ["a", "b", "c"]


def write_base(folder, channels=(64, 128, 256), layers=1):
    """Write a text-to-image model of random weights; its tokenizer knows letters."""
    torch.manual_seed(0)
    letters = [f"{one}</w>" for one in WORDS]
    vocab = ["<|startoftext|>", "<|endoftext|>", *WORDS, *letters]
    folder.mkdir(parents=True)
    files = folder / "vocab.json", folder / "merges.txt"
    files[0].write_text(json.dumps({one: at for at, one in enumerate(vocab)}))
    files[1].write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        vocab=str(files[0]), merges=str(files[1]), model_max_length=77
    )
    for one in files:
        one.unlink()
    config = CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=256, intermediate_size=1024,
        num_hidden_layers=4, num_attention_heads=4, bos_token_id=0, eos_token_id=1,
        pad_token_id=1,
    )  # fmt: skip
    down = ("CrossAttnDownBlock2D",) * (len(channels) - 1) + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (len(channels) - 1)
    unet = diffusers.UNet2DConditionModel(
        sample_size=32, in_channels=4, out_channels=4, block_out_channels=channels,
        layers_per_block=layers, down_block_types=down, up_block_types=up,
        cross_attention_dim=256, attention_head_dim=8,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 64, 64, 64), layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, sample_size=256,
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(config), tokenizer=tokenizer, unet=unet,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def measured(base, size, levers, steps):
    """Return what was planned and what was taken, bytes, of this process."""
    torch.set_num_threads(1)
    base_bytes()
    before = resident_bytes()
    options = dict(LEVERS[levers]) if levers in LEVERS else {"batch_size": 4}
    photos = np.random.default_rng(0).integers(
        0, 256, (8, size, size, 3), dtype=np.uint8
    )
    with tempfile.TemporaryDirectory() as out:
        trainer = LoRATrainer(
            base, photos, prompt="a b c", size=size, out=out, memory="60GB", rank=8,
            progress=False, sample_steps=2, sample_every=10**6, **options,
        )  # fmt: skip
        if levers == "recomputed":
            _with_recomputation()
        planned = trainer.plan(8, probe=False)
        RESET.write_text("5")
        images = steps * options["batch_size"]
        trainer._trained(images)  # noqa: SLF001  # not the generator's opening
        peak = _peak()
    row = {"size": size, "levers": levers, "planned": planned.peak, "taken": peak}
    row["ratio"] = round(planned.peak / peak, 3)
    row["grown_planned"] = planned.peak - before
    row["grown_taken"] = peak - before
    row["grown_ratio"] = round(row["grown_planned"] / row["grown_taken"], 3)
    return row


def _with_recomputation():
    """Plan and train with blocks that are computed again."""
    made = home.plan_for

    def plan_for(*args, levers, **options):
        levers = replace(levers, recompute=True)
        return made(*args, levers=levers, **options)

    home.plan_for = plan_for


def _peak():
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} does not say VmHWM")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", nargs=3, help="one row, in this process")
    parser.add_argument("--sizes", nargs="*", type=int, default=[64, 128, 256])
    parser.add_argument("--levers", nargs="*", default=[*LEVERS, "recomputed"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.row:
        base, size, levers = args.row
        print(json.dumps(measured(Path(base), int(size), levers, args.steps)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = write_base(Path(folder) / "base")
        for size in args.sizes:
            for levers in args.levers:
                command = [sys.executable, __file__, "--row", str(base), str(size)]
                done = subprocess.run(
                    [*command, levers, "--steps", str(args.steps)], check=True,
                    stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(rows[-1], file=sys.stderr, flush=True)
    if args.out:
        args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    heads = ["px", "levers", "planned MB", "taken MB", "ratio", "of growth"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        told = [f"{row[name] / 1e6:,.0f}" for name in ("planned", "taken")]
        ratios = [f"{row[name]:.2f}" for name in ("ratio", "grown_ratio")]
        print(f"| {row['size']} | {row['levers']} | {' | '.join([*told, *ratios])} |")


if __name__ == "__main__":
    main()
