"""Laws of the cache: one fetch a node, sound files only, never more than its limit."""

import multiprocessing
import os
import signal
import stat
import time
import traceback
from pathlib import Path

import pytest
from filelock import FileLock
from httpfolder import HttpFolder

from fiberaug.errors import SecurityRefused, ShardDamaged, StoreError, UsageError
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.cachefolder import default_folder
from fiberaug.shards.fetching import NetPolicy
from fiberaug.shards.fetching import stat as stat_object

pytestmark = pytest.mark.timeout(60)
QUICK = NetPolicy(retries=2, stall_s=5, backoff_s=0.01)
SPAWN = multiprocessing.get_context("spawn")


def anything(_path, _data):
    """A check that everything passes."""


def begins(text: bytes):
    """A check that a file begins as it should."""

    def check(_path, data):
        if data[: len(text)] != text:
            raise ShardDamaged("it begins otherwise")

    return check


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.bin").write_bytes(bytes([65 + i]) * 100_000)
    with HttpFolder(folder) as server:
        yield server


def opened(cache, url, check=anything):
    return bytes(cache.open(url, shard="s", check=check).data)


def objects(cache):
    return sorted(cache.root.rglob("*.data"))


def parts(cache):
    return sorted(cache.root.rglob("*.part"))


def test_an_object_is_fetched_once_and_is_what_the_store_has(served, tmp_path):
    cache = ShardCache(tmp_path / "cache")

    for _ in range(3):
        assert opened(cache, f"{served.url}/0.bin") == b"A" * 100_000
    assert opened(ShardCache(tmp_path / "cache"), f"{served.url}/0.bin")[:1] == b"A"
    assert served.sent["0.bin"] == 100_000


def test_two_urls_with_one_file_name_do_not_meet(served, tmp_path):
    cache = ShardCache(tmp_path / "cache")
    for name in ("x", "y"):
        (served.folder / name).mkdir()
        (served.folder / name / "s.tar").write_bytes(name.encode() * 50)

    assert opened(cache, f"{served.url}/x/s.tar") == b"x" * 50
    assert opened(cache, f"{served.url}/y/s.tar") == b"y" * 50


def test_another_version_of_an_object_is_another_file(served, tmp_path):
    url = f"{served.url}/0.bin"
    opened(ShardCache(tmp_path / "cache"), url)
    (served.folder / "0.bin").write_bytes(b"new" * 10)

    assert opened(ShardCache(tmp_path / "cache"), url) == b"new" * 10


def test_an_object_that_changed_since_it_was_named_is_no_file_of_the_old_one(
    served, tmp_path
):
    cache, url = ShardCache(tmp_path / "cache", policy=QUICK), f"{served.url}/0.bin"
    known = stat_object(url)
    (served.folder / "0.bin").write_bytes(b"Z" * 100_000)
    with pytest.raises(StoreError, match="changed"):
        cache.open(url, shard="s", known=known, check=anything)
    assert not objects(cache)
    assert not parts(cache)
    assert opened(cache, url) == b"Z" * 100_000


def test_a_signature_in_the_query_names_no_other_object(served, tmp_path):
    for signature in ("one", "two"):
        url = f"{served.url}/0.bin?X-Amz-Signature={signature}"
        opened(ShardCache(tmp_path / "cache"), url)

    assert served.sent["0.bin"] == 100_000


def test_the_longest_unused_go_and_the_limit_is_kept(served, tmp_path):
    cache = ShardCache(tmp_path / "cache", limit=320_000)
    paths = {}
    for i in (0, 1, 2):
        paths[i] = cache.open(f"{served.url}/{i}.bin", shard="s", check=anything).path
        time.sleep(0.01)  # a file system's clock ticks in milliseconds
    cache.touch([paths[0]])
    for i in (3, 4):
        time.sleep(0.01)
        opened(cache, f"{served.url}/{i}.bin")
        assert cache.size() <= cache.limit

    assert paths[0].exists()
    assert not paths[1].exists()
    assert not paths[2].exists()


def test_a_removed_file_that_is_open_stays_readable(served, tmp_path):
    cache = ShardCache(tmp_path / "cache", limit=150_000)
    first = cache.open(f"{served.url}/0.bin", shard="s", check=anything)
    opened(cache, f"{served.url}/1.bin")

    assert not first.path.exists()
    assert bytes(first.data) == b"A" * 100_000


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_a_file_that_fails_its_check_is_never_in_the_cache(tmp_path, length):
    (tmp_path / "page").write_bytes(b"<html>")
    cache = ShardCache(tmp_path / "cache", policy=QUICK)
    with HttpFolder(tmp_path, length=length) as server:
        for _ in range(2):
            with pytest.raises(ShardDamaged, match="otherwise"):
                opened(cache, f"{server.url}/page", begins(b"tar"))
            assert objects(cache) == parts(cache) == []


def test_a_damaged_file_of_the_cache_is_fetched_again_once(served, tmp_path):
    url, check = f"{served.url}/0.bin", begins(b"A")
    cache = ShardCache(tmp_path / "cache")
    path = cache.open(url, shard="s", check=check).path
    path.write_bytes(b"B" * 100_000)

    assert opened(cache, url, check) == b"A" * 100_000
    assert served.sent["0.bin"] == 200_000


