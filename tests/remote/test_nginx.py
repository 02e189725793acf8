"""Shards behind a real nginx, with connections that break off at random bytes."""

import hashlib
import random

import albumentations as A
import pytest
from cutproxy import CutProxy
from nginxserver import NGINX, Nginx

import fiberaug
from fiberaug.shards.fetching import NetPolicy, fetch, stat

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]
QUICK = NetPolicy(connect_s=1, read_s=1, retries=6, stall_s=20, backoff_s=0.01)


def cuts(seed, low, high):
    """Return a rule by which every connection breaks off at a random byte."""
    rng = random.Random(seed)
    lengths = [rng.randrange(low, high) for _ in range(10_000)]
    return lengths.__getitem__


@pytest.mark.parametrize("seed", range(3))
def test_an_object_comes_whole_and_once_however_often_it_breaks_off(tmp_path, seed):
    data = random.Random(seed).randbytes(4_000_000)
    (tmp_path / "a.tar").write_bytes(data)
    with (
        Nginx(tmp_path) as server,
        CutProxy(server.port, cuts(seed, 100_000, 900_000)) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}/a.tar"
        remote = fetch(url, tmp_path / "part", policy=QUICK)
        assert (tmp_path / "part").read_bytes() == data
        assert remote == stat(url, policy=QUICK)
        assert proxy.connections > 5
        assert proxy.passed < 1.05 * len(data)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_comes_once_and_as_from_the_folder(write_set, tmp_path, workers):
    write_set(160, shard_size="60kB")
    folder = tmp_path / "set"
    size = sum(path.stat().st_size for path in folder.iterdir())

    def epoch(shards, **options):
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

    with (
        Nginx(folder) as server,
        CutProxy(server.port, cuts(7, 20_000, 70_000)) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}/"
        rows = epoch(url, cache_dir=tmp_path / "cache")
        assert rows == epoch(folder)
        assert len({key for key, _, _ in rows}) == len(rows) == 160
        headers = 400 * proxy.connections  # which the proxy counts too
        assert proxy.passed < 1.05 * size + headers
