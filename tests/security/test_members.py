"""Only regular files come out of a tar, of a bounded size, in bounded time."""

import shutil
import subprocess
import tarfile

import pytest
from limited import run_limited
from sets import photo
from tars import END, block, entry, header_bytes, pax, record, shard

import fiberaug
from fiberaug.errors import (
    DataRefused,
    LimitExceeded,
    SecurityRefused,
    ShardDamaged,
)
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.index import Field, IndexBuilder
from fiberaug.shards.reader import ShardFile, ShardRef, build_index, map_file
from fiberaug.shards.tar import Limits, scan

IMAGE = encode_image(photo(0), "png")
KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "contiguous sparse": tarfile.GNUTYPE_SPARSE,
}


def read(data):
    return list(scan(data, shard="s.tar"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_is_no_file_is_refused_and_never_followed(tmp_path, kind):
    info = tarfile.TarInfo("k.png")
    info.type, info.linkname = KINDS[kind], "/etc/hostname"
    path = tmp_path / "s.tar"
    path.write_bytes(entry("a.png", IMAGE) + header_bytes(info))

    with pytest.raises(SecurityRefused, match=r"expected a regular file"):
        list(fiberaug.StreamingDataset(str(path), fields={"image": "png"}))


SCAN = """
    from pathlib import Path
    for path in map(Path, sys.argv[1:]):
        try:
            shard = ShardFile(ShardRef(path=str(path)))
            for i in range(len(shard.index)):
                shard.read(i)
            print(path.name, "read")
        except FiberAugError as error:
            print(path.name, type(error).__name__)
    print("peak", "low" if peak_mib() < 200 else peak_mib())
"""


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program here")
@pytest.mark.timeout(60)
def test_a_sparse_file_of_a_gigabyte_is_refused_in_little_memory(tmp_path):
    with (tmp_path / "k.jpg").open("wb") as hole:
        hole.truncate(2**30)
    made = []
    for name, options in {
        "gnu.tar": ["--format=gnu"],
        "pax0.tar": ["--format=posix", "--sparse-version=0.1"],
        "pax1.tar": ["--format=posix", "--sparse-version=1.0"],
    }.items():
        subprocess.run(
            ["tar", "--sparse", *options, "-cf", name, "k.jpg"],  # noqa: S607
            cwd=tmp_path,
            check=True,
        )
        made.append(tmp_path / name)
        assert made[-1].stat().st_size < 20_000
    said = run_limited(SCAN, *made).splitlines()

    assert said == [f"{path.name} SecurityRefused" for path in made] + ["peak low"]


@pytest.mark.timeout(60)
def test_a_declared_size_above_the_limit_is_refused_before_memory_is_taken(tmp_path):
    huge = tmp_path / "huge.tar"
    with huge.open("wb") as file:  # honest about its size, and all hole
        file.write(block(b"k.png", b"%011o\0" % (300 * 2**20)))
        file.truncate(300 * 2**20 + 1536)
    lying = tmp_path / "lying.tar"
    lying.write_bytes(block(b"k.png", b"%011o\0" % (7 * 2**30)) + END)
    base256 = tmp_path / "base256.tar"
    base256.write_bytes(block(b"k.png", b"\x80" + b"\xff" * 11) + END)
    said = run_limited(SCAN, huge, lying, base256).splitlines()

    assert said == [
        "huge.tar LimitExceeded",
        "lying.tar LimitExceeded",
        "base256.tar LimitExceeded",
        "peak low",
    ]
    for size in (b"-0000000001\0", b"-0000001000\0", b"\xff" * 12):
        with pytest.raises(ShardDamaged, match=r"negative|octal"):
            read(block(b"k.png", size) + END)


def test_the_members_of_a_sample_are_limited_together(tmp_path):
    """Two that are allowed by themselves, with and without an index."""
    members = [("k.png", IMAGE), ("k.txt", b"x" * 3000), ("k.json", b"[" * 3000)]
    path = shard(tmp_path / "s.tar", [*members, ("l.png", IMAGE)])
    limits = Limits(sample_bytes=len(IMAGE) + 5999)
    with pytest.raises(LimitExceeded, match="sample_bytes") as caught:
        ShardFile(ShardRef(path=str(path)), limits=limits)
    assert (caught.value.key, caught.value.offset) == ("k", 512)

    index = build_index(map_file(path, shard="s.tar"), shard="s.tar")
    side_car = path.with_name("s.tar.idx")
    side_car.write_bytes(index.to_bytes())
    opened = ShardFile(ShardRef(path=str(path), index=str(side_car)), limits=limits)
    with pytest.raises(LimitExceeded, match="sample_bytes"):
        opened.read(0)
    assert set(opened.read(1)) == {"png"}
    assert Limits().sample_bytes == 2 * Limits().member_bytes == 512 * 2**20


def test_an_index_that_names_one_region_a_thousand_times_is_refused(tmp_path):
    """Written by a stranger, its checksums fit."""
    path = tmp_path / "s.tar"
    with path.open("wb") as file:
        file.write(block(b"k.png", b"%011o\0" % (200 * 2**20)))
        file.truncate(512 + 200 * 2**20 + 1024)
    builder = IndexBuilder("s.tar")
    builder.add("k", [Field(f"x{i}", 512, 200 * 2**20, None) for i in range(1000)])
    side_car = tmp_path / "s.tar.idx"
    index = builder.finish(shard_bytes=path.stat().st_size, checksums=False)
    side_car.write_bytes(index.to_bytes())

    with pytest.raises(LimitExceeded, match="sample_bytes"):
        ShardFile(ShardRef(path=str(path), index=str(side_car))).read(0)


def test_a_pax_header_of_the_largest_size_is_read_at_once():
    """Whatever it holds: the work is counted in tests/shards/test_tar.py."""
    bombs = [
        b"".join(record(b"k%d" % i, b"") for i in range(5000))[: 2**16],
        b"1" * 2**16,
        record(b"k", b"=" * 65_000),
        b"9 a=b\n" * 10_000,
    ]
    for body in bombs:
        size = b"%011o\0" % len(body)
        padded = body + bytes(-len(body) % 512)
        with pytest.raises(DataRefused):
            read(block(b"p", size, b"x") + padded)
    with pytest.raises(LimitExceeded, match="extended_header_bytes"):
        read(pax((b"comment", b"x" * 2**16)) + entry("a.png") + END)
