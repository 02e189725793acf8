"""Laws of reading: the bytes that webdataset reads, or an error that says where."""

import io
import mmap
import tarfile

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from fiberaug.errors import (
    LimitExceeded,
    SampleBroken,
    ShardDamaged,
    StoreError,
)
from fiberaug.shards.index import Facts, ShardIndex
from fiberaug.shards.pool import ShardPool
from fiberaug.shards.reader import ShardFile, ShardRef, build_index, map_file
from fiberaug.shards.tar import Limits

FILES = [
    ("a/x.JPG", b"first"),
    ("a/x.cls", b"3\n"),
    ("README", b"no sample"),
    ("a/y.jpg", b"second" * 200),
    ("a/y.mask.PNG", b"\0" * 513),
    ("__meta__/info.json", b"{}"),
    ("a/._y.jpg", b"of macOS"),
    ("b z é.jpg", b""),
    ("b z é.txt", "Töne".encode()),
]


def tar(path, files=FILES):
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def indexed(path, **facts):
    """Write the side-car of a shard; return the reference to both."""
    index = build_index(
        map_file(path, shard=path.name),
        shard=path.name,
        describe=lambda *_: Facts(**facts),
    )
    side_car = path.with_suffix(".tar.idx")
    side_car.write_bytes(index.to_bytes())
    return ShardRef(path=str(path), index=str(side_car), samples=len(index))


def as_read(ref, **options):
    file = ShardFile(ref, **options)
    return [
        {"__key__": file.index.key(i)}
        | {name: bytes(data) for name, data in file.read(i).items()}
        for i in range(len(file.index))
    ]


def as_webdataset_reads(path):
    with path.open("rb") as stream:
        files = tar_file_expander([{"url": path.name, "stream": stream}])
        samples = list(group_by_keys(files))
    return [{k: v for k, v in s.items() if k != "__url__"} for s in samples]


@pytest.fixture
def shard(tmp_path):
    return tar(tmp_path / "s.tar")


def test_samples_are_those_of_plain_webdataset(shard):
    expected = [
        {"__key__": "a/x", "jpg": b"first", "cls": b"3\n"},
        {"__key__": "a/y", "jpg": b"second" * 200, "mask.png": b"\0" * 513},
        {"__key__": "b z é", "jpg": b"", "txt": "Töne".encode()},
    ]
    theirs = [s for s in as_webdataset_reads(shard) if s["__key__"] != "a/"]

    assert as_read(ShardRef(path=str(shard))) == theirs == expected
    assert as_read(indexed(shard)) == theirs


