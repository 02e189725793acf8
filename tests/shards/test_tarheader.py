"""The blocks around members: to the bit those of tarfile, hence of webdataset."""

import io
import tarfile
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.writer import TarWriter

from fiberaug.errors import SecurityRefused, UsageError
from fiberaug.shards.index import COLUMNS, Facts
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.shards.tarheader import end_of_archive, member_header
from fiberaug.shards.writer import ShardFileWriter, check_key

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=130),
    st.integers(80, 120).map("y".__mul__),
    st.integers(900, 1020).map("yé".__mul__),  # a record whose length has more digits
)
EXTENSIONS = st.sampled_from(["jpg", "cls", "json", "mask.png", "a.b.c", "x é", "0"])
DATA = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([0, 1, 511, 512, 513, 10_239, 10_240, 30_000]).map(bytes),
)


def by_tarfile(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@given(name=NAMES, size=st.one_of(st.integers(0, 8**11 - 1), st.just(8**11 - 1)))
def test_a_header_is_the_one_of_tarfile(name, size):
    assert member_header(name, size) == by_tarfile(name, size)


@pytest.mark.parametrize("length", range(80, 120))
@pytest.mark.parametrize("letter", ["y", "é", "漢", "\U0001f600"])
def test_names_of_every_length_around_the_field_are_those_of_tarfile(length, letter):
    name = letter * length
    assert member_header(name, 5) == by_tarfile(name, 5)


@pytest.mark.parametrize("size", [-1, 8**11])
def test_a_size_that_has_no_field_is_refused(size):
    with pytest.raises(UsageError, match=str(size)):
        member_header("a.jpg", size)


@given(blocks=st.integers(0, 60))
def test_the_end_is_two_blocks_and_a_full_record(blocks):
    end = end_of_archive(512 * blocks)
    assert end == bytes(len(end))
    assert len(end) >= 1024
    assert (512 * blocks + len(end)) % tarfile.RECORDSIZE == 0
    assert len(end) - 1024 < tarfile.RECORDSIZE


def storable(sample):
    try:
        check_key(*sample)
    except (UsageError, SecurityRefused):
        return False
    return True


KEYS = st.text(st.sampled_from("ab/é漢 -_%"), min_size=1, max_size=110)
SAMPLES = st.lists(
    st.tuples(KEYS, st.dictionaries(EXTENSIONS, DATA, min_size=1, max_size=3)).filter(
        storable
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda sample: sample[0],
)


def describe(_key, members):
    return Facts(label=len(members), width=sum(map(len, members.values())))


def by_webdataset(samples):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = TarWriter(file, user="", group="", mode=0o644, encoder=False, mtime=0)
    for key, members in samples:
        writer.write({"__key__": key, **members})
    writer.close()
    return file.getvalue()


def written(path, samples, *, read_back=False):
    writer = ShardFileWriter(path, describe=None if read_back else describe)
    for key, members in samples:
        writer.write(key, members)
    return writer.publish(describe if read_back else None)


@settings(max_examples=60, deadline=None)
@given(samples=SAMPLES)
def test_a_shard_is_the_one_of_webdatasets_writer(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("set")
    written(folder / "a.tar", samples)
    assert (folder / "a.tar").read_bytes() == by_webdataset(samples)


@settings(max_examples=60, deadline=None)
@given(samples=SAMPLES)
def test_the_index_made_on_the_way_is_the_one_read_back(tmp_path_factory, samples):
    one, other = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    assert written(one / "a.tar", samples) == written(
        other / "a.tar", samples, read_back=True
    )
    indexes = [(folder / "a.tar.idx").read_bytes() for folder in (one, other)]
    assert indexes[0] == indexes[1]

    shard = ShardFile(ShardRef(path=str(one / "a.tar"), index=f"{one}/a.tar.idx"))
    assert set(shard.index.columns) == set(COLUMNS)
    read = [
        (shard.index.key(i), {k: bytes(v) for k, v in shard.read(i).items()})
        for i in range(len(samples))
    ]
    assert read == samples


def test_members_that_begin_with_an_underscore_are_written(tmp_path):
    samples = [("a", {"jpg": b"1", "_notes": b"2"})]
    written(tmp_path / "a.tar", samples)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["a._notes", "a.jpg"]


def test_a_sample_without_members_is_refused(tmp_path):
    writer = ShardFileWriter(tmp_path / "a.tar", describe=describe)
    with pytest.raises(UsageError, match="'a' has no member"):
        writer.write("a", {})
    writer.discard()
    assert not list(tmp_path.iterdir())
