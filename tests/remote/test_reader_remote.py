"""Laws of remote shards that are open, and of fetching them ahead."""

import threading
import time
from dataclasses import replace

import pytest
from httpfolder import HttpFolder

from fiberaug.ahead import live_bytes
from fiberaug.errors import SampleBroken, ShardDamaged, StoreError, UsageError
from fiberaug.plan import Plan
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.fetchers import Fetchers
from fiberaug.shards.opening import RemoteFile, open_shard, read_index
from fiberaug.shards.pool import ShardPool
from fiberaug.shards.readahead import windows_that_fit
from fiberaug.shards.reader import ShardFile
from fiberaug.shards.resolve import resolve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def served(write_set, tmp_path):
    write_set(120, shard_size="40kB")
    with HttpFolder(tmp_path / "set") as server:
        yield server


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache")


def refs(served, cache):
    return resolve(served.url, cache=cache).refs


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def members(file, i):
    return {name: bytes(content) for name, content in file.read(i).items()}


def test_a_remote_shard_reads_as_its_file(served, cache):
    ref = refs(served, cache)[0]
    remote = open_shard(ref, cache)
    local = ShardFile(resolve(served.folder).refs[0])

    assert remote.location == ref.path
    assert [members(remote, i) for i in range(len(remote.index))] == [
        members(local, i) for i in range(len(local.index))
    ]


def test_the_index_is_there_without_the_shard(served, cache):
    ref = refs(served, cache)[0]
    file = open_shard(ref, cache)

    assert file.index.key(0) == read_index(ref, cache).key(0) == "k000"
    assert served.gets[ref.name] == 0


def test_a_remote_shard_needs_a_cache(served, cache):
    with pytest.raises(UsageError, match="is remote"):
        open_shard(refs(served, cache)[0])


def test_a_side_car_that_is_not_the_data_sets_is_damage(served, cache):
    ref = replace(refs(served, cache)[0], digest="00000000")
    with pytest.raises(ShardDamaged, match="00000000"):
        open_shard(ref, cache)


def test_an_html_page_in_place_of_a_shard_is_damage_and_never_cached(served, cache):
    ref = replace(refs(served, cache)[0], index=None, samples=None, bytes=None)
    (served.folder / ref.name).write_bytes(b"<html>" * 500)
    with pytest.raises(ShardDamaged) as caught:
        open_shard(ref, cache)

    assert caught.value.shard == ref.name
    assert list(cache.root.rglob("*.data")) == []


@pytest.mark.parametrize("indexed", [True, False], ids=["index", "no index"])
def test_a_body_without_a_length_that_was_cut_is_damage(served, tmp_path, indexed):
    cache = ShardCache(tmp_path / "cache")
    ref = refs(served, cache)[0]
    if not indexed:
        ref = replace(ref, index=None, samples=None)
    served.length = False
    served.cut_after = lambda name, _: 20_000 if name == ref.name else None
    with pytest.raises(ShardDamaged) as caught:
        open_shard(ref, cache).read(0)

    assert caught.value.shard == ref.name
    assert not [p for p in cache.root.rglob("*.data") if p.stat().st_size == 20_000]


def test_bytes_that_are_wrong_in_the_store_too_break_their_sample(served, cache):
    ref = refs(served, cache)[0]
    file = open_shard(ref, cache)
    field = file.index.fields(3)[0]
    content = bytearray((served.folder / ref.name).read_bytes())
    content[field.offset] ^= 1
    (served.folder / ref.name).write_bytes(content)
    with pytest.raises(SampleBroken, match="CRC-32"):
        file.read(3)

    file.read(2)
    assert served.sent[ref.name] == 2 * len(content)


def test_a_shard_that_nobody_reads_any_more_is_let_go(served, cache):
    pool = ShardPool(refs(served, cache), cache=cache)
    kept, dropped = pool[0], pool[1]
    pool.move([0], [])

    assert pool[0] is kept
    assert pool[1] is not dropped


def test_shards_that_are_read_are_the_last_to_go(served, tmp_path):
    limit = sum(p.stat().st_size for p in served.folder.iterdir()) // 2
    cache = ShardCache(tmp_path / "cache", limit=limit)
    all_refs = refs(served, cache)
    pool = ShardPool(all_refs, cache=cache)
    pool[0].read(0)
    for shard in range(1, len(all_refs)):
        time.sleep(0.01)  # a file system's clock ticks in milliseconds
        pool.move([0], [])
        pool[shard].read(0)
    pool.move([], [])  # nothing is mapped: what is read comes from the cache
    pool[0].read(0)

    assert served.sent[all_refs[0].name] == all_refs[0].bytes


def test_shards_ahead_are_fetched_in_the_background(served, cache):
    all_refs = refs(served, cache)
    pool = ShardPool(all_refs, cache=cache)
    pool.move([], [0, 1])
    for ref in all_refs[:2]:
        wait_for(lambda ref=ref: served.sent[ref.name] == ref.bytes)
    gets = dict(served.gets)
    file = pool[1]
    file.read(0)

    assert isinstance(file, RemoteFile)
    assert served.gets == gets
    assert served.gets[all_refs[2].name] == 0


def test_what_fails_in_the_background_fails_where_it_is_read(served, cache):
    all_refs = refs(served, cache)
    served.status[all_refs[0].name] = 403
    pool = ShardPool(all_refs, cache=cache)
    pool.move([], [0])
    wait_for(lambda: not pool._fetchers.busy)
    with pytest.raises(StoreError, match="403") as caught:
        pool[0].read(0)

    assert caught.value.shard == all_refs[0].name


def test_fetchers_do_every_item_once_at_most_so_many_at_a_time_and_end():
    lock, running, seen, most = threading.Lock(), set(), [], []
    gate = threading.Event()

    def work(item):
        with lock:
            running.add(item)
            most.append(len(running))
        gate.wait(20)
        with lock:
            running.discard(item)
            seen.append(item)
        if item == 3:
            raise StoreError("it does not answer")

    fetchers = Fetchers(work, most=3)
    fetchers.want(range(8))
    fetchers.want(range(8))
    wait_for(lambda: len(most) == 3)
    gate.set()
    wait_for(lambda: not fetchers.busy)

    assert sorted(seen) == list(range(8))
    assert max(most) == 3


def test_dropped_fetchers_begin_nothing_more():
    gate, seen = threading.Event(), []

    def work(item):
        seen.append(item)
        gate.wait(20)

    fetchers = Fetchers(work, most=1)
    fetchers.want(range(50))
    wait_for(lambda: seen)
    jobs = fetchers._jobs
    del fetchers
    gate.set()
    wait_for(lambda: not jobs.threads)

    assert seen == [0]


def test_the_next_window_is_fetched_where_the_cache_has_room(served, tmp_path):
    cache = ShardCache(tmp_path / "cache")
    all_refs = refs(served, cache)
    counts = tuple(ref.samples for ref in all_refs)
    plan = Plan(counts=counts, lanes=1, window=20)
    sizes = [ref.bytes for ref in all_refs]
    live = live_bytes(plan, sizes)

    assert live < live_bytes(plan, sizes, windows=2)
    assert windows_that_fit(all_refs, plan, cache) == 2
    small = ShardCache(tmp_path / "cache", limit=live)
    assert windows_that_fit(all_refs, plan, small) == 1
    with pytest.raises(UsageError, match="cache_limit"):
        windows_that_fit(all_refs, plan, ShardCache(tmp_path, limit=live - 1))
    assert windows_that_fit(all_refs, plan, None) == 1
