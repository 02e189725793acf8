"""A whole epoch behind a real nginx, with connections that break at random bytes."""

import hashlib
import random

import albumentations as A
import pytest
from faultserver import Faults, FaultServer
from nginxserver import NGINX, Nginx

import fiberaug

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]


def epoch(shards, workers, **options):
    """Key, SHA-256 of the pixels and record of each sample of an epoch."""
    dataset = fiberaug.StreamingDataset(
        shards,
        transform=A.Compose([A.RandomCrop(24, 24), A.Normalize()]),
        window=32,
        lanes=2,
        **options,
    )
    with fiberaug.DataLoader(dataset, 8, num_workers=workers) as loader:
        return [
            (key, hashlib.sha256(image.numpy().tobytes()).hexdigest(), str(record))
            for batch in loader
            for key, image, record in zip(
                batch["__key__"], batch["image"], batch["record"], strict=True
            )
        ]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_comes_once_as_from_the_folder_and_no_byte_twice(
    write_set, tmp_path, workers
):
    write_set(160, shard_size="60kB")
    folder = tmp_path / "set"
    drawn = random.Random(workers)
    sizes = {f"/{path.name}": path.stat().st_size for path in folder.iterdir()}
    with (
        Nginx(folder) as server,
        FaultServer(upstream=f"127.0.0.1:{server.port}") as before,
    ):
        before.faults = {
            path: Faults(cuts=drawn.sample(range(1, size), 4), how=how)
            for path, size in sizes.items()
            for how in [drawn.choice(["reset", "close"])]
            if path.endswith(".tar")
        }
        rows = epoch(before.base + "/", workers, cache_dir=tmp_path / "cache")
        assert rows == epoch(str(folder), workers)
        assert len({key for key, _, _ in rows}) == len(rows) == 160
        for path, faults in before.faults.items():
            assert not faults.cuts
            assert before.sent[path] == sizes[path]
