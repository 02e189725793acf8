"""Laws of streaming from an object store, with s3fs and a real S3 server (moto)."""

import hashlib
import itertools
import random

import albumentations as A
import boto3
import pytest
from faultserver import Faults, FaultServer
from s3server import s3_server, use_s3

import fiberaug
from fiberaug.errors import StoreError, UsageError
from fiberaug.shards import buckets
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.resolve import resolve

pytestmark = pytest.mark.timeout(120)
SHAPE = {"window": 16, "lanes": 3, "unit": 4}


@pytest.fixture
def bucket(write_set, tmp_path, monkeypatch):
    """A bucket with a set below ``photos/``; gives (folder, port of the server)."""
    # A process asks the environment for its server once.
    monkeypatch.setattr(buckets, "_file_systems", {})
    write_set(72, shard_size="40kB")
    folder = tmp_path / "set"
    objects = {f"photos/{path.name}": path.read_bytes() for path in folder.iterdir()}
    with s3_server(objects, bucket="data") as port:
        use_s3(monkeypatch, port)
        yield folder, port


def epoch(shards, *, workers=0, context=None, **options):
    transform = A.Compose([A.RandomCrop(24, 24), A.Normalize()])
    data = fiberaug.StreamingDataset(shards, transform=transform, **SHAPE, **options)
    with fiberaug.DataLoader(
        data, 8, num_workers=workers, multiprocessing_context=context
    ) as loader:
        return [
            (key, hashlib.sha256(image.numpy().tobytes()).hexdigest(), str(record))
            for batch in loader
            for key, image, record in zip(
                batch["__key__"], batch["image"], batch["record"], strict=True
            )
        ]


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork")])
def test_a_bucket_streams_as_a_folder_does(bucket, tmp_path, workers, context):
    folder, _ = bucket
    options = {"workers": workers, "context": context, "cache_dir": tmp_path / "cache"}

    assert epoch("s3://data/photos", **options) == epoch(str(folder))
    cached = [p.stat().st_size for p in (tmp_path / "cache").rglob("*.data")]
    files = [p.stat().st_size for p in folder.iterdir() if p.suffix != ".json"]
    assert sorted(cached) == sorted(files)


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork")])
def test_a_bucket_that_breaks_at_random_bytes_delivers_all_and_no_byte_twice(
    bucket, tmp_path, monkeypatch, workers, context
):
    folder, port = bucket
    drawn = random.Random(workers)
    sizes = {p.name: p.stat().st_size for p in folder.glob("*.tar")}
    with FaultServer(upstream=f"127.0.0.1:{port}") as before:
        before.faults = {
            f"/data/photos/{name}": Faults(cuts=drawn.sample(range(1, size), 4))
            for name, size in sizes.items()
        }
        use_s3(monkeypatch, before.port)
        rows = epoch(
            "s3://data/photos", workers=workers, context=context,
            cache_dir=tmp_path / "cache",
        )  # fmt: skip

    assert rows == epoch(str(folder))
    assert not any(faults.cuts for faults in before.faults.values())
    for name, size in sizes.items():
        # A signed URL knows no HEAD: asking for size and version costs one byte.
        assert 0 <= before.sent[f"/data/photos/{name}"] - size <= 8


def test_a_bucket_is_listed(bucket, tmp_path):
    folder, _ = bucket
    (folder / "dataset.json").unlink()
    client = boto3.client("s3")
    client.delete_object(Bucket="data", Key="photos/dataset.json")
    cache = ShardCache(tmp_path / "cache")
    local = resolve(folder)
    for shards in ("s3://data/photos", "s3://data/photos/", "s3://data/photos/*.tar",
                   "s3://data/photos/shard-00000?.tar"):  # fmt: skip
        found = resolve(shards, cache=cache)
        assert found.fingerprint == local.fingerprint, shards

    some = resolve("s3://data/photos/shard-00000[01].tar", cache=cache)
    assert len(some.refs) == 2
    for nothing in ("s3://data/photos/x*.tar", "s3://data/empty/"):
        with pytest.raises((UsageError, StoreError)):
            resolve(nothing, cache=cache)


def test_a_missing_bucket_is_named_and_no_secret_is(bucket, tmp_path):
    del bucket
    with pytest.raises(StoreError, match="none/a") as caught:
        resolve("s3://none/a.tar", cache=ShardCache(tmp_path / "cache"))

    told = itertools.chain([caught.value], [caught.value.__cause__])
    assert all("CANARY" not in str(error) for error in told)