def test_a_cut_file_of_the_cache_is_fetched_again(served, tmp_path):
    url = f"{served.url}/0.bin"
    cache = ShardCache(tmp_path / "cache")
    with cache.open(url, shard="s", check=anything).path.open("r+b") as file:
        file.truncate(99_999)

    assert opened(cache, url) == b"A" * 100_000


def test_wrong_bytes_are_renewed_once_and_by_one_process(served, tmp_path):
    url = f"{served.url}/0.bin"
    cache, other = ShardCache(tmp_path / "cache"), ShardCache(tmp_path / "cache")
    mine, its = (c.open(url, shard="s", check=anything) for c in (cache, other))

    assert cache.renew(url, mine)
    new = cache.open(url, shard="s", check=anything)
    assert other.renew(url, its)  # has another file already
    assert new.path.exists()
    assert not cache.renew(url, new)  # the store has the same wrong bytes
    assert served.sent["0.bin"] == 200_000


def test_parts_of_dead_processes_are_swept_and_those_of_live_ones_kept(
    served, tmp_path
):
    url = f"{served.url}/0.bin"
    cache = ShardCache(tmp_path / "cache")
    folder = cache.open(url, shard="s", check=anything).path.parent
    dead, live = (folder / f"{c * 64}.9.1-1-0.part" for c in "ab")
    for part in (dead, live):
        part.write_bytes(b"half")
    with FileLock(folder / "locks" / "bbb"):
        opened(ShardCache(tmp_path / "cache"), url)

    assert not dead.exists()
    assert live.exists()


def fetch_one(root, url, results):
    data = ShardCache(root).open(url, shard="s", check=anything).data
    results.put((os.getpid(), len(data)))


def test_two_processes_never_fetch_one_object_twice(served, tmp_path):
    results = SPAWN.Queue()
    served.hold.clear()
    arguments = (tmp_path / "cache", f"{served.url}/0.bin", results)
    children = [SPAWN.Process(target=fetch_one, args=arguments) for _ in range(3)]
    for child in children:
        child.start()
    assert served.held.wait(30)
    served.hold.set()
    sizes = {results.get(timeout=30)[1] for _ in children}
    for child in children:
        child.join(30)

    assert sizes == {100_000}
    assert served.sent["0.bin"] == 100_000


def test_who_waits_takes_over_from_a_killed_process_with_its_bytes(served, tmp_path):
    size = 4_000_000
    (served.folder / "large").write_bytes(bytes(range(250)) * (size // 250))
    url, cache = f"{served.url}/large", ShardCache(tmp_path / "cache")
    served.hold.clear()
    results = SPAWN.Queue()
    child = SPAWN.Process(target=fetch_one, args=(cache.root, url, results))
    child.start()
    assert served.held.wait(30)
    while sum(part.stat().st_size for part in parts(cache)) < size // 4:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    served.hold.set()
    cache._ready = True  # as a process that was there before: it sweeps nothing

    assert opened(cache, url) == bytes(range(250)) * (size // 250)
    assert served.sent["large"] <= size * 1.3  # at least a quarter was kept
    assert parts(cache) == []


def test_a_missing_object_is_an_error_that_names_no_secret(served, tmp_path):
    host = served.url.removeprefix("http://")
    url = f"http://me:CANARY@{host}/gone.tar?X-Amz-Signature=CANARY"
    with pytest.raises(StoreError, match=r"gone\.tar") as caught:
        opened(ShardCache(tmp_path / "cache"), url)

    assert "404" in str(caught.value)
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))
    assert not [p for p in (tmp_path / "cache").rglob("*") if "CANARY" in p.name]


def test_the_folder_is_the_users_alone(served, tmp_path):
    cache = ShardCache(tmp_path / "cache")
    path = cache.open(f"{served.url}/0.bin", shard="s", check=anything).path

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_is_refused(served, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(SecurityRefused, match="written by all"):
        opened(ShardCache(tmp_path / "cache"), f"{served.url}/0.bin")
    (tmp_path / "other" / "fiberaug-1").mkdir(parents=True)
    (tmp_path / "other" / "fiberaug-1").chmod(0o770)
    with pytest.raises(SecurityRefused, match="written by others"):
        opened(ShardCache(tmp_path / "other"), f"{served.url}/0.bin")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "fiberaug-1").symlink_to(tmp_path)
    with pytest.raises(SecurityRefused, match="link"):
        opened(ShardCache(tmp_path / "third"), f"{served.url}/0.bin")


def test_a_link_in_place_of_an_object_is_not_followed(served, tmp_path):
    cache = ShardCache(tmp_path / "cache")
    url = f"{served.url}/0.bin"
    path = cache.open(url, shard="s", check=anything).path
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"B" * 100_000)
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match="of the cache"):
        opened(cache, url)


def test_a_cache_smaller_than_what_is_read_side_by_side_is_refused(tmp_path):
    cache = ShardCache(tmp_path, limit="1GB")
    cache.require(1_000_000_000)
    with pytest.raises(UsageError, match=r"1\.0 GB.*2\.5 GB.*raise cache_limit"):
        cache.require(2_500_000_000)


def test_a_limit_that_is_no_size_is_refused():
    with pytest.raises(UsageError, match="cache_limit"):
        ShardCache(limit="much")


def test_the_default_folder_is_this_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fiberaug"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path("~/.cache/fiberaug").expanduser()
