"""Laws of naming shards: however a set is described, it is the same set."""

import shutil

import pytest
import webdataset

from fiberaug.errors import (
    DataRefused,
    SecurityRefused,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.shards.index import Facts
from fiberaug.shards.manifest import FILE, Manifest
from fiberaug.shards.resolve import expand, resolve
from fiberaug.shards.writer import ShardFileWriter


def write(path, samples=2):
    writer = ShardFileWriter(path)
    for i in range(samples):
        writer.write(f"{path.stem}-{i}", {"jpg": b"x", "cls": str(i).encode()})
    return writer.publish(lambda *_: Facts())


@pytest.fixture
def folder(tmp_path):
    """Eleven shards with indexes, so that 10 has to come after 9."""
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(11):
        write(folder / f"train-{i}.tar", samples=1 + i % 2)
    return folder


@pytest.fixture
def described(folder):
    """The same shards, listed by ``dataset.json``."""
    entries = [write(folder / f"train-{i}.tar", samples=1 + i % 2) for i in range(11)]
    manifest = Manifest(shards=tuple(entries), classes=("a", "b"))
    (folder / FILE).write_bytes(manifest.to_bytes())
    return folder


def names(paths):
    return [path.name for path in paths]


IN_ORDER = [f"train-{i}.tar" for i in range(11)]


def test_every_description_names_the_shards_in_natural_order(folder):
    braces = f"{folder}/train-{{0..10}}.tar"
    several = [
        f"{folder}/train-{{0..4}}.tar",
        folder / "train-5.tar",
        f"{folder}/train-[6-9].tar",
        f"file://{folder}/train-10.tar",
    ]
    pipeline = webdataset.WebDataset(braces, shardshuffle=False)
    for shards in (
        folder,
        str(folder),
        f"{folder}/",
        f"file://{folder}",
        f"file:{folder}",
        f"file://localhost{folder}",
        braces,
        f"{folder}/*.tar",
        f"{folder}/train-{{?,10}}.tar",
        several,
        tuple(several),
        pipeline,
        webdataset.DataPipeline(
            webdataset.SimpleShardList(braces), webdataset.tarfile_to_samples()
        ),
    ):
        assert names(expand(shards)) == IN_ORDER, shards


def test_a_description_of_the_same_shards_has_the_same_fingerprint(described):
    shards = [described, str(described), f"file://{described}", f"{described}/*.tar",
              f"{described}/train-{{0..10}}.tar", [described]]  # fmt: skip
    sets = [resolve(each) for each in shards]

    assert len({each.fingerprint for each in sets}) == 1
    assert {each.counts for each in sets} == {(1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)}
    assert all(each.manifest.classes == ("a", "b") for each in sets)


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_place(
    described, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(described, copy)
    first = resolve(described).fingerprint

    assert resolve(copy).fingerprint == first
    assert resolve(f"{copy}/*.tar").fingerprint == first
    assert resolve(f"{copy}/train-{{0..9}}.tar").fingerprint != first
    write(copy / "train-3.tar", samples=1)
    assert resolve(f"{copy}/*.tar").fingerprint != first


def test_a_data_set_is_opened_by_its_list_alone(described):
    """Side-cars are read when they are needed; a stray tar is none of the set."""
    (described / "train-3.tar.idx").unlink()
    write(described / "another.tar")

    found = resolve(described)

    assert [ref.name for ref in found.refs] == IN_ORDER
    assert found.counts is not None


def test_all_shards_have_an_index_or_none_counts(folder):
    """A plan needs every count."""
    assert resolve(folder).counts is not None
    (folder / "train-4.tar.idx").unlink()

    found = resolve(folder)

    assert found.counts is None
    assert {ref.index for ref in found.refs} == {None}
    (folder / "train-5.tar.idx").unlink()
    assert resolve(folder).fingerprint == found.fingerprint


def test_indexes_may_stand_in_a_folder_of_their_own(folder, tmp_path):
    elsewhere = tmp_path / "indexes"
    elsewhere.mkdir()
    for side_car in folder.glob("*.idx"):
        side_car.rename(elsewhere / side_car.name)

    found = resolve(folder, index_dir=elsewhere)

    assert resolve(folder).counts is None
    assert found.counts == (1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)
    assert found.refs[0].index == str(elsewhere / "train-0.tar.idx")


def test_a_shard_that_changed_after_indexing_is_refused(folder):
    with (folder / "train-2.tar").open("ab") as shard:
        shard.write(bytes(512))

    with pytest.raises(ShardDamaged, match="its index says") as caught:
        resolve(folder)

    assert caught.value.shard == "train-2.tar"


def test_two_shards_of_one_name_are_refused(folder, tmp_path):
    """Samples are named by shard: a name twice would be each sample twice."""
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "train-1.tar", other)

    with pytest.raises(DataRefused, match="one file name"):
        resolve([folder, other])
    with pytest.raises(DataRefused, match="one file name"):
        resolve([folder, f"{folder}/train-1.tar"])


@pytest.mark.parametrize(
    "shards",
    ["pipe:cat a.tar", ["a.tar", "pipe:curl http://x/a.tar"], "pipe:gsutil cat {0..9}"],
    ids=["alone", "in a list", "with braces"],
)
def test_a_shell_command_is_refused(shards):
    with pytest.raises(SecurityRefused, match="runs a command"):
        expand(shards)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/{0..9}.tar",
        "gs://b/a.tar",
        "http://h/a.tar",
        "https://user:secret@h/a.tar",
        "hf://datasets/a/b.tar",
    ],
)
def test_work_on_local_shards_names_a_remote_one_without_its_password(url):
    with pytest.raises(UsageError, match="is remote") as caught:
        expand(url)

    assert url.partition(":")[0] in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ais://bucket/a.tar", "ftp://user:secret@h/a.tar"])
