"""Laws of indexing: any honest shard becomes countable, no other does."""

import tarfile

import pytest
from sets import cut_jpeg

from fiberaug import StreamingDataset
from fiberaug.errors import SecurityRefused, ShardDamaged, StoreError, UsageError
from fiberaug.jobs.indexing import index_shards
from fiberaug.shards.index import DECODES, ShardIndex
from fiberaug.shards.resolve import resolve


def indexed(shards, **options):
    return index_shards(shards, progress=False, **options)


def test_foreign_shards_become_countable(theirs):
    assert resolve(theirs).counts is None

    done = indexed(theirs)

    assert [(d.name, d.samples, d.members, d.kept) for d in done] == [
        ("00000.tar", 5, 20, False),
        ("00001.tar", 5, 20, False),
    ]
    assert resolve(theirs).counts == (5, 5)
    dataset = StreamingDataset(theirs, train=False, record="none")
    assert dataset.describe() == (
        "image <- jpg, label <- cls, caption? <- txt, ignored: json"
    )
    found = list(dataset)
    assert [s["label"] for s in found] == [i % 2 for i in range(10)]
    assert [s["caption"] for s in found] == [f"no {i}" for i in range(10)]


def test_an_index_that_is_there_is_kept_and_a_damaged_one_made_again(theirs):
    indexed(theirs)
    first = theirs / "00000.tar.idx"
    before = first.stat().st_mtime_ns
    damaged = theirs / "00001.tar.idx"
    damaged.write_bytes(damaged.read_bytes()[:-1])

    assert [d.kept for d in indexed(theirs)] == [True, False]
    assert first.stat().st_mtime_ns == before
    assert [d.kept for d in indexed(theirs)] == [True, True]


def test_indexes_stand_where_they_are_told_to(theirs, tmp_path):
    indexed(theirs, index_dir=tmp_path / "new" / "indexes")

    assert not list(theirs.glob("*.idx"))
    assert resolve(theirs, index_dir=tmp_path / "new/indexes").counts == (5, 5)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make"):
        indexed(theirs, index_dir=tmp_path / "file")


def test_shards_of_one_name_do_not_share_an_index(theirs, tmp_path, foreign, rows):
    (tmp_path / "more").mkdir()
    foreign(tmp_path / "more/00000.tar", rows())
    both = [theirs, tmp_path / "more"]

    with pytest.raises(UsageError, match="overwrite each other"):
        indexed(both, index_dir=tmp_path / "indexes")
    assert len(indexed(both)) == 3, "beside the shards there is room"


def test_the_index_says_what_decodes_when_asked(theirs, foreign, rows):
    foreign(theirs / "00002.tar", [("a", {"jpg": cut_jpeg(0)}), *rows(1)])
    indexed(theirs, decode=True)

    index = ShardIndex.open(theirs / "00002.tar.idx", shard="s")
    assert index.columns["flags"].tolist() == [0, DECODES]


def test_a_damaged_shard_gets_no_index(theirs):
    content = (theirs / "00001.tar").read_bytes()
    (theirs / "00001.tar").write_bytes(content[: len(content) // 2])

    with pytest.raises(ShardDamaged):
        indexed(theirs)

    assert sorted(p.name for p in theirs.glob("*.idx")) == ["00000.tar.idx"]


def test_a_shard_with_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(SecurityRefused, match="link"):
        indexed(tmp_path)


def test_a_new_index_of_a_converted_set_keeps_dataset_json_true(tmp_path):
    """The set is the same whether it is named as a folder or as a glob."""
    from sets import samples

    import fiberaug
    from fiberaug.jobs.indexing import index_shards
    from fiberaug.jobs.verifying import verify
    from fiberaug.shards.resolve import resolve

    folder = tmp_path / "set"
    fiberaug.convert(samples(20), folder, shard_size="40kB", progress=False)
    before = resolve(folder).fingerprint
    done = index_shards(folder, decode=True, progress=False)

    assert not any(one.kept for one in done)
    assert (
        resolve(folder).fingerprint == resolve(f"{folder}/*.tar").fingerprint != before
    )
    assert verify(folder, progress=False).problems == []
    assert all(one.kept for one in index_shards(folder, decode=True, progress=False))


def test_the_indexes_of_a_converted_set_can_lie_elsewhere(tmp_path):
    from sets import samples

    import fiberaug
    from fiberaug.jobs.indexing import index_shards

    folder = tmp_path / "set"
    fiberaug.convert(samples(8), folder, progress=False)
    index_shards(folder, index_dir=tmp_path / "indexes", progress=False)
    for side_car in folder.glob("*.idx"):
        side_car.unlink()

    assert len(fiberaug.StreamingDataset(folder, index_dir=tmp_path / "indexes")) == 8
