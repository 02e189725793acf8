"""Laws of streaming over http: what comes from a store is what comes from a folder."""

import hashlib
import json
import threading
import time
import zlib
from collections import Counter
from itertools import islice

import albumentations as A
import pytest
from httpfolder import HttpFolder

import fiberaug
from fiberaug.errors import StoreError, UsageError

pytestmark = pytest.mark.timeout(60)
SHAPE = {"window": 16, "lanes": 3, "unit": 4}


def dataset(shards, **options):
    transform = A.Compose([A.RandomCrop(24, 24), A.HorizontalFlip(), A.Normalize()])
    return fiberaug.StreamingDataset(
        shards, transform=transform, **{**SHAPE, **options}
    )


def rows(batches):
    """(key, hash of the pixels, record) of each row."""
    return [
        (key, hashlib.sha256(image.numpy().tobytes()).hexdigest(), str(record))
        for batch in batches
        for key, image, record in zip(
            batch["__key__"], batch["image"], batch["record"], strict=True
        )
    ]


def epoch(shards, *, workers=0, context=None, **options):
    with fiberaug.DataLoader(
        dataset(shards, **options), 8, num_workers=workers,
        multiprocessing_context=context, drop_last=True,
    ) as loader:  # fmt: skip
        return rows(loader)


def sizes(folder):
    return {path.name: path.stat().st_size for path in folder.iterdir()}


