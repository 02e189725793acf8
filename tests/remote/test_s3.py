"""Objects in a bucket, through the real s3fs and moto's S3 server on loopback."""

import errno
import os
import random
import time
import traceback

import pytest
from faultserver import Faults, FaultServer
from s3server import s3_server, use_s3

from fiberaug.errors import StoreError
from fiberaug.shards.fetching import (
    NetPolicy,
    exists,
    fetch,
    list_folder,
    read_small,
    stat,
)

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

pytestmark = [
    pytest.mark.timeout(60),
    # of botocore and moto themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DATA = random.Random(1).randbytes(3_000_000)
URL = "s3://photos/set/a b.tar"
QUICK = NetPolicy(connect_s=2, read_s=2, stall_s=20, backoff_s=0.01, max_backoff_s=0.1)


@pytest.fixture(scope="module")
def port():
    names = ("set/a b.tar", "set/b.tar", "set/deep/c.tar")
    with s3_server(dict.fromkeys(names, DATA)) as port:
        yield port


@pytest.fixture
def bucket(port, monkeypatch):
    use_s3(monkeypatch, port)


@pytest.fixture
def broken(port, monkeypatch):
    """A server in front of moto; faults are named by path."""
    with FaultServer(upstream=f"127.0.0.1:{port}") as server:
        use_s3(monkeypatch, server.port)
        yield server


def test_an_object_comes_whole_with_its_size_and_version(bucket, tmp_path):
    found = fetch(URL, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == DATA
    assert found == stat(URL, policy=QUICK)
    assert found.size == len(DATA)
    assert found.pinned
    assert read_small(URL, most=len(DATA), policy=QUICK) == DATA


@pytest.mark.parametrize("how", ["reset", "close"])
def test_breaks_at_random_bytes_cost_no_byte(broken, tmp_path, how):
    cuts = random.Random(how).sample(range(1, len(DATA)), 25)
    broken.faults["/photos/set/a%20b.tar"] = faults = Faults(cuts=cuts, how=how)
    fetch(URL, tmp_path / "a", policy=QUICK)
    assert (tmp_path / "a").read_bytes() == DATA
    assert broken.sent["/photos/set/a%20b.tar"] == len(DATA)
    assert not faults.cuts


def test_every_request_is_signed_by_the_version_that_all_buckets_take(broken, tmp_path):
    fetch(URL, tmp_path / "a", policy=QUICK)
    asked = broken.asked("/photos/set/a%20b.tar")
    assert asked
    assert all("X-Amz-Algorithm=AWS4-HMAC-SHA256" in r.path for r in asked)


def test_a_store_that_is_busy_is_waited_for(broken, tmp_path):
    path = "/photos/set/a%20b.tar"
    broken.faults[path] = Faults(status=503, first=3, headers={"Retry-After": "0"})
    fetch(URL, tmp_path / "a", policy=QUICK)
    assert len(broken.asked(path)) == 4


def test_an_object_that_changes_in_the_middle_is_never_a_mixture(
    broken, port, tmp_path
):
    import boto3

    other = DATA[::-1]

    class Changing(dict):
        def get(self, path, default=None):
            if path.endswith("a%20b.tar") and len(broken.requests) > 2:
                client.put_object(Bucket="photos", Key="set/a b.tar", Body=other)
            return super().get(path, default)

    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    broken.faults = Changing(
        {"/photos/set/a%20b.tar": Faults(cuts=[100_000, 1_000_000])}
    )
    try:
        found = fetch(URL, tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() in {DATA, other}
        assert found.size == len(DATA)
        assert (tmp_path / "a").read_bytes() == other
    finally:
        client.put_object(Bucket="photos", Key="set/a b.tar", Body=DATA)


def test_what_is_absent_is_an_error_at_once(bucket, tmp_path):
    began = time.monotonic()
    for url in ("s3://photos/none.tar", "s3://no-such-bucket/a.tar"):
        for ask in (
            lambda url=url: stat(url),
            lambda url=url: fetch(url, tmp_path / "a"),
        ):
            with pytest.raises(StoreError, match="404") as caught:
                ask()
            assert url in str(caught.value)
            assert caught.value.errno == errno.ENOENT
        assert not exists(url)
    assert time.monotonic() - began < 20


def test_a_store_that_is_gone_is_an_error_that_tells_no_key(
    monkeypatch, tmp_path, caplog
):
    with FaultServer() as server:
        gone = server.port
    use_s3(monkeypatch, gone)
    policy = NetPolicy(retries=1, backoff_s=0.01)
    for ask in (
        lambda: stat(URL, policy=policy),
        lambda: fetch(URL, tmp_path / "a", policy=policy),
        lambda: list_folder("s3://photos/set", policy=policy),
    ):
        with pytest.raises(StoreError) as caught:
            ask()
        text = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert "CANARY" not in text
        assert "Signature" not in text


def test_a_folder_is_listed_in_order_without_what_is_deeper(bucket):
    both = ["s3://photos/set/a b.tar", "s3://photos/set/b.tar"]
    assert list_folder("s3://photos/set", policy=QUICK) == both
    assert list_folder("s3://photos/set/", policy=QUICK) == both
    with pytest.raises(StoreError) as caught:
        list_folder("s3://photos/none/", policy=QUICK)
    assert caught.value.errno == errno.ENOENT


def test_without_credentials_the_error_says_so(bucket, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    from fiberaug.shards import buckets

    monkeypatch.setattr(buckets, "_file_systems", {})
    with pytest.raises(StoreError, match="redential"):
        stat(URL, policy=QUICK)


def test_a_forked_process_has_a_loop_of_its_own(bucket, tmp_path):
    assert stat(URL, policy=QUICK).size == len(DATA)
    list_folder("s3://photos/set", policy=QUICK)
    child = os.fork()
    if child == 0:
        try:
            fetch(URL, tmp_path / "child", policy=QUICK)
            list_folder("s3://photos/set", policy=QUICK)
            os._exit(0)
        finally:
            os._exit(1)
    fetch(URL, tmp_path / "parent", policy=QUICK)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "child").read_bytes() == DATA
    assert (tmp_path / "parent").read_bytes() == DATA
