"""Objects in a bucket, through the real s3fs and moto's S3 server on loopback."""

import errno
import os
import random
import traceback

import pytest
from cutproxy import CutProxy

from fiberaug.errors import StoreError
from fiberaug.shards.fetching import NetPolicy, fetch, list_folder, read_small, stat

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
ThreadedMotoServer = pytest.importorskip("moto.server").ThreadedMotoServer

pytestmark = [
    pytest.mark.timeout(60),
    # of botocore and moto themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DATA = random.Random(1).randbytes(6_000_000)
QUICK = NetPolicy(connect_s=2, read_s=2, retries=6, stall_s=20, backoff_s=0.01)


@pytest.fixture(scope="module")
def port():
    """Start moto's server with one bucket; returns its port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="key", aws_secret_access_key="word",
    )  # fmt: skip
    client.create_bucket(Bucket="photos")
    for name in ("set/a.tar", "set/b.tar", "set/deep/c.tar"):
        client.put_object(Bucket="photos", Key=name, Body=DATA)
    yield port
    server.stop()


@pytest.fixture
def bucket(port, monkeypatch):
    """Point s3:// at moto, or at another port on loopback."""

    def at(where=port):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{where}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEYCANARY")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "WORDCANARY")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        from fiberaug.shards import fetching

        monkeypatch.setattr(fetching, "_stores", {})
        return "s3://photos/set/a.tar"

    return at


def test_an_object_comes_whole_with_its_size_and_version(bucket, tmp_path):
    url = bucket()
    remote = fetch(url, tmp_path / "part", policy=QUICK)
    assert (tmp_path / "part").read_bytes() == DATA
    assert remote == stat(url, policy=QUICK)
    assert read_small(url, most=len(DATA), policy=QUICK) == DATA


def test_what_is_reset_at_random_bytes_comes_once(bucket, port, tmp_path):
    rng = random.Random(3)
    cuts = [rng.randrange(200_000, 2_000_000) for _ in range(1000)]
    with CutProxy(port, lambda n: cuts[n] if n else None) as proxy:
        url = bucket(proxy.port)
        known = stat(url, policy=QUICK)
        before = proxy.passed
        fetch(url, tmp_path / "part", policy=QUICK, known=known)
        assert (tmp_path / "part").read_bytes() == DATA
        assert proxy.connections > 4
        assert proxy.passed - before < 1.05 * len(DATA)


def test_what_is_not_there_is_an_error_at_once_that_says_so(bucket, tmp_path):
    bucket()
    for url in ("s3://photos/none.tar", "s3://no-such-bucket/a.tar"):
        with pytest.raises(StoreError) as caught:
            stat(url, policy=QUICK)
        assert url in str(caught.value)
        assert caught.value.errno == errno.ENOENT
        with pytest.raises(StoreError, match="404"):
            fetch(url, tmp_path / "part", policy=QUICK)


def test_a_store_that_is_gone_is_an_error_within_the_bound_and_tells_no_key(
    bucket, tmp_path
):
    with CutProxy(9, lambda _: 0) as proxy:
        gone = proxy.port
    url = bucket(gone)
    for work in (
        lambda: stat(url, policy=QUICK),
        lambda: fetch(url, tmp_path / "part", policy=QUICK),
    ):
        with pytest.raises(StoreError) as caught:
            work()
        text = "".join(traceback.format_exception(caught.value))
        assert "CANARY" not in text
        assert "Signature" not in text


def test_folders_and_patterns_are_listed_in_order(bucket):
    bucket()
    both = ["s3://photos/set/a.tar", "s3://photos/set/b.tar"]
    assert list_folder("s3://photos/set", policy=QUICK) == both
    assert list_folder("s3://photos/set/", policy=QUICK) == both
    assert list_folder("s3://photos/set/*.tar", policy=QUICK) == both
    deep = list_folder("s3://photos/**/*.tar", policy=QUICK)
    assert deep == [*both, "s3://photos/set/deep/c.tar"]


def test_a_forked_process_has_a_store_of_its_own(bucket, tmp_path):
    url = bucket()
    assert stat(url, policy=QUICK).size == len(DATA)
    child = os.fork()
    if not child:
        code = 1
        try:
            fetch(url, tmp_path / "part", policy=QUICK)
            code = int((tmp_path / "part").read_bytes() != DATA)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert stat(url, policy=QUICK).size == len(DATA)
