"""Trains a tiny GAN or a diffusion model, as a rank or alone, and prints its hash."""

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from fiberaug.models import Critic, Generator, UNet
from fiberaug.training import DiffusionTrainer, GANTrainer
from fiberaug.training.contracts import Verdict, Watcher
from fiberaug.training.states import latest


def photos():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (60, 8, 12, 3), dtype=np.uint8)
    labels = np.arange(60) % 2
    images[labels == 1] //= 3
    return images, labels


class Stops(Watcher):
    """Ends the training by itself at a step, as a watcher of the user's."""

    def __init__(self, at):
        self.at = at

    def step(self, view):
        return Verdict(stop="enough") if view.step == self.at else None


def main(out, images, loss="rpgan", stops="0"):
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # the first rank's weights win
    options = {
        "out": out, "batch_size": 12, "seed": 5, "memory": "8GB", "judge": False,
        "progress": False, "held_out": 0.0, "save_every": 36,
        "watchers": [Stops(int(stops))] if int(stops) else [],
    }  # fmt: skip
    if loss == "noise":
        trainer = DiffusionTrainer(UNet((8, 12), 2, width=8), photos(), **options)
    else:
        generator = Generator((8, 12), 2, width=4, z_dim=5)
        critic = Critic((8, 12), 2, width=4)
        trainer = GANTrainer(generator, critic, photos(), loss=loss, **options)
    trainer.train(images=int(images))
    if int(os.environ.get("RANK", "0")) == 0:
        state = latest(Path(out))
        digest = sha256()
        flat = []
        for name, tensors in sorted(state.tensors.items()):
            for key, value in sorted(tensors.items()):
                digest.update(f"{name}/{key}".encode() + value.numpy().tobytes())
                if name == "average":
                    flat += value.flatten().tolist()
        told = {"sha256": digest.hexdigest(), "average": flat}
        sys.stdout.write(json.dumps(told | {"nimg": state.facts["nimg"]}) + "\n")
    if world > 1:
        dist.destroy_process_group()


main(*sys.argv[1:])
