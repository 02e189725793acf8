"""A diffusion model on MNIST on two cores, judged as the GAN of ``gan_mnist.py`` is.

It trains for a time of the processor, measured over its first steps; then samplers,
steps and guidance are tried on what was trained. The classifier that says which digit
is seen is trained on real ones alone.

    python benchmarks/diffusion_mnist.py runs/diffusion-mnist --minutes 12
"""

import argparse
import json
import os
import platform
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import torch
from gan_mnist import PROBE, SPARE, Clock, accuracy, classifier, digits, picture
from numpy.typing import NDArray

from fiberaug.evaluate import features, measure
from fiberaug.models import UNet
from fiberaug.synthetic.seeds import sample_seed
from fiberaug.training import DiffusionTrainer

SAMPLED = {
    "10 steps of dpmsolver++": {"sampler": "dpmsolver++", "steps": 10},
    "10 steps of dpmsolver++, guidance 2": {
        "sampler": "dpmsolver++", "steps": 10, "guidance": 2.0,
    },
    "10 steps of unipc": {"sampler": "unipc", "steps": 10},
    "50 steps of ddim": {"sampler": "ddim", "steps": 50},
    "50 steps of ddpm": {"sampler": "ddpm", "steps": 50},
}  # fmt: skip
"""Ways of sampling; the first is looked at with more images."""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _unet() -> UNet:
    torch.manual_seed(0)
    return UNet(28, classes=10, channels=1, width=32)


def train(out: Path, seconds: float, data: Any) -> tuple[Any, dict[str, Any]]:
    """Train for so many seconds of two cores and return the generator and its cost."""
    options: dict[str, Any] = {"bf16": True, "progress": False, "judge": False}
    clock = Clock()
    DiffusionTrainer(
        _unet(), data, out=out / "probe", held_out=0.0, watchers=[clock], **options
    ).train(images=PROBE * 64)
    an_image = (clock.times[-1] - clock.times[9]) / ((PROBE - 10) * 64)
    images = int(SPARE * 2 * seconds / an_image) // 64 * 64
    trainer = DiffusionTrainer(_unet(), data, out=out / "unet", **options)
    started, wall = _cpu_s(), time.monotonic()
    generator = trainer.train(images=images)
    return generator, {
        "images": images, "cpu_s": round(_cpu_s() - started, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def judged(
    generator: Any, model: Any, held: Any, count: int, options: dict[str, Any]
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return figures of so many digits a class, and a grid of them."""
    labels = np.repeat(np.arange(10), count)
    seeds = [sample_seed(11, str(y), i % count) for i, y in enumerate(labels)]
    started = _cpu_s()
    made = generator.generate(seeds, labels.tolist(), **options)
    taken = _cpu_s() - started
    total = len(labels)
    order = np.random.default_rng(7).permutation
    real = [held[f"{one}_x"][order(len(held[f"{one}_x"]))[:total]] for one in SPLITS]
    tables = [features(model, one, progress=False) for one in (real[0], made, real[1])]
    grid = made.reshape(10, count, 28, 28)[:, :16]
    return {
        "images": total,
        "accuracy": accuracy(model, made, labels),
        "cpu_ms_an_image": round(1000 * taken / total, 1),
        "metrics": measure(*tables).to_dict(),
    }, grid


SPLITS = ("train", "test")


def main() -> None:
    """Train, sample in several ways, write figures and a picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    held = digits()
    model = classifier(held["train_x"], held["train_y"], 1_500)
    data = held["train_x"], held["train_y"].astype(np.int64)
    generator, cost = train(given.out, given.minutes * 60, data)
    print(json.dumps(cost), flush=True)
    told: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {
            one: version(one) for one in ("fiberaug", "torch", "diffusers", "numpy")
        },
        "minutes": given.minutes,
        "real_accuracy": accuracy(model, held["test_x"], held["test_y"]),
        "training": cost,
        "sampled": {},
    }
    target = given.result or given.out / "diffusion-mnist.json"
    grids = {}
    for number, (name, options) in enumerate(SAMPLED.items()):
        count = 100 if number else 500
        found, grids[name] = judged(generator, model, held, count, options)
        told["sampled"][name] = found
        print(name, json.dumps(found, indent=1), flush=True)
        picture(grids, given.out / "digits.png")
        target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
