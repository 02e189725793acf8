"""Photos to measure with, and what a result says of where it was measured."""

import os
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
import pytest

import fiberaug

DATA = Path(os.environ.get("FIBERAUG_DATA", Path(__file__).parents[2] / "shared/data"))
PACKAGES = (
    "fiberaug",
    "albumentations",
    "numpy",
    "opencv-python-headless",
    "torch",
    "webdataset",
)


def pytest_benchmark_update_machine_info(config, machine_info):
    """Add the versions, leave out the name of the machine."""
    del config
    machine_info.pop("node", None)
    machine_info["versions"] = {name: version(name) for name in PACKAGES}
    machine_info["cores"] = len(os.sched_getaffinity(0))


def pytest_benchmark_update_commit_info(config, commit_info):
    """Keep the commit alone."""
    del config
    for name in set(commit_info) - {"id", "time", "dirty"}:
        commit_info.pop(name)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, request):
    """Shards of clothing-small, or of 200 rendered photos where it is absent."""
    folder = tmp_path_factory.mktemp("bench") / "shards"
    photos = DATA / "clothing-small/train"
    smoke = request.config.getoption("--benchmark-disable")
    if photos.is_dir() and not smoke:
        fiberaug.convert(photos, folder, shard_size="12MB", progress=False)
    else:
        with fiberaug.ShardWriter(folder, shard_size="1MB", encoding="jpeg") as writer:
            for i in range(200):
                squares = np.random.default_rng(i).integers(
                    0, 256, (12, 16, 3), np.uint8
                )
                image = cv2.resize(squares, (500, 375), interpolation=cv2.INTER_CUBIC)
                writer.write({"__key__": f"{i:04d}", "image": image, "label": i % 10})
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory, request):
    """clothing-small, or 60 rendered photos where it is absent or for smoke."""
    folder = DATA / "clothing-small/train"
    if folder.is_dir() and not request.config.getoption("--benchmark-disable"):
        return folder
    folder = tmp_path_factory.mktemp("photos")
    for i in range(60):
        path = folder / "abc"[i % 3] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (120, 160, 3), np.uint8)
        cv2.imwrite(str(path), noise)
    return folder
