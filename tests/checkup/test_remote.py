"""Laws of the examination of a store's shards: no shard is fetched to tell of it."""

import functools
import http.server
import threading

import pytest

from fiberaug.checkup.epoch import Run
from fiberaug.checkup.examining import examine


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; notes what was asked for."""

    asked: list[tuple[str, str]]

    def log_message(self, *_):
        self.asked.append((self.command, self.path))


@pytest.fixture
def store(write_set, tmp_path, monkeypatch):
    """A server of a set on loopback, its URL, and what it was asked for."""
    folder = write_set(60, shard_size="20kB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = type("Noting", (Handler,), {"asked": []})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=folder)
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()
    thread.join()


def topics(shards, **options):
    run = Run(workers=1, batch_size=8, **options)
    return {one.topic: one for one in examine(shards, run, progress=False)}


@pytest.mark.timeout(60)
def test_a_remote_set_is_told_of_without_fetching_a_shard(store):
    url, asked = store
    found = topics(url)

    assert found["samples"].figures["samples"] == 60
    assert found["steps"].figures["steps"] == 8
    assert found["fields"].level == found["keys"].level == "ok"
    assert not [path for verb, path in asked if verb == "GET" and path.endswith(".tar")]


@pytest.mark.timeout(60)
def test_a_cache_that_is_too_small_for_remote_shards_is_a_problem(store):
    url, _ = store

    found = topics(url, cache_limit=1000)["cache"]
    assert found.level == "problem"
    assert "refused at the start" in found.text


@pytest.mark.timeout(60)
def test_a_shard_that_the_store_does_not_have_is_named(store):
    url, _ = store

    found = topics(f"{url}/none-000000.tar")["shards"]
    assert found.level == "problem"
    assert "none-000000.tar" in found.text
    assert "404" in found.text
