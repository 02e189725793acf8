"""A pipeline of the size of Stable Diffusion 1.5 under a hard cap on memory.

Its weights are random, so nothing is said of quality: only whether adapters are trained
on windows of 512 px and regions of photos of 3024x4032 px are edited within the cap,
what that took, and what was predicted. The photos are rendered cabinets, of which some
are stored sideways (EXIF orientation 6).

    python benchmarks/sd15_sized.py runs/sd15 --train-images 20 --edits 20 --steps 2
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")

import diffusers
import torch
from cabinet_memory import Taken, run_capped
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from fiberaug.demo.material import pack_cabinets
from fiberaug.sizes import parse_bytes
from fiberaug.training import LoRATrainer

PHOTO = (3024, 4032)
PROMPT = "a photo of a cabinet"
_LENGTH = 77  # tokens that its text encoder reads
_SPREAD = 0.02  # of random weights


def write_model(folder: Path, dtype: torch.dtype) -> None:
    """Write a Stable Diffusion 1.5 of random weights, as diffusers stores it."""
    tokenizer = _tokenizer(folder)
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8
        )
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2,
            latent_channels=4, sample_size=512,
        )  # fmt: skip
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49_408,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                projection_dim=768,
                max_position_embeddings=_LENGTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    torch.manual_seed(0)
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    for part in parts.values():
        _fill(part.to(dtype).to_empty(device="cpu").eval())
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        **parts, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip


def _fill(module: torch.nn.Module) -> None:
    """Draw matrices; what scales is one, what is added is zero."""
    for name, value in module.named_parameters():
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=_SPREAD)
        else:
            torch.nn.init.constant_(value, float(name.endswith("weight")))
    for name, value in module.named_buffers():
        if name.endswith("position_ids"):
            value.copy_(torch.arange(value.shape[-1])[None])


def _tokenizer(folder: Path) -> Any:
    """Return CLIP's tokenizer that knows letters alone."""
    letters = [chr(code) for code in range(33, 127)]
    vocab = ["<|startoftext|>", "<|endoftext|>", *letters]
    vocab += [f"{letter}</w>" for letter in letters]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "vocab.json", folder / "merges.txt"
    paths[0].write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    paths[1].write_text("#version: 0.2\n")
    made = CLIPTokenizer(
        vocab=str(paths[0]), merges=str(paths[1]), model_max_length=_LENGTH
    )
    for path in paths:
        path.unlink()
    return made


def _planned(arguments: list[str]) -> dict[str, Any]:
    """Return what an edit says that it would take."""
    command = [sys.executable, "-m", "fiberaug.cli.main", *arguments]
    made = subprocess.run(
        [*command, "--dry-run", "--json"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        sys.exit(f"{' '.join(arguments)} --dry-run failed:\n{made.stderr}")
    told: dict[str, Any] = json.loads(made.stdout)
    return told


def plan_lora(given: argparse.Namespace, model: Path, photos: Path) -> None:
    """Print what a training would take; its steps are not tried, to save minutes."""
    trainer = LoRATrainer(
        model, str(photos), size=(512, 512), memory=given.memory, dtype=given.dtype,
        prompt=PROMPT, conditional=False, device=given.device, progress=False,
        held_out=0.0,
    )  # fmt: skip
    plan = trainer.plan(given.train_images, probe=False)
    print(json.dumps(plan.to_dict()))


def _run(
    name: str, arguments: list[str], planned: dict[str, Any], work: Path, cap: int
) -> dict[str, Any]:
    """Run a command under the cap and return what it took beside what was planned."""
    log = work / f"{name}.log"
    taken: Taken = run_capped(
        [sys.executable, "-m", "fiberaug.cli.main", *arguments],
        cap=cap,
        log=log,
        every_s=0.5,
    )
    if taken.exit_code or taken.capped:
        sys.exit(f"{name} ended with {taken.exit_code}, capped {taken.capped}: {log}")
    return {
        "planned": planned, "seconds": round(taken.seconds, 1),
        "cpu_s": round(taken.cpu_s, 1), "peak_bytes": taken.peak_tree_bytes,
        "peak_with_files_bytes": taken.peak_with_files_bytes,
        "peak_process_bytes": taken.peak_process_bytes,
    }  # fmt: skip


def main() -> None:
    """Write the model and the photos, train adapters, edit regions, write figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--memory", default="7.5GiB", help="the cap")
    parser.add_argument("--train-images", type=int, default=20)
    parser.add_argument("--edits", type=int, default=20, help="photos, a region each")
    parser.add_argument("--steps", type=int, default=2, help="of an edit")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("plan-lora", "lora", "edit"))
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    work, cap = given.work, parse_bytes(given.memory, name="--memory")
    work.mkdir(parents=True, exist_ok=True)
    model, photos = work / "model", work / "photos"
    if not (model / "model_index.json").exists():
        write_model(model, torch.bfloat16)
    if not (photos / "dataset.json").exists():
        pack_cabinets(photos, cabinets=given.edits, size=PHOTO)
    if given.only == "plan-lora":
        plan_lora(given, model, photos)
        return
    target = given.result or work / "sd15-sized.json"
    told = json.loads(target.read_text("utf-8")) if target.exists() else {}
    told |= {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)), "cap_bytes": cap,
        "device": given.device, "photo_px": list(PHOTO),
        "versions": {one: version(one) for one in ("fiberaug", "torch", "diffusers")},
    }  # fmt: skip
    stages = {
        "lora": [
            "train", "lora", str(photos), "--base", str(model), "--size", "512x512",
            "--train-images", str(given.train_images), "--out", str(work / "lora"),
            "--memory", given.memory, "--dtype", given.dtype, "--unconditional",
            "--prompt", PROMPT, "--device", given.device,
        ],
        "edit": [
            "edit", str(photos), "--base", str(model), "--mode", "inpaint",
            "--region", "bboxes", "--most", "1", "--steps", str(given.steps),
            "--guidance", "1", "--prompt", "a photo of a {label}", "--limit",
            str(given.edits), "--out", str(work / "pool"), "--split", "train",
            "--lora", str(work / "lora/generator"), "--memory", given.memory,
            "--device", given.device,
        ],
    }  # fmt: skip
    for name, arguments in stages.items():
        if given.only in {None, name}:
            if name == "lora":  # in a process of its own: what it holds is counted
                asked = [sys.executable, __file__, *sys.argv[1:], "--only", "plan-lora"]
                made = subprocess.run(asked, capture_output=True, text=True, check=True)
                planned = json.loads(made.stdout.splitlines()[-1])
            else:
                planned = _planned(arguments)
            told[name] = _run(name, arguments, planned, work, cap)
            target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            print(name, json.dumps(told[name], indent=1))


if __name__ == "__main__":
    main()
