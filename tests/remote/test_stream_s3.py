"""Laws of streaming from an object store, with s3fs and a real S3 server (moto)."""

import hashlib
import itertools

import albumentations as A
import boto3
import pytest
from cutproxy import CutProxy
from moto.server import ThreadedMotoServer

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
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "CANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    write_set(72, shard_size="40kB")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="data")
    for path in (tmp_path / "set").iterdir():
        client.upload_file(str(path), "data", f"photos/{path.name}")
    yield tmp_path / "set", port
    server.stop()


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
    folder, port = bucket
    with CutProxy(port, lambda _: None) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            remote = epoch(
                "s3://data/photos", workers=workers, context=context,
                cache_dir=tmp_path / "cache",
            )  # fmt: skip

    assert remote == epoch(str(folder))
    cached = [p.stat().st_size for p in (tmp_path / "cache").rglob("*.data")]
    files = [p.stat().st_size for p in folder.iterdir() if p.suffix != ".json"]
    assert sorted(cached) == sorted(files)


def test_a_bucket_whose_connections_break_delivers_everything(bucket, tmp_path):
    folder, port = bucket

    def cut(number):
        return 3_000 + 7_919 * number % 20_000 if number % 3 else None

    with CutProxy(port, cut) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        remote = epoch("s3://data/photos", cache_dir=tmp_path / "cache")
        cuts = proxy.cuts

    assert cuts > 0
    assert remote == epoch(str(folder))


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
