"""Laws of the side-car: what went in comes out, and no damage goes unseen."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import ShardDamaged, StoreError
from fiberaug.shards.index import (
    COLUMNS,
    Facts,
    Field,
    IndexBuilder,
    ShardIndex,
    read_head,
)

ENTRY = struct.Struct("<24s8sQQ")
HEADER = 64

text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
facts = st.builds(
    Facts,
    label=st.integers(-1, 2**63 - 1),
    width=u32,
    height=u32,
    orientation=st.integers(0, 8),
    boxes=u32,
    group=u64,
    weight=st.floats(width=32, allow_nan=False),
    flags=st.integers(0, 255),
    segments=st.lists(st.integers(0, 65_535), max_size=5).map(
        lambda lengths: struct.pack(f"<{len(lengths)}H", *lengths)
    ),
)
members = st.dictionaries(text, st.tuples(u64, u64, u32), min_size=1, max_size=4)
whole_shards = st.lists(st.tuples(text, members, facts), max_size=6)


def built(samples=(), *, checksums=True, shard_bytes=10_240):
    builder = IndexBuilder("a.tar")
    for key, fields, known in samples:
        builder.add(key, [Field(e, *place) for e, place in fields.items()], known)
    return builder.finish(shard_bytes=shard_bytes, checksums=checksums)


SMALL = built(
    [
        ("x/a", {"jpg": (512, 100, 7), "cls": (1536, 1, 8)}, Facts(label=3, width=4)),
        ("x/b", {"jpg": (2560, 90, 9)}, Facts(label=3, height=5)),
    ]
)


def opened(content, folder):
    path = folder / "a.tar.idx"
    path.write_bytes(content)
    return ShardIndex.open(path, shard="a.tar")


def refused(content, folder, words):
    with pytest.raises(ShardDamaged, match=words) as caught:
        opened(content, folder)
    assert caught.value.shard == "a.tar"
    assert "fiberaug index" in str(caught.value), "the remedy"


def directory(content):
    count = struct.unpack_from("<I", content, 12)[0]
    return [ENTRY.unpack_from(content, HEADER + 48 * i) for i in range(count)]


def sealed(head, body):
    """Return a side-car whose checksums fit what it says."""
    head = list(head)
    head[6:] = [HEADER + len(body), zlib.crc32(body)]
    start = struct.pack("<8sIIQQQQI", *head)
    return start + struct.pack("<I8x", zlib.crc32(start)) + body


def head_of(content):
    return struct.unpack_from("<8sIIQQQQI", content)


def forged(change):
    """Return the small side-car after ``change`` of its columns, with its checksums."""
    columns = {name: np.array(column) for name, column in SMALL.columns.items()}
    change(columns)
    return ShardIndex(columns, shard_bytes=10_240, shard="a.tar").to_bytes()


@given(whole_shards, st.booleans(), u64)
@settings(deadline=None, max_examples=60)
def test_an_index_comes_back_as_it_was_made(
    tmp_path_factory, samples, checksums, shard_bytes
):
    index = built(samples, checksums=checksums, shard_bytes=shard_bytes)

    again = opened(index.to_bytes(), tmp_path_factory.mktemp("index"))

    assert len(again) == len(samples)
    assert again.shard_bytes == shard_bytes
    assert again.to_bytes() == index.to_bytes()
    for i, (key, fields, known) in enumerate(samples):
        assert again.key(i) == key
        assert again.fields(i) == [
            Field(e, o, s, c if checksums else None) for e, (o, s, c) in fields.items()
        ]
        told = known._asdict()
        lengths = struct.unpack(f"<{len(told['segments']) // 2}H", told.pop("segments"))
        ends = again.segment_ends(i)
        if lengths:
            starts = [0, *(end + 2 for end in ends.tolist()[:-1])]
            assert tuple(ends - starts) == lengths
        else:
            assert ends is None
        assert {n: again.columns[n][i].item() for n in told} == told
        assert samples[again.find(key)][0] == key


def test_the_rank_of_a_sample_counts_its_class_in_the_shard():
    labels = [4, -1, 4, 0, 4, -1]

    index = built([(f"k{i}", {"jpg": (0, 0, 0)}, Facts(label=x))
                   for i, x in enumerate(labels)])  # fmt: skip

    assert index.columns["class_rank"].tolist() == [0, 0, 1, 0, 2, 1]


def test_columns_lie_at_multiples_of_64_bytes():
    assert all(entry[2] % 64 == 0 for entry in directory(SMALL.to_bytes()))


def test_an_open_index_states_the_checksum_that_the_data_set_lists(tmp_path):
    content = SMALL.to_bytes()

    assert opened(content, tmp_path).digest == f"{zlib.crc32(content[64:]):08x}"


@pytest.mark.parametrize("kind", [b"|u1", b"bfloat16"])
def test_a_column_of_a_later_release_is_skipped(tmp_path, kind):
    content = SMALL.to_bytes()
    head = list(head_of(content))
    entries = directory(content)
    grown = [(n, k, offset + 64, length) for n, k, offset, length in entries]
    at = len(content) + 64
    grown.insert(0, (b"sharpness", kind, at, 2))
    body = b"".join(ENTRY.pack(*entry) for entry in grown)
    body += bytes(16) + content[HEADER + 48 * len(entries) :] + b"\1\2"
    head[2] += 1

    index = opened(sealed(head, body), tmp_path)

    assert [index.key(i) for i in range(2)] == ["x/a", "x/b"]
    assert index.fields(1) == SMALL.fields(1)
    assert set(index.columns) == set(COLUMNS)


@pytest.mark.parametrize("xor", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_seen(tmp_path, xor):
    content = SMALL.to_bytes()
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= xor
        with pytest.raises(ShardDamaged):
            opened(flipped, tmp_path)


def test_every_cut_is_seen(tmp_path):
    content = SMALL.to_bytes()
    for size in range(len(content)):
        with pytest.raises(ShardDamaged):
            opened(content[:size], tmp_path)
    refused(content + b"\0", tmp_path, "checksum")


def test_the_header_alone_counts_and_names_a_shard(tmp_path):
    content = SMALL.to_bytes()
    index = opened(content, tmp_path)
    path = tmp_path / "a.tar.idx"

    path.write_bytes(content[:HEADER])  # the rest is not read
    head = read_head(path, shard="a.tar")
    assert (head.samples, head.members, head.shard_bytes) == (2, 3, 10_240)
    assert (head.size, head.digest) == (len(content), index.digest)

    for at in range(HEADER):
        flipped = bytearray(content)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(ShardDamaged):
            read_head(path, shard="a.tar")
    path.unlink()
    with pytest.raises(StoreError):
        read_head(path, shard="a.tar")


def test_an_empty_file_and_another_file_are_no_index(tmp_path):
    refused(b"", tmp_path, "is empty")
    refused(b"GIF89a" + bytes(100), tmp_path, "is no index")


def test_a_newer_version_is_named(tmp_path):
    content = SMALL.to_bytes()
    head = list(head_of(content))
    head[1] = 2

    refused(sealed(head, content[HEADER:]), tmp_path, "has version 2.* reads 1 to 1")


def test_a_missing_file_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match=r"no\.idx"):
        ShardIndex.open(tmp_path / "no.idx", shard="a.tar")


def test_a_missing_column_is_named():
    columns = {n: c for n, c in SMALL.columns.items() if n != "offset"}

    with pytest.raises(ShardDamaged, match=r"\['offset'\]"):
        ShardIndex(columns, shard_bytes=1, shard="a.tar")


def put(name, row, value):
    return lambda columns: columns[name].__setitem__(row, value)


def cut_column(name):
    return lambda columns: columns.__setitem__(name, columns[name][:-1])


@pytest.mark.parametrize(
    "change",
    [
        put("first_member", 1, 9),
        put("members", 1, 2**32 - 1),
        put("extension", 0, 2),
        put("key_offset", 1, 100),
        put("key_offset", -1, 7),
        cut_column("size"),
        cut_column("label"),
        cut_column("keys"),
        cut_column("key_offset"),
    ],
    ids=[str(i) for i in range(9)],
)
def test_rows_that_point_nowhere_are_refused_though_the_checksums_fit(tmp_path, change):
    """A side-car comes from strangers like its shard."""
    refused(forged(change), tmp_path, "rows")


def test_a_column_of_another_type_or_outside_of_the_file_is_refused(tmp_path):
    content = SMALL.to_bytes()
    entries = directory(content)
    rest = content[HEADER + 48 * len(entries) :]
    for change in (
        lambda entry: (entry[0], b"|O", *entry[2:]),
        lambda entry: (*entry[:3], 2**40),
        lambda entry: (*entry[:2], 2**63, entry[3]),
    ):
        body = b"".join(ENTRY.pack(*change(e)) for e in entries) + rest
        refused(sealed(head_of(content), body), tmp_path, "column")


def test_a_key_that_is_no_utf8_does_not_stop_a_run(tmp_path):
    index = opened(forged(put("keys", 0, 0xFF)), tmp_path)

    assert index.key(0) == r"\xff/a"


def test_one_sample_has_an_extension_once():
    with pytest.raises(ShardDamaged, match=r"two members \.jpg") as caught:
        IndexBuilder("a.tar").add("k", [Field("jpg", 5, 1, 0), Field("jpg", 9, 1, 0)])

    assert (caught.value.key, caught.value.offset) == ("k", 9)


def test_more_extensions_than_the_column_holds_are_refused():
    """Photos called ``photo.<number>.jpg`` have as many extensions as photos."""
    builder = IndexBuilder("a.tar")
    fields = [Field(f"{i}.jpg", i, 1, 0) for i in range(2**16 + 1)]
    builder.add("photo", fields[:-1])

    with pytest.raises(ShardDamaged, match="first dot"):
        builder.add("photo2", fields[-1:])


def test_an_index_without_segments_has_not_one_byte_more():
    names = [entry[0].rstrip(b"\0").decode() for entry in directory(SMALL.to_bytes())]
    assert names == list(COLUMNS)
    assert SMALL.segment_ends(0) is None


MARKED = built(
    [
        ("a", {"jpg": (512, 100, 7)}, Facts(segments=struct.pack("<2H", 40, 41))),
        ("b", {"jpg": (1024, 100, 7)}, Facts()),
    ]
)


def test_a_reader_that_does_not_know_segments_reads_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("fiberaug.shards.indexformat._KNOWN", COLUMNS)
    again = opened(MARKED.to_bytes(), tmp_path)
    assert [again.key(i) for i in range(2)] == ["a", "b"]
    assert again.segment_ends(0) is None


MISFITS = {
    "lengths are gone": lambda columns: columns.pop("segments"),
    "offsets are gone": lambda columns: columns.pop("segment_offset"),
    "beyond the end": lambda c: c.update(segment_offset=np.array([0, 2, 3], "<u4")),
    "falling": lambda c: c.update(segment_offset=np.array([2, 0, 2], "<u4")),
    "too few": lambda c: c.update(segment_offset=np.array([0, 2], "<u4")),
}


@pytest.mark.parametrize("name", MISFITS)
def test_segments_that_do_not_fit_their_offsets_are_damage(name, tmp_path):
    columns = {name: np.array(column) for name, column in MARKED.columns.items()}
    MISFITS[name](columns)
    content = ShardIndex(columns, shard_bytes=10_240, shard="a.tar").to_bytes()
    refused(content, tmp_path, "rows")
