"""Networks of two older settings, as they are published, to measure ours against.

``DCGenerator`` and ``DCCritic`` follow Radford et al. 2015, table of section 3, with
labels as in Mirza and Osindero 2014. ``OldGenerator`` and ``OldCritic`` are those of
the experiment this project grew from, with labels: batch normalisation in a critic
whose weights are clipped, one layer more for each doubling.
"""

import torch
from torch import nn

__all__ = ["DCCritic", "DCGenerator", "OldCritic", "OldGenerator"]


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)
        nn.init.zeros_(module.bias)


class DCGenerator(nn.Module):
    """Latents and labels to images of 28x28, with batch normalisation."""

    def __init__(
        self, classes: int = 10, channels: int = 1, width: int = 32, z_dim: int = 64
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.labels = nn.Embedding(classes, z_dim)
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(2 * z_dim, 4 * width, 7),
            nn.BatchNorm2d(4 * width), nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.apply(_dcgan_weights)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images, float [B, C, 28, 28]."""
        joined = torch.cat([z.flatten(1), self.labels(labels)], 1)
        made: torch.Tensor = self.layers(joined[:, :, None, None])
        return made


class DCCritic(nn.Module):
    """Images of 28x28 and labels, as planes, to logits."""

    def __init__(self, classes: int = 10, channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.labels = nn.Embedding(classes, 28 * 28)
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 1, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
            nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 4),
        )  # fmt: skip
        self.apply(_dcgan_weights)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return logits, float [B, 1, 1, 1]."""
        plane = self.labels(labels).view(-1, 1, 28, 28)
        told: torch.Tensor = self.layers(torch.cat([images, plane], 1))
        return told


class OldGenerator(nn.Module):
    """Latents to images, by transposed convolutions that halve their channels."""

    def __init__(
        self, classes: int = 10, channels: int = 1, width: int = 64, z_dim: int = 100
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.labels = nn.Embedding(classes, z_dim)
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(z_dim, width, 7), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
            nn.BatchNorm2d(width // 2), nn.ReLU(),
            nn.ConvTranspose2d(width // 2, channels, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images, float [B, C, 28, 28]."""
        given = z.flatten(1) * self.labels(labels)
        made: torch.Tensor = self.layers(given[:, :, None, None])
        return made


class OldCritic(nn.Module):
    """Images and labels to one number, by convolutions that double their channels."""

    def __init__(self, classes: int = 10, channels: int = 1, width: int = 64) -> None:
        super().__init__()
        self.labels = nn.Embedding(classes, 28 * 28)
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 1, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(2 * width * 49, 1),
        )  # fmt: skip

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return one number an image, float [B, 1]."""
        plane = self.labels(labels).view(-1, 1, 28, 28)
        told: torch.Tensor = self.layers(torch.cat([images, plane], 1))
        return told
