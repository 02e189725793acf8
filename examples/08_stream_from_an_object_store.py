"""Stream shards from an object store, the same samples as from a folder.

Run:     python examples/08_stream_from_an_object_store.py
         (with an argument, s3://bucket/folder of a set that convert wrote, it reads
         that: AWS_ENDPOINT_URL and the usual credentials say where and who)
Prints:  s3://data/photos: 6 shards, 60 samples, in 2 workers
         the same samples and pixels as from the folder: True
         the cache holds the shards, each fetched once: True
Why:     A shard is fetched before it is needed, resumed where a connection breaks, and
         kept whole and verified in a cache that all workers of a machine share. Where
         it lies does not change the order, a draw or a record, so a run may begin on
         files and go on from a bucket.
"""

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import albumentations as A
import numpy as np

import fiberaug

NAME = "s3://data/photos"


@contextmanager
def object_store(folder: Path) -> Iterator[None]:
    """Run moto's S3 server on this machine, with a folder's files in a bucket."""
    import boto3  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    os.environ["AWS_ENDPOINT_URL"] = "http://{}:{}".format(*server.get_host_and_port())
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[key] = "example"
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="data")
    for path in folder.iterdir():
        client.upload_file(str(path), "data", f"photos/{path.name}")
    yield
    client.close()
    server.stop()


def write_shards(folder: Path) -> Path:
    """Write 60 images in a few shards."""
    with fiberaug.ShardWriter(folder, shard_size="60kB") as writer:
        for i in range(60):
            image = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
            writer.write({"__key__": f"{i:03d}", "image": image, "label": i % 3})
    return folder


def read(shards: str | Path, cache: Path) -> tuple[fiberaug.StreamingDataset, list]:
    """Return the data set and (key, hash of the pixels) of every row."""
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.RandomCrop(24, 24), cache_dir=cache, cache_limit="2GB"
    )
    with fiberaug.DataLoader(dataset, batch_size=8, num_workers=2) as loader:
        rows = [
            (key, hashlib.sha256(image.numpy().tobytes()).hexdigest())
            for batch in loader
            for key, image in zip(batch["__key__"], batch["image"], strict=True)
        ]
    return dataset, rows


def main() -> None:
    """Read a set from a folder and from a bucket, and compare."""
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary) / "cache"
        if len(sys.argv) > 1:
            dataset, rows = read(sys.argv[1], cache)
            print(
                f"{sys.argv[1]}: {len(dataset.shard_set.refs)} shards, {len(rows)} rows"
            )
            return
        folder = write_shards(Path(temporary) / "photos")
        _, local = read(folder, cache)
        with object_store(folder):
            dataset, remote = read(NAME, cache)
        counts = f"{len(dataset.shard_set.refs)} shards, {dataset.num_samples} samples"
        print(f"{NAME}: {counts}, in 2 workers")
        print(f"the same samples and pixels as from the folder: {remote == local}")
        cached = sum(path.stat().st_size for path in cache.rglob("*.data"))
        stored = sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".json")
        print(f"the cache holds the shards, each fetched once: {cached == stored}")


if __name__ == "__main__":
    main()
