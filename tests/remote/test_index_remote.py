"""Side-cars of shards that can only be read: written elsewhere, used from there."""

import pytest
from httpfolder import HttpFolder

import fiberaug
from fiberaug.errors import ShardDamaged, UsageError
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.summary import summarize

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep this user's cache in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


@pytest.fixture
def served(write_set, tmp_path):
    """Serve the shards of a set, without their indexes."""
    write_set(24, shard_size="40kB")
    bare = tmp_path / "bare"
    bare.mkdir()
    for shard in (tmp_path / "set").glob("*.tar"):
        (bare / shard.name).write_bytes(shard.read_bytes())
    with HttpFolder(bare) as server:
        yield server, sorted(bare.glob("*.tar"))


def test_remote_shards_are_indexed_into_a_folder_and_are_then_the_local_set(
    served, tmp_path
):
    server, shards = served
    assert len(shards) > 1
    urls = [f"{server.url}/{shard.name}" for shard in shards]
    done = index_shards(urls, index_dir=tmp_path / "index", progress=False)
    assert sum(one.samples for one in done) == 24
    for one in done:
        beside = tmp_path / "set" / one.side_car.name
        assert one.side_car.read_bytes() == beside.read_bytes()
    away = fiberaug.StreamingDataset(
        urls, index_dir=tmp_path / "index", cache_dir=tmp_path / "cache"
    )
    local = fiberaug.StreamingDataset(tmp_path / "set")
    assert len(away) == 24
    assert away.shard_set.fingerprint == local.shard_set.fingerprint
    figures = summarize(urls, index_dir=tmp_path / "index")
    assert figures["samples"] == 24
    assert figures["bytes"] == sum(shard.stat().st_size for shard in shards)


def test_a_remote_shard_has_no_place_beside_it_for_an_index(served):
    server, shards = served
    with pytest.raises(UsageError, match="give index_dir"):
        index_shards(f"{server.url}/{shards[0].name}", progress=False)


def test_a_damaged_remote_shard_gets_no_index_and_is_not_kept(served, tmp_path):
    server, shards = served
    whole = shards[0].read_bytes()
    url, folder = f"{server.url}/{shards[0].name}", tmp_path / "index"
    shards[0].write_bytes(whole[:100] + b"x" + whole[101:])
    with pytest.raises(ShardDamaged):
        index_shards(url, index_dir=folder, progress=False)
    assert not list(folder.iterdir())
    shards[0].write_bytes(whole)
    assert index_shards(url, index_dir=folder, progress=False)[0].samples
