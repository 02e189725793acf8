"""A GAN on MNIST on two cores, against DCGAN and the old weight clipping.

Each arm trains for the same processor time, on the same digits, in the same trainer;
how many images that is, is measured over its first steps. Nothing ends an arm early:
some stop learning long before, which the trainer would tell and end. An independent
classifier, trained on real digits, then says which of the conditioned digits show what
was asked for, and gives the features of the metrics.

    python benchmarks/gan_mnist.py runs/mnist --minutes 14 --arms rpgan,dcgan,clip
"""

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import torch
from gan_rivals import DCCritic, DCGenerator, OldCritic, OldGenerator
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fiberaug.evaluate import features, measure
from fiberaug.models import Critic, Generator
from fiberaug.synthetic.seeds import sample_seed
from fiberaug.training import GANTrainer
from fiberaug.training.contracts import View, Watcher
from fiberaug.training.judging import Judge

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[2] / "shared/data"))
PER_CLASS = 500
PROBE = 40  # steps over which the cost of an image is measured
SPARE = 0.94  # of the time: the rest is for the judge and the states

Networks = tuple[nn.Module, nn.Module]


def _ours() -> Networks:
    return (
        Generator(28, classes=10, channels=1, width=24, z_dim=64),
        Critic(28, classes=10, channels=1, width=24),
    )


ARMS: dict[str, tuple[Callable[[], Networks], dict[str, Any]]] = {
    "rpgan": (_ours, {"loss": "rpgan", "bf16": True}),
    "dcgan": (
        lambda: (DCGenerator(), DCCritic()), {"loss": "bce", "augment": ""},
    ),
    "clip": (
        lambda: (OldGenerator(), OldCritic()), {"loss": "wgan-clip", "augment": ""},
    ),
}  # fmt: skip


def digits() -> dict[str, NDArray[np.uint8]]:
    """Return MNIST's arrays."""
    with np.load(DATA / "mnist28.npz") as held:
        return {name: held[name] for name in held.files}


def classifier(
    images: NDArray[np.uint8], labels: NDArray[Any], steps: int
) -> nn.Module:
    """Return a classifier of real digits, moved by up to 2 px and a little noisy.

    One that never saw noise tells a background of 3 levels from one of 0, which nobody
    sees, and then all else counts for nothing.
    """
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(5)
    for _ in range(steps):
        rows = rng.integers(0, len(images), 128)
        moves = rng.integers(-2, 3, (len(rows), 2))
        pairs = zip(images[rows], moves, strict=True)
        moved = np.stack([np.roll(one, tuple(by), (0, 1)) for one, by in pairs])
        x = torch.from_numpy(moved)[:, None].float() / 255
        x = x + torch.rand(len(rows), 1, 1, 1) * 0.1 * torch.randn_like(x)
        y = torch.from_numpy(labels[rows]).long()
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: NDArray[np.uint8], labels: Any) -> float:
    """Return the share of images that a classifier gives their label."""
    x = torch.from_numpy(np.ascontiguousarray(images).reshape(-1, 1, 28, 28)).float()
    told = torch.cat([model(one / 255).argmax(1) for one in x.split(500)])
    return float((told.numpy() == np.asarray(labels)).mean())


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Clock(Watcher):
    """Notes the processor time at each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, view: View) -> None:
        """Note the time."""
        del view
        self.times.append(_cpu_s())


def train(arm: str, out: Path, seconds: float, data: Any) -> tuple[Any, dict[str, Any]]:
    """Train an arm for so many seconds of two cores and return it and its cost."""
    networks, options = ARMS[arm]
    told = out / arm / "cost.json"
    if told.exists():
        cost = json.loads(told.read_text(encoding="utf-8"))
        trainer = GANTrainer(
            *networks(),
            data,
            out=out / arm,
            progress=False,
            guard=False,
            judge=Judge(stop_on_copies=False),
            **options,
        )
        return trainer.train(images=cost["images"]), cost
    clock = Clock()
    GANTrainer(
        *networks(), data, out=out / f"{arm}-probe", judge=False, progress=False,
        held_out=0.0, watchers=[clock], **options,
    ).train(images=PROBE * 64)  # fmt: skip
    an_image = (clock.times[-1] - clock.times[9]) / ((PROBE - 10) * 64)
    images = int(SPARE * 2 * seconds / an_image) // 64 * 64
    torch.manual_seed(0)
    trainer = GANTrainer(
        *networks(), data, out=out / arm, progress=False, guard=False,
        judge=Judge(stop_on_copies=False), **options,
    )  # fmt: skip
    started, wall = _cpu_s(), time.monotonic()
    generator = trainer.train(images=images)
    cost = {
        "images": images,
        "cpu_s": round(_cpu_s() - started, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    told.write_text(json.dumps(cost), encoding="utf-8")
    return generator, cost


def _some(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return images by chance: those of this file do not lie in a random order."""
    chosen = np.random.default_rng(7).permutation(len(images))[:count]
    return images[chosen]


def judged(
    generator: Any, model: nn.Module, held: dict[str, NDArray[np.uint8]], count: int
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return figures of a generator, and a grid of its digits."""
    labels = np.repeat(np.arange(10), count)
    seeds = [sample_seed(11, str(y), i % count) for i, y in enumerate(labels)]
    made = np.concatenate([
        generator.generate(seeds[at : at + 250], labels[at : at + 250].tolist())
        for at in range(0, len(seeds), 250)
    ])  # fmt: skip
    total = len(labels)
    tables = [
        features(model, some, progress=False)
        for some in (_some(held["train_x"], total), made, _some(held["test_x"], total))
    ]
    found = measure(*tables).to_dict()
    grid = made.reshape(10, count, 28, 28)[:, :16]
    return {
        "accuracy": accuracy(model, made, labels),
        "metrics": found,
    }, grid


def picture(grids: dict[str, NDArray[np.uint8]], path: Path) -> None:
    """Write grids beside each other, a row a digit."""
    gap = np.full((10 * 28, 12), 255, np.uint8)
    parts: list[NDArray[np.uint8]] = []
    for grid in grids.values():
        rows = grid.transpose(0, 2, 1, 3).reshape(10 * 28, -1)
        parts += [gap, rows] if parts else [rows]
    whole = np.concatenate(parts, 1)
    Image.fromarray(whole).resize((whole.shape[1] * 2, whole.shape[0] * 2), 0).save(
        path, optimize=True
    )


def main() -> None:
    """Train the arms and write figures and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--arms", default="rpgan,dcgan,clip")
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    held = digits()
    model = classifier(held["train_x"], held["train_y"], 1_500)
    data = held["train_x"], held["train_y"].astype(np.int64)
    told: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("fiberaug", "torch", "numpy")},
        "minutes": given.minutes,
        "real_accuracy": accuracy(model, held["test_x"], held["test_y"]),
        "arms": {},
    }
    grids = {}
    for arm in given.arms.split(","):
        generator, cost = train(arm, given.out, given.minutes * 60, data)
        figures, grids[arm] = judged(generator, model, held, PER_CLASS)
        told["arms"][arm] = cost | figures
        picture({arm: grids[arm]}, given.out / f"{arm}.png")
        print(arm, json.dumps(told["arms"][arm], indent=1), flush=True)
    picture(grids, given.out / "arms.png")
    target = given.result or given.out / "gan-mnist.json"
    target.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
