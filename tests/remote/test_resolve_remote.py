"""What URLs name, and what is known of shards behind them."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import webdataset
from httpfolder import HttpFolder

import fiberaug
from fiberaug.errors import (
    DataRefused,
    SecurityRefused,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.remote import home_of
from fiberaug.shards.resolve import resolve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(write_set, tmp_path):
    write_set(60, shard_size="60kB")
    return tmp_path / "set"


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache")


def names(found):
    return [ref.name for ref in found.refs]


@pytest.mark.parametrize("manifest", [True, False], ids=["dataset.json", "side-cars"])
def test_a_set_is_the_same_set_in_a_folder_and_behind_a_url(folder, cache, manifest):
    local = resolve(folder)
    if not manifest:
        (folder / "dataset.json").unlink()
    with HttpFolder(folder) as server:
        spelled = [f"{server.url}/{name}" for name in names(local)]
        braces = f"{server.url}/shard-{{000000..{len(spelled) - 1:06d}}}.tar"
        pipeline = webdataset.WebDataset(braces, shardshuffle=False)
        ways = [spelled, braces, pipeline]
        ways += [server.url, f"{server.url}/"] if manifest else []
        for shards in ways:
            found = resolve(shards, cache=cache)
            assert found.fingerprint == local.fingerprint
            assert found.counts == local.counts
            assert names(found) == names(local)
            assert [ref.digest for ref in found.refs] == [
                ref.digest for ref in local.refs
            ]
            assert [ref.bytes for ref in found.refs] == [
                (folder / name).stat().st_size for name in names(local)
            ]
            assert (found.manifest is not None) == manifest


def test_opening_a_set_that_has_a_manifest_reads_it_alone(folder, cache):
    with HttpFolder(folder) as server:
        resolve(server.url, cache=cache)
        assert set(server.gets) == {"dataset.json"}


def test_a_set_without_side_cars_is_one_without_an_index_and_the_same(folder, cache):
    for path in [*folder.glob("*.idx"), folder / "dataset.json"]:
        path.unlink()
    local = resolve(folder)
    with HttpFolder(folder) as server:
        found = resolve([f"{server.url}/{n}" for n in names(local)], cache=cache)

    assert found.counts is None
    assert found.fingerprint == local.fingerprint


def test_side_cars_come_from_the_index_folder_first(folder, cache, tmp_path):
    indexes = tmp_path / "indexes"
    indexes.mkdir()
    local = resolve(folder)
    (folder / "dataset.json").unlink()
    for path in folder.glob("*.idx"):
        path.rename(indexes / path.name)
    with HttpFolder(folder) as server:
        shards = [f"{server.url}/{n}" for n in names(local)]
        found = resolve(shards, index_dir=indexes, cache=cache)

    assert found.fingerprint == local.fingerprint
    assert all(str(ref.index).startswith(str(indexes)) for ref in found.refs)


def test_a_query_is_the_shards_alone(folder, cache):
    with HttpFolder(folder) as server:
        url = f"{server.url}/shard-000000.tar?X-Amz-Signature=CANARY"
        (ref,) = resolve([url], cache=cache).refs

    assert ref.path == url
    assert ref.index == f"{server.url}/shard-000000.tar.idx"
    assert ref.name == "shard-000000.tar"
    assert ref.location == ref.place == f"{server.url}/shard-000000.tar"
    assert home_of(url) == f"{server.url}/"


def test_a_missing_shard_is_named(folder, cache):
    with HttpFolder(folder) as server, pytest.raises(StoreError) as caught:
        resolve([f"{server.url}/gone.tar?secret=1"], cache=cache)

    assert caught.value.shard == "gone.tar"
    assert f"{server.url}/gone.tar" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_two_shards_with_one_file_name_are_refused(folder, cache):
    with (
        HttpFolder(folder) as server,
        pytest.raises(DataRefused, match="one file name") as caught,
    ):
        resolve(
            [f"{server.url}/a.tar?secret=1", f"{server.url}/x/a.tar?secret=2"],
            cache=cache,
        )
    assert "secret" not in str(caught.value)


def test_a_shard_of_another_size_than_its_index_is_damaged(folder, cache):
    (folder / "dataset.json").unlink()
    with (folder / "shard-000000.tar").open("ab") as file:
        file.write(bytes(512))
    with (
        HttpFolder(folder) as server,
        pytest.raises(ShardDamaged, match="its index says") as caught,
    ):
        resolve(f"{server.url}/shard-000000.tar", cache=cache)
    assert caught.value.shard == "shard-000000.tar"


def test_a_damaged_side_car_is_damage(folder, cache):
    (folder / "dataset.json").unlink()
    path = folder / "shard-000000.tar.idx"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with HttpFolder(folder) as server, pytest.raises(ShardDamaged, match="checksum"):
        resolve(f"{server.url}/shard-000000.tar", cache=cache)


def test_a_manifest_that_names_a_path_is_refused(folder, cache):
    content = json.loads((folder / "dataset.json").read_text())
    content["shards"][0]["name"] = "../shard-000000.tar"
    (folder / "dataset.json").write_text(json.dumps(content))
    with HttpFolder(folder) as server, pytest.raises(SecurityRefused, match="plain"):
        resolve(server.url, cache=cache)


@pytest.mark.parametrize("text", ["", "/*.tar", "/shard-00000[01].tar"])
def test_http_without_a_manifest_cannot_list(folder, cache, text):
    (folder / "dataset.json").unlink()
    with HttpFolder(folder) as server, pytest.raises(UsageError, match="braces"):
        resolve(server.url + text, cache=cache)


def test_a_compressed_shard_is_refused(cache):
    with pytest.raises(UsageError, match="unpack"):
        resolve(["http://127.0.0.1:9/a.tar.gz"], cache=cache)


def test_local_and_remote_shards_make_one_set(folder, cache):
    local = resolve(folder)
    with HttpFolder(folder) as server:
        first, *rest = names(local)
        mixed = [str(folder / first), *[f"{server.url}/{name}" for name in rest]]
        found = resolve(mixed, cache=cache)

    assert found.fingerprint == local.fingerprint


def copy_command(path):
    code = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())"
    return f"pipe:{shlex.join([sys.executable, '-c', code])} {path.name}"


def test_a_pipe_is_refused_unless_allowed(folder):
    with pytest.raises(SecurityRefused, match="allow_pipe"):
        fiberaug.StreamingDataset(copy_command(folder / "shard-000000.tar"))


def test_an_allowed_pipe_is_the_output_of_its_program(folder, tmp_path):
    path = folder / "shard-000000.tar"
    found = fiberaug.StreamingDataset(
        copy_command(path), allow_pipe=True, cache_dir=tmp_path / "cache"
    )
    keys = [key for b in fiberaug.DataLoader(found, 4) for key in b["__key__"]]
    path.with_name(path.name + ".idx").unlink()
    local = fiberaug.StreamingDataset(path)

    assert keys == [key for b in fiberaug.DataLoader(local, 4) for key in b["__key__"]]
    assert found.shard_set.refs[0].name == path.name
    assert found.manifest()["shards"] == [
        f"pipe:{Path(sys.executable).name} ... {path.name}"
    ]


@pytest.mark.parametrize(
    "command", ["cat a.tar | cat", "curl x || true", "cat $(ls)", "cat a.tar > b"]
)
def test_a_pipe_that_needs_a_shell_is_refused(command, cache):
    with pytest.raises(SecurityRefused, match="shell"):
        resolve(f"pipe:{command}", cache=cache, allow_pipe=True)


def test_a_program_that_fails_is_a_store_error_without_its_arguments(tmp_path):
    code = "import sys; print('x' * 600); sys.exit(3)"
    command = f"pipe:{shlex.join([sys.executable, '-c', code, 'CANARY'])} a.tar"
    with pytest.raises(StoreError, match="ended with code 3") as caught:
        fiberaug.StreamingDataset(
            command, allow_pipe=True, cache_dir=tmp_path / "cache"
        )
    assert "CANARY" not in str(caught.value)
    assert list((tmp_path / "cache").rglob("*.data")) == []
