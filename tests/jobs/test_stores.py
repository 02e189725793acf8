"""Laws of destinations: the same set in a folder and in a bucket, nothing half."""

import hashlib
import json
import subprocess
import sys
import textwrap
import time

import boto3
import pytest
from s3server import KEY, SECRET, s3_server, use_s3
from sets import photo
from typer.testing import CliRunner

import fiberaug
from fiberaug.cli.main import app
from fiberaug.errors import StoreError, UsageError
from fiberaug.jobs import stores
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.stores import LocalStore, store_of
from fiberaug.shards.netpolicy import Passing

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(40):
        path = folder / f"{'cat' if i % 2 else 'dog'}/{i:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    (folder / "cat/broken.jpg").write_text("no image")
    return folder


@pytest.fixture
def bucket(monkeypatch):
    """A client of an empty bucket ``photos`` on this machine."""
    with s3_server({}) as port:
        use_s3(monkeypatch, port)
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
            aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        )  # fmt: skip
        yield client


def objects(bucket):
    """Return the SHA-256 of each object by name."""
    listed = bucket.list_objects_v2(Bucket="photos").get("Contents", [])
    return {
        one["Key"]: hashlib.sha256(
            bucket.get_object(Bucket="photos", Key=one["Key"])["Body"].read()
        ).hexdigest()
        for one in listed
    }


def converted(folder, dst, **options):
    return fiberaug.convert(folder, dst, shard_size="20kB", progress=False, **options)


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bucket_gets_the_bytes_of_a_folder(bucket, folder, tmp_path, workers):
    converted(folder, tmp_path / "set", workers=1)
    manifest = converted(folder, "s3://photos/a/set/", workers=workers)

    assert objects(bucket) == {
        f"a/set/{name}": digest for name, digest in hashes(tmp_path / "set").items()
    }
    streamed = fiberaug.StreamingDataset(
        "s3://photos/a/set/", train=False, cache_dir=tmp_path / "cache"
    )
    assert len(list(streamed)) == manifest.samples == 40


def test_what_is_finished_is_kept_and_the_rest_is_written(
    bucket, folder, tmp_path, monkeypatch
):
    real, sent = stores.ObjectStore._send, []

    def send(self, path, name):
        if len(sent) == 5:
            raise StoreError("the line is cut", stage="write")
        sent.append(name)
        real(self, path, name)

    monkeypatch.setattr(stores.ObjectStore, "_send", send)
    with pytest.raises(StoreError, match="cut"):
        converted(folder, "s3://photos/set", workers=1)
    left = objects(bucket)
    assert "set/dataset.json" not in left
    assert "set/.converting.json" in left
    shards = {name for name in left if name.endswith(".tar")}
    assert {f"{name}.idx" for name in shards} <= left.keys(), "the index goes first"
    assert len(shards) == 2

    def count(self, path, name):
        sent.append(name)
        real(self, path, name)

    monkeypatch.setattr(stores.ObjectStore, "_send", count)
    converted(folder, "s3://photos/set", workers=1)
    converted(folder, tmp_path / "set", workers=1)

    assert objects(bucket) == {
        f"set/{name}": digest for name, digest in hashes(tmp_path / "set").items()
    }
    assert len(sent) == len(set(sent)) + 1, "only the shard that was cut came again"
    assert converted(folder, "s3://photos/set").samples == 40, "nothing to do"


KILLED = """
    import sys, time
    import fiberaug
    from fiberaug.jobs import preparing

    recode = preparing.recode
    def slow(data, **options):
        time.sleep(0.1)
        return recode(data, **options)
    preparing.recode = slow
    fiberaug.convert(sys.argv[1], "s3://photos/set", shard_size="20kB", workers=1)
"""


def test_a_killed_conversion_leaves_only_whole_objects(bucket, folder, tmp_path):
    words = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not any(name.endswith(".tar.json") for name in objects(bucket)):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    converted(folder, tmp_path / "set", workers=1)
    wanted = hashes(tmp_path / "set")
    left = objects(bucket)

    assert "set/dataset.json" not in left
    for name, digest in left.items():
        if name.endswith((".tar", ".idx")):
            assert digest == wanted[name.removeprefix("set/")]
    converted(folder, "s3://photos/set", workers=2)
    assert objects(bucket) == {f"set/{name}": d for name, d in wanted.items()}


def test_foreign_objects_are_never_written_over(bucket, folder):
    bucket.put_object(Bucket="photos", Key="set/thesis.tex", Body=b"precious")

    with pytest.raises(UsageError, match=r"not empty \(thesis\.tex"):
        converted(folder, "s3://photos/set")
    converted(folder, "s3://photos/other")
    with pytest.raises(UsageError, match="already holds a data set of another source"):
        converted(folder, "s3://photos/other", seed=3)


@pytest.mark.parametrize(("failures", "fails"), [(4, False), (5, True)])
def test_a_service_that_is_not_reached_is_asked_five_times(
    bucket, monkeypatch, failures, fails
):
    real, left = stores.work, [failures]

    def flaky(shown, act):
        if left[0]:
            left[0] -= 1
            raise Passing("the service is not reached")
        return real(shown, act)

    monkeypatch.setattr(stores, "work", flaky)
    monkeypatch.setattr(stores, "_PAUSE_S", 0)
    store = store_of("s3://photos/set")
    if fails:
        with pytest.raises(StoreError, match="not reached, 5 times; the same command"):
            store.write("a", b"x")
    else:
        store.write("a", b"x")
    assert bool(objects(bucket)) != fails


def test_no_bucket_is_an_error_that_says_so(bucket, folder):
    with pytest.raises(StoreError, match=r"cannot write s3://nowhere/set: .*no such"):
        converted(folder, "s3://nowhere/set")


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("http://host/set", UsageError, "cannot be written to; a folder or s3"),
        ("ftp://host/set", UsageError, "protocol 'ftp'"),
        ("s3://key:word@bucket/set", UsageError, "credentials"),
    ],
)
def test_other_places_are_refused(url, error, words):
    with pytest.raises(error, match=words):
        store_of(url)


def test_the_command_takes_a_bucket(bucket, folder):
    done = CliRunner().invoke(
        app, ["convert", str(folder), "s3://photos/set", "--shard-size", "20kB"]
    )

    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[2].startswith("40 images in ")
    assert lines[2].endswith(": s3://photos/set")
    assert lines[-1].endswith("s3://photos/set/convert_errors.jsonl")
    manifest = bucket.get_object(Bucket="photos", Key="set/dataset.json")["Body"].read()
    assert json.loads(manifest)["counts"] == {"cat": 20, "dog": 20}


def test_a_folder_is_local_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert store_of("a:b") == LocalStore(tmp_path / "a:b")
