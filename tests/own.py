"""Operations that users write; in a module of their own, so that workers find them."""

import random

import numpy as np
import torch

import fiberaug

__all__ = ["Shuffle", "Speckle", "three_generators", "torch_jitter"]


def torch_jitter(image):
    """As torchvision's transforms draw: from torch's global generator alone."""
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    if torch.rand(1) < 0.5:
        tensor = tensor.flip(-1)
    factor = torch.empty(1).uniform_(0.6, 1.4)
    noise = torch.randn(tensor.shape) * 0.05
    return ((tensor * factor + noise).clamp(0, 1) * 255).to(torch.uint8)


def three_generators(sample):
    """As people write it: whichever generator is at hand."""
    image = sample["image"].astype(np.int16)
    image += random.randint(-20, 20)
    image += np.random.randint(-20, 20, image.shape[:2])[..., None]
    image[torch.rand(image.shape[:2]).numpy() < 0.05] = 0
    sample["image"] = np.clip(image, 0, 255).astype(np.uint8)
    sample["tone"] = random.gauss(0, 1) + np.random.randn()
    return sample


class Speckle(fiberaug.ImageProcessor):
    """Noise of a drawn strength, from its own generator and a global one."""

    def __init__(self, most=30):
        self.most = most

    def _process(self, image):
        self.level = int(self.rng.integers(1, self.most))
        noise = self.rng.integers(-self.level, self.level + 1, image.shape)
        return np.clip(image + noise + random.randint(0, 3), 0, 255).astype(np.uint8)

    def _process_info(self):
        return {"level": self.level}


class Shuffle(fiberaug.TextProcessor):
    """The words of a caption in another order."""

    def _process(self, text):
        words = text.split()
        self.order = self.rng.permutation(len(words)).tolist()
        return " ".join(words[i] for i in self.order)

    def _process_info(self):
        return {"order": self.order}
