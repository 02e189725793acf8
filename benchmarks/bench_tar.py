"""Time to walk one shard of 2,000 samples (10 KB jpg, cls): us a member, median.

The strict reader touches only the headers. tarfile and webdataset as used in training
read the data, too, so `bench_strict_scan_with_crc` reads and checks every byte.

Shard `plain` has one header a member. Shard `webdataset`, as TarWriter makes it, has
a pax header with the time before each, so there are two headers a member to check.
"""

import io
import mmap
import random
import tarfile
import zlib

import pytest
import webdataset

from fiberaug.shards.tar import scan

SAMPLES = 2_000
MEMBERS = 2 * SAMPLES


@pytest.fixture(scope="module", params=["plain", "webdataset"])
def shard(request, tmp_path_factory):
    """Return the path of a shard, in the page cache."""
    path = tmp_path_factory.mktemp("bench") / "bench.tar"
    rng = random.Random(0)
    # a whole number of seconds fits into the header itself
    mtime = 0 if request.param == "plain" else None
    with webdataset.TarWriter(str(path), mtime=mtime) as writer:
        for k in range(SAMPLES):
            jpg = rng.randbytes(rng.randrange(9_000, 11_000))
            writer.write({"__key__": f"sample{k:06d}", "jpg": jpg, "cls": k % 1000})
    path.read_bytes()
    return path


def report(benchmark, count_members, shard):
    """Time a reader and check that it saw every member."""
    seen = benchmark.pedantic(
        count_members, args=(shard,), rounds=7, iterations=1, warmup_rounds=1
    )
    if benchmark.stats is not None:  # None: run once, unmeasured
        us = benchmark.stats.stats.median / MEMBERS * 1e6
        benchmark.extra_info["us_per_member"] = round(us, 2)
    assert seen == MEMBERS


def opened(path):
    """Return the shard as an mmap that outlives its file."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def bench_strict_scan(benchmark, shard):
    def count(path):
        with opened(path) as data:
            return sum(1 for _ in scan(data, shard=path.name))

    report(benchmark, count, shard)


def bench_strict_scan_with_crc(benchmark, shard):
    def count(path):
        seen = 0
        with opened(path) as data, memoryview(data) as view:
            for _, offset, size, _ in scan(data, shard=path.name):
                zlib.crc32(view[offset : offset + size])
                seen += 1
        return seen

    report(benchmark, count, shard)


def bench_tarfile(benchmark, shard):
    def count(path):
        seen = 0
        with io.FileIO(path) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                tar.extractfile(member).read()
                seen += 1
                tar.members = []  # as webdataset does, or the list grows
        return seen

    report(benchmark, count, shard)


# It leaves its file to the garbage collector, which is a warning and not the question.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def bench_webdataset(benchmark, shard):
    def count(path):
        samples = webdataset.WebDataset(str(path), shardshuffle=False)
        return sum(not field.startswith("__") for s in samples for field in s)

    report(benchmark, count, shard)
