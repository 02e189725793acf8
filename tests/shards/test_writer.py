"""Laws of writing: the same bytes again, whole or not at all, plain webdataset."""

import errno
import hashlib
import subprocess
import sys
import textwrap
import zlib

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from fiberaug.errors import LimitExceeded, StoreError, UsageError
from fiberaug.shards import writer as writing
from fiberaug.shards.index import Facts
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.shards.writer import ShardFileWriter

SAMPLES = [
    ("a/x", {"jpg": b"first", "cls": b"0"}),
    ("a/" + "y" * 150, {"jpg": b"second" * 300, "cls": b"1", "mask.png": b""}),
    ("b é", {"cls": b"1", "json": b"{}"}),
]


def describe(_key, members):
    return Facts(label=int(members["cls"]))


def filled(path, samples=SAMPLES):
    writer = ShardFileWriter(path)
    for key, members in samples:
        writer.write(key, members)
    return writer


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_samples_are_the_same_bytes(tmp_path, monkeypatch):
    first = filled(tmp_path / "a.tar").publish(describe)
    monkeypatch.setenv("USER", "somebody else")
    second = filled(tmp_path / "b.tar").publish(describe)

    assert (first.sha256, first.index_crc32) == (second.sha256, second.index_crc32)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_plain_webdataset_reads_what_was_written(tmp_path):
    filled(tmp_path / "a.tar").publish(describe)

    with (tmp_path / "a.tar").open("rb") as stream:
        files = tar_file_expander([{"url": "a.tar", "stream": stream}])
        read = list(group_by_keys(files))

    assert [s.pop("__key__") for s in read] == [key for key, _ in SAMPLES]
    assert [s.pop("__url__") for s in read] == ["a.tar"] * 3
    assert read == [members for _, members in SAMPLES]


def test_the_entry_says_what_the_files_hold(tmp_path):
    entry = filled(tmp_path / "a.tar").publish(describe)
    shard, side_car = tmp_path / "a.tar", tmp_path / "a.tar.idx"

    assert (entry.name, entry.samples) == ("a.tar", 3)
    assert entry.counts == {"0": 1, "1": 2}
    assert entry.bytes == shard.stat().st_size
    assert entry.sha256 == hashlib.sha256(shard.read_bytes()).hexdigest()
    assert entry.index_crc32 == f"{zlib.crc32(side_car.read_bytes()[64:]):08x}"
    file = ShardFile(ShardRef(path=str(shard), index=str(side_car), samples=3))
    assert [
        (file.index.key(i), {k: bytes(v) for k, v in file.read(i).items()})
        for i in range(3)
    ] == SAMPLES


def test_nothing_stands_under_a_final_name_before_it_is_published(tmp_path):
    writer = filled(tmp_path / "a.tar")
    (name,) = listing(tmp_path)
    assert name.startswith(".a.tar.")
    assert name.endswith(".part")

    writer.publish(describe)

    assert listing(tmp_path) == ["a.tar", "a.tar.idx"]


def test_a_discarded_shard_leaves_nothing(tmp_path):
    filled(tmp_path / "a.tar").discard()

    assert listing(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, UsageError("no")])
def test_a_shard_that_cannot_be_described_leaves_nothing(tmp_path, error):
    def fails(_key, _members):
        raise error

    with pytest.raises(error if isinstance(error, type) else UsageError):
        filled(tmp_path / "a.tar").publish(fails)

    assert listing(tmp_path) == []


def test_a_shard_never_stands_without_its_index(tmp_path, monkeypatch):
    def full(path, _data):
        raise StoreError(f"cannot write {path}")

    monkeypatch.setattr(writing, "write_atomically", full)
    with pytest.raises(StoreError, match=r"a\.tar\.idx"):
        filled(tmp_path / "a.tar").publish(describe)

    assert listing(tmp_path) == []


def test_a_member_that_readers_would_refuse_is_refused_now(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_MOST_BYTES", 10)
    writer = ShardFileWriter(tmp_path / "a.tar")

    with pytest.raises(LimitExceeded, match=r"\.jpg has 11 bytes") as caught:
        writer.write("k", {"jpg": bytes(11)})

    assert caught.value.key == "k"
    writer.discard()


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        ShardFileWriter(tmp_path / "no" / "a.tar")


FULL = """
    import os, resource, sys, warnings
    warnings.simplefilter("error")
    from pathlib import Path
    from fiberaug.errors import StoreError
    from fiberaug.shards.index import Facts
    from fiberaug.shards.writer import ShardFileWriter

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
    writer = ShardFileWriter(Path(sys.argv[1], "a.tar"))
    try:
        for i in range(8):
            writer.write(f"k{i}", {"jpg": os.urandom(40_000)})
        writer.publish(lambda key, members: Facts())
    except StoreError as error:
        print(error)
        writer.discard()
"""


@pytest.mark.parametrize("limit", [100_000, 331_000, 700])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, limit):
    """In the middle of a write, in the last blocks, and in the first."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {tmp_path}/a.tar")
    assert listing(tmp_path) == []


def test_a_disk_that_fails_at_the_end_is_a_store_error(tmp_path, monkeypatch):
    def gone(_):
        raise OSError(errno.EIO, "Input/output error")

    writer = filled(tmp_path / "a.tar")
    monkeypatch.setattr("os.fsync", gone)
    with pytest.raises(StoreError, match="Input/output error"):
        writer.publish(describe)

    assert listing(tmp_path) == []
