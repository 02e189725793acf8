"""A short training on CIFAR-10 and on photos of clothing, by class: GAN or diffusion.

Figures are those by which the trainer judges itself, against photos that it held out,
with features of a classifier of the same photos: they say how one run came on, not how
good its images are. Each set is trained on in a process of its own.

    python benchmarks/gan_photos.py runs/photos --only clothing --images 40000
    python benchmarks/gan_photos.py runs/photos --only cifar10 --kind diffusion
"""

import argparse
import csv
import io
import json
import os
import platform
import resource
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import torch
from PIL import Image

from fiberaug.models import Critic, Generator, UNet
from fiberaug.training import DiffusionTrainer, GANTrainer

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[2] / "shared/data"))
SIZES = {"cifar10": 32, "clothing": 64}


def cifar10() -> Any:
    """Return its 50,000 training images and labels."""
    with np.load(DATA / "cifar10_jpeg.npz") as held:
        content, at = held["train_bytes"].tobytes(), held["train_off"]
        labels = held["train_y"].astype(np.int64)
    images = [
        np.asarray(Image.open(io.BytesIO(content[begin:end])).convert("RGB"))
        for begin, end in pairwise(at)
    ]
    return np.stack(images), labels


def clothing() -> Any:
    """Return the folder of its training photos, a folder a class."""
    return DATA / "clothing-small" / "train"


def gan(size: int, width: int, data: Any, out: Path) -> Any:
    """Return the trainer of a GAN."""
    generator = Generator(size, classes=10, width=width)
    return GANTrainer(
        generator, Critic(size, classes=10, width=width), data, out=out
    )  # fmt: skip


def diffusion(size: int, width: int, data: Any, out: Path) -> Any:
    """Return the trainer of a diffusion model, in bfloat16."""
    return DiffusionTrainer(
        UNet(size, classes=10, width=width), data, out=out, bf16=True
    )


KINDS = {"gan": gan, "diffusion": diffusion}


def trained(name: str, kind: str, out: Path, images: int, width: int) -> dict[str, Any]:
    """Train and return cost and figures."""
    data = {"cifar10": cifar10, "clothing": clothing}[name]()
    torch.manual_seed(0)
    size = SIZES[name]
    trainer = KINDS[kind](size, width, data, out / name)
    plan = trainer.plan(images, probe=False)
    started = time.monotonic()
    trainer.train(images)
    wall, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
    with (out / name / "judge.csv").open(encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    told = json.loads((out / name / "best/generator.json").read_text("utf-8"))
    return {
        "size": size, "width": width, "images": images,
        "cpu_s": round(used.ru_utime + used.ru_stime, 1), "wall_s": round(wall, 1),
        "planned_bytes": plan.peak, "peak_bytes": used.ru_maxrss * 1024,
        "best_at": told["notes"]["images"], "judged": rows,
    }  # fmt: skip


def main() -> None:
    """Train one set and add its figures to the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=sorted(SIZES), required=True)
    parser.add_argument("--kind", choices=sorted(KINDS), default="gan")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    found = trained(given.only, given.kind, given.out, given.images, given.width)
    print(json.dumps(found, indent=1))
    target = given.result or given.out / f"{given.kind}-photos.json"
    told = json.loads(target.read_text("utf-8")) if target.exists() else {}
    names = ("fiberaug", "torch", "numpy")
    told |= {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {one: version(one) for one in names},
    }
    told[given.only] = found
    target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