@pytest.fixture
def folder(write_set, tmp_path):
    write_set(96, shard_size="40kB")
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("workers", "context"), [(0, None), (1, "fork"), (2, "fork"), (2, "spawn")]
)
def test_every_sample_comes_once_and_alike_over_connections_that_break(
    folder, tmp_path, workers, context
):
    def cut(name, number):
        drawn = zlib.crc32(f"{name} {number}".encode()) % 30_000 + 1
        return drawn if name.endswith(".tar") else None

    with HttpFolder(folder, cut_after=cut) as server:
        remote = epoch(
            server.url, workers=workers, context=context, cache_dir=tmp_path / "cache"
        )
        sent = dict(server.sent)

    assert remote == epoch(str(folder))
    assert len({key for key, _, _ in remote}) == 96
    whole = sizes(folder)
    for name, size in sent.items():
        assert size <= 1.05 * whole[name], name
    assert sum(n.endswith(".tar") for n in sent) == sum(
        n.endswith(".tar") for n in whole
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_without_an_index_stream_alike(folder, tmp_path, workers):
    for path in [*folder.glob("*.idx"), folder / "dataset.json"]:
        path.unlink()
    names = sorted(path.name for path in folder.glob("*.tar"))
    options = {"lanes": None}
    with HttpFolder(folder) as server:
        shards = [f"{server.url}/{name}" for name in names]
        remote = epoch(shards, workers=workers, cache_dir=tmp_path / "cache", **options)
        sent = dict(server.sent)

    assert remote == epoch(str(folder), **options)
    assert {name: sent[name] for name in names} == {
        name: size for name, size in sizes(folder).items() if name in names
    }


def test_a_signature_belongs_to_the_shard_alone_and_is_shown_nowhere(folder, tmp_path):
    names = sorted(path.name for path in folder.glob("*.tar"))
    with HttpFolder(folder) as server:
        host = server.url.removeprefix("http://")
        shards = [f"http://me:CANARY@{host}/{n}?X-Amz-Signature=CANARY" for n in names]
        data = dataset(shards, cache_dir=tmp_path / "cache")
        with fiberaug.DataLoader(data, 8, log=tmp_path / "run") as loader:
            batches = list(loader)

    assert rows(batches) == epoch_rows(folder)
    shown = json.dumps([data.manifest(), *[b["__url__"] for b in batches]])
    assert f"http://{host}/{names[0]}" in shown
    assert "CANARY" not in shown
    assert all(
        b"CANARY" not in path.read_bytes() for path in (tmp_path / "run").iterdir()
    )


def epoch_rows(folder):
    with fiberaug.DataLoader(dataset(str(folder)), 8) as loader:
        return rows(loader)


def test_a_run_goes_on_over_http_where_it_stopped_on_files(folder, tmp_path):
    whole = epoch(str(folder))
    with fiberaug.DataLoader(dataset(str(folder)), 8, drop_last=True) as loader:
        begun = rows(islice(loader, 5))
        state = json.dumps(loader.state_dict())
    with HttpFolder(folder) as server:
        data = dataset(server.url, cache_dir=tmp_path / "cache")
        with fiberaug.DataLoader(data, 4, num_workers=1, drop_last=True) as loader:
            loader.load_state_dict(json.loads(state))
            rest = rows(loader)

    assert begun + rest == whole


def test_a_resumed_run_fetches_what_its_rest_needs(folder, tmp_path):
    options = {"shuffle": False, "fields": {"image": "png", "label": "cls"}}
    state = dataset(str(folder), **options).state(0, 72)
    with HttpFolder(folder) as server:
        data = dataset(server.url, cache_dir=tmp_path / "cache", **options)
        with fiberaug.DataLoader(data, 8) as loader:
            loader.load_state_dict(state)
            assert len(rows(loader)) == 24
        shards = [name for name in server.sent if name.endswith(".tar")]

    assert 0 < len(shards) <= len(list(folder.glob("*.tar"))) // 2


def test_a_cache_smaller_than_what_lanes_touch_is_refused(folder, tmp_path):
    total = sum(path.stat().st_size for path in folder.glob("*.tar"))
    with (
        HttpFolder(folder) as server,
        pytest.raises(UsageError, match=r"20\.0 kB.*side by side.*raise cache_limit"),
    ):
        dataset(server.url, cache_dir=tmp_path / "cache", cache_limit="20kB")
    assert total > 20_000


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_that_has_to_forget_still_delivers_everything(
    folder, tmp_path, workers
):
    total = sum(path.stat().st_size for path in folder.glob("*.tar"))
    options = {"lanes": 1, "window": 8}
    with HttpFolder(folder) as server:
        remote = epoch(
            server.url, workers=workers, cache_dir=tmp_path / "cache",
            cache_limit=total // 2, **options,
        )  # fmt: skip
        left = sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*.data"))

    assert remote == epoch(str(folder), **options)
    assert left <= total // 2


def test_a_missing_shard_is_an_error_that_names_it(folder, tmp_path):
    name = max(path.name for path in folder.glob("*.tar"))
    for workers in (0, 2):
        with HttpFolder(folder) as server:
            server.status[name] = 404
            with pytest.raises(
                StoreError, match=rf"{server.url}/{name}.*404"
            ) as caught:
                epoch(server.url, workers=workers, cache_dir=tmp_path / f"{workers}")
        assert caught.value.shard == name


def test_wrong_bytes_in_the_cache_are_fetched_again_before_a_sample_is_broken(
    folder, tmp_path
):
    whole = epoch(str(folder))
    with HttpFolder(folder) as server:
        epoch(server.url, cache_dir=tmp_path / "cache")
        for path in (tmp_path / "cache").rglob("*.data"):
            content = bytearray(path.read_bytes())
            if len(content) > 20_000:
                for at in range(0, len(content), 512):  # in every member
                    content[at] ^= 1
                path.write_bytes(content)
        assert (
            epoch(server.url, cache_dir=tmp_path / "cache", on_error="raise") == whole
        )


def test_nothing_runs_on_when_the_loader_is_gone(folder, tmp_path):
    others = set(threading.enumerate())  # may still retry against a server now gone
    with HttpFolder(folder) as server:
        data = dataset(server.url, cache_dir=tmp_path / "cache")
        loader = fiberaug.DataLoader(data, 8)
        next(iter(loader))
        loader.close()
        del loader, data
        deadline = time.monotonic() + 20
        while any(
            t.name == "fiberaug-fetch" for t in set(threading.enumerate()) - others
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_shards_are_fetched_before_they_are_read(folder, tmp_path):
    """After the first batch of one lane, its window and the next are on the way."""
    with HttpFolder(folder) as server:
        data = dataset(server.url, lanes=1, window=32, cache_dir=tmp_path / "cache")
        with fiberaug.DataLoader(data, 4) as loader:
            next(iter(loader))
            deadline = time.monotonic() + 20
            while len([n for n in server.sent if n.endswith(".tar")]) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    counts = Counter(name.endswith(".tar") for name in server.sent)
    assert counts[True] < len(list(folder.glob("*.tar")))