def test_neighbours_with_one_key_are_one_sample_and_others_are_not(tmp_path):
    """As in webdataset: a key that comes again later begins another sample."""
    path = tar(
        tmp_path / "s.tar",
        [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.cls", b"3"), ("b.cls", b"4")],
    )

    read = as_read(ShardRef(path=str(path)))

    assert read == as_webdataset_reads(path)
    assert [s["__key__"] for s in read] == ["a", "b", "a", "b"]


def test_the_description_sees_each_key_with_its_members(shard):
    seen = {}

    def describe(key, members):
        seen[key] = {name: len(data) for name, data in members.items()}
        return Facts(label=len(seen))

    index = build_index(map_file(shard, shard="s"), shard="s", describe=describe)

    assert seen == {
        "a/x": {"jpg": 5, "cls": 2},
        "a/y": {"jpg": 1200, "mask.png": 513},
        "b z é": {"jpg": 0, "txt": 5},
    }
    assert index.columns["label"].tolist() == [1, 2, 3]


def test_a_flipped_bit_breaks_its_sample_only_and_says_where(shard):
    ref = indexed(shard)
    offset = ShardFile(ref).index.fields(1)[1].offset
    content = bytearray(shard.read_bytes())
    content[offset + 512] ^= 1
    shard.write_bytes(content)
    file = ShardFile(ref)

    with pytest.raises(SampleBroken, match="CRC-32") as caught:
        file.read(1)

    error = caught.value
    assert (error.shard, error.key, error.offset) == ("s.tar", "a/y", offset)
    assert bytes(file.read(0)["jpg"]) == b"first"
    assert bytes(ShardFile(ref, verify=False).read(1)["jpg"]) == b"second" * 200


def test_a_shard_of_another_size_than_its_index_says_is_refused(shard):
    ref = indexed(shard)
    shard.write_bytes(shard.read_bytes() + bytes(512))

    with pytest.raises(ShardDamaged, match=r"has 20992 bytes, its index says 20480"):
        ShardFile(ref)


def test_a_data_set_that_counts_otherwise_is_refused(shard):
    ref = indexed(shard)

    with pytest.raises(ShardDamaged, match="3 samples, the data set says 4"):
        ShardFile(ShardRef(path=ref.path, index=ref.index, samples=4))


def test_an_index_that_points_outside_of_the_shard_is_refused(shard):
    ref = indexed(shard)
    index = ShardFile(ref).index
    columns = dict(index.columns) | {"offset": np.array(index.columns["offset"])}
    columns["offset"][0] = 2**63
    forged = ShardIndex(columns, shard_bytes=index.shard_bytes, shard="s.tar")
    shard.with_suffix(".tar.idx").write_bytes(forged.to_bytes())

    with pytest.raises(ShardDamaged, match="ends at byte 9223372036854775813 of 20480"):
        ShardFile(ref).read(0)


def test_a_member_above_the_limit_is_refused_before_it_is_read(shard):
    ref, limits = indexed(shard), Limits(member_bytes=1000)

    with pytest.raises(LimitExceeded, match=r"\.jpg has 1200 bytes") as caught:
        ShardFile(ref, limits=limits).read(1)
    with pytest.raises(LimitExceeded):
        ShardFile(ShardRef(path=ref.path), limits=limits)

    assert caught.value.key == "a/y"


def test_an_extension_that_stands_twice_is_refused(tmp_path):
    path = tar(tmp_path / "s.tar", [("a.jpg", b"1"), ("a.JPG", b"2")])

    with pytest.raises(ShardDamaged, match=r"two members \.jpg") as caught:
        ShardFile(ShardRef(path=str(path)))

    assert (caught.value.shard, caught.value.key) == ("s.tar", "a")


def test_a_shard_without_a_sample_is_refused(tmp_path):
    path = tar(tmp_path / "s.tar", [("README", b"1")])

    with pytest.raises(ShardDamaged, match="no sample"):
        ShardFile(ShardRef(path=str(path)))


def test_a_missing_shard_is_a_store_error_and_an_empty_one_is_damaged(tmp_path):
    (tmp_path / "empty.tar").touch()

    with pytest.raises(StoreError, match=r"[Nn]o such"):
        map_file(tmp_path / "no.tar", shard="no.tar")
    with pytest.raises(ShardDamaged, match="0 bytes"):
        map_file(tmp_path / "empty.tar", shard="empty.tar")


def test_members_are_views_of_the_file_not_copies(shard):
    members = ShardFile(indexed(shard)).read(0)

    assert all(isinstance(m.obj, mmap.mmap) for m in members.values())
    assert all(m.readonly for m in members.values())


def test_a_pool_keeps_the_recently_used_shards_open(tmp_path):
    refs = tuple(indexed(tar(tmp_path / f"{i}.tar")) for i in range(4))
    pool = ShardPool(refs, most=2)
    first, second = pool[0], pool[1]

    assert pool[0] is first
    pool[2]  # the least recently used one goes: 1
    assert pool[0] is first
    assert pool[1] is not second
    assert bytes(second.read(0)["jpg"]) == b"first", "a view outlives the pool's hold"


def test_a_pool_counts_without_opening_what_is_known(tmp_path):
    ref = indexed(tar(tmp_path / "a.tar"))
    pool = ShardPool((ref, ShardRef(path=ref.path), ShardRef(path="gone", samples=7)))

    assert [pool.count(i) for i in range(3)] == [3, 3, 7]