def test_a_protocol_that_is_not_read_is_named_without_its_password(url):
    with pytest.raises(UsageError, match="protocol") as caught:
        expand(url)

    assert url.partition(":")[0] in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_whose_name_looks_like_a_protocol_is_a_file(tmp_path, monkeypatch):
    write(tmp_path / "data:v2.tar")
    monkeypatch.chdir(tmp_path)

    assert names(expand("data:v2.tar")) == ["data:v2.tar"]


def test_a_compressed_shard_is_refused_with_the_remedy(tmp_path):
    for name in ("a.tar.gz", "b.tgz", "c.tar.zst"):
        (tmp_path / name).write_bytes(b"\x1f\x8b")
        with pytest.raises(UsageError, match=r"unpack it\s+to a plain"):
            resolve(tmp_path / name)


def test_a_missing_shard_is_a_store_error(folder):
    with pytest.raises(StoreError, match=r"train-11\.tar"):
        resolve(f"{folder}/train-{{0..11}}.tar")


def test_a_folder_of_images_is_told_how_it_becomes_shards(tmp_path):
    (tmp_path / "a.jpg").touch()

    with pytest.raises(UsageError, match="fiberaug convert"):
        resolve(tmp_path)


@pytest.mark.parametrize(
    "nothing", ["", " ", [], "/no/such/*.tar", b"a.tar", {"a.tar": 1}, 7, None, [7]]
)
def test_what_names_no_shard_is_a_usage_error(nothing):
    with pytest.raises(UsageError):
        resolve(nothing)


def test_braces_that_do_not_close_are_named():
    with pytest.raises(UsageError, match="braces"):
        expand("train-{0..9.tar")


def test_a_long_list_in_braces_is_no_file_name(folder):
    """No file name has 300 characters; asking the system for one is an error there."""
    some = ",".join(["0", "1", "2"] + ["10"] * 100)

    assert len(expand(f"{folder}/train-{{{some}}}.tar")) == 103
    with pytest.raises(StoreError):
        resolve("x" * 300)
    with pytest.raises(StoreError):
        resolve("a\0b.tar")


def test_numbers_that_are_no_digits_sort_as_text(tmp_path):
    for name in ("a²1.tar", "a10.tar", "a9.tar"):
        write(tmp_path / name)

    assert names(expand(tmp_path)) == ["a9.tar", "a10.tar", "a²1.tar"]


def plain(**options):
    return webdataset.WebDataset("a-{0..1}.tar", **{"shardshuffle": False} | options)


@pytest.mark.parametrize(
    ("pipeline", "stage"),
    [
        (lambda: plain().decode("rgb8"), "map"),
        (lambda: plain().map(print), "map"),
        (lambda: plain().to_tuple("jpg", "cls"), "to_tuple"),
        (lambda: plain().select(print), "select"),
        (lambda: plain(select_files=print), "select_files"),
        (lambda: plain().with_epoch(10), "with_epoch"),
        (lambda: plain(resampled=True), "ResampledShards"),
        (lambda: webdataset.DataPipeline(print), "no list of shards"),
    ],
    ids=list("abcdefgh"),
)
def test_work_in_a_webdataset_is_not_lost_without_a_word(pipeline, stage):
    with pytest.raises(UsageError, match=stage):
        expand(pipeline())


@pytest.mark.parametrize(
    "options",
    [{}, {"shardshuffle": 100}, {"detshuffle": True}, {"empty_check": False},
     {"nodesplitter": webdataset.split_by_node}],
    ids=list("abcde"),
)  # fmt: skip
def test_a_plain_webdataset_is_taken_for_its_shards(options):
    assert names(expand(plain(**options))) == ["a-0.tar", "a-1.tar"]
    assert names(expand(plain(**options).shuffle(1000))) == ["a-0.tar", "a-1.tar"]
