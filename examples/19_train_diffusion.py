"""A small diffusion model trained on photos, and images made of it in several ways.

Run:     python examples/19_train_diffusion.py
Prints:  plan: ... of memory, ... images shown
         shown 2000 images, losses finite: True
         gone on to 2400 images
         ddim 10, unipc 6, guided: 3 x (4, 16, 24, 3)
         one seed, one image, in any batch: True
         half changed: ... levels from the photo, wholly: ...
         a GIF of 6 frames: True
         pool: ring 20, disc 20, of 16x24 px
Why:     A diffusion model is trained as a GAN is: a network, photos, a number of images
         to show, a budget of memory; the same call goes on after Ctrl-C or kill -9.
         Sampler, steps and guidance are chosen when images are made, and a photo can
         be what they begin with. (So short a training learns little: a number of CI.)
"""

import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import torch

import fiberaug
from fiberaug.models import UNet
from fiberaug.synthetic.gifs import write_gif
from fiberaug.training import DiffusionTrainer

CLASSES = ("ring", "disc")


def paint(rng: np.random.Generator, label: int) -> np.ndarray:
    """Return a noisy ring or disc, uint8 [16, 24, 3]."""
    y, x = np.mgrid[:16, :24] - np.array([8, 12])[:, None, None]
    radius = np.hypot(y - rng.uniform(-2, 2), x - rng.uniform(-4, 4))
    inside = radius < 5 if label else abs(radius - 5) < 1.5
    image = np.where(inside[:, :, None], rng.integers(120, 256, 3), 40)
    return np.clip(image + rng.normal(0, 8, (16, 24, 3)), 0, 255).astype(np.uint8)


def main() -> None:
    """Write shards, train, go on, sample, write a pool."""
    folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
    photos = [paint(rng, i % 2) for i in range(256)]
    with fiberaug.ShardWriter(folder / "real", classes=CLASSES) as writer:
        for i, photo in enumerate(photos):
            writer.write({"__key__": f"r{i:03d}", "image": photo, "label": i % 2})

    def trainer() -> DiffusionTrainer:
        torch.manual_seed(0)
        unet = UNet((16, 24), classes=2, width=8)
        return DiffusionTrainer(
            unet, folder / "real", memory="2GB", out=folder / "run", batch_size=40,
            lr="cosine 4e-3 1e-5", judge=False, progress=False,
        )  # fmt: skip

    plan = trainer().plan(images=2000)
    print(f"plan: {plan.peak} bytes of memory, {plan.images} images shown")
    trainer().train(images=2000)
    with (folder / "run/loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    finite = all(math.isfinite(float(row["loss"])) for row in rows)
    print(f"shown {rows[-1]['nimg']} images, losses finite: {finite}")
    model = trainer().train(images=2400)  # the same folder: it goes on
    print("gone on to 2400 images")

    seeds, labels = [1, 2, 3, 4], [0, 0, 1, 1]
    ways = [
        model.generate(seeds, labels, sampler="ddim", steps=10),
        model.generate(seeds, labels, sampler="unipc", steps=6),
        model.generate(seeds, labels, guidance=2.0),
    ]
    print(f"ddim 10, unipc 6, guided: {len(ways)} x {ways[0].shape}")
    alone = model.generate([3], [1], sampler="ddim", steps=10)
    same = bool((alone[0] == ways[0][2]).all())
    print(f"one seed, one image, in any batch: {same}")
    changed = [
        model.generate([5], [0], image=photos[0], strength=strength)
        for strength in (0.5, 1.0)
    ]
    apart = [abs(one[0].astype(int) - photos[0]).mean() for one in changed]
    print(f"half changed: {apart[0]:.0f} levels from the photo, wholly: {apart[1]:.0f}")
    frames = model.frames(5, label=1, every=2)
    gif = write_gif(frames, folder / "denoising.gif")
    print(f"a GIF of {len(frames)} frames: {gif.stat().st_size > 0}")

    pool = fiberaug.Pool.write(model, folder / "pool", per_class=20, progress=False)
    counts = ", ".join(f"{name} {count}" for name, count in pool.counts.items())
    print(f"pool: {counts}, of {pool.size[0]}x{pool.size[1]} px")


if __name__ == "__main__":
    main()
