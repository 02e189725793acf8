"""A Hub on loopback, and folders to send to it."""

import numpy as np
import pytest
import torch
from hubserver import TOKEN, HubServer

import fiberaug
from fiberaug.hub import sending
from fiberaug.models import Generator
from fiberaug.synthetic.gans import GANGenerator


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that this process sends to, with its token in the environment."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(sending, "_WAITS", (0.01, 0.01))
        yield server


@pytest.fixture
def model(tmp_path):
    """The folder of a tiny generator of three classes."""
    torch.manual_seed(0)
    module = Generator("8x8", classes=3, width=4, z_dim=8)
    notes = {
        "images": 4_000,
        "figures": {"judge/kid": 0.0123, "judge/recall": 0.5, "loss_critic": 0.6},
        "trained_on": {"kind": "shards", "fingerprint": "f" * 64, "photos": 31},
        "options": {"loss": "rpgan"}, "licence": "CC0-1.0",
    }  # fmt: skip
    made = GANGenerator(module, classes=("ant", "bee", "cat"), notes=notes)
    return made.save(tmp_path / "model")


@pytest.fixture
def dataset(tmp_path):
    """Converted shards: three of them."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    with fiberaug.ShardWriter(
        folder, classes=("ant", "bee"), shard_size="20kB"
    ) as writer:
        for i in range(24):
            image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            writer.write({"__key__": f"{i:03d}", "image": image, "label": i % 2})
    return folder


@pytest.fixture
def pool(tmp_path, model):
    """A pool of the generator."""
    fiberaug.Pool.write(
        fiberaug.load(model), tmp_path / "pool", per_class=2, progress=False,
        dedupe=False,
    )  # fmt: skip
    return tmp_path / "pool"
