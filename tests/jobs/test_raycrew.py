"""Laws of a conversion on Ray: the same bytes, the same errors, nothing lost."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
from sets import photo

import fiberaug
from fiberaug.errors import DataRefused, SampleBroken, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.raycrew import run_on_ray
from fiberaug.jobs.unit import Written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster():
    """A real cluster on this machine."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Workers cannot import a test: its functions travel as they are.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def folder(tmp_path):
    for i in range(40):
        path = tmp_path / "photos" / "abc"[i % 3] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(photo(i), "jpeg"))
    (tmp_path / "photos/a/broken.jpg").write_text("no image")
    return tmp_path / "photos"


def converted(folder, dst, **options):
    fiberaug.convert(folder, dst, shard_size="20kB", progress=False, **options)
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dst.iterdir()
    }


def test_the_bytes_are_those_of_local_processes(cluster, folder, tmp_path):
    local = converted(folder, tmp_path / "local", workers=2)
    remote = converted(folder, tmp_path / "remote", engine="ray")

    assert remote == local
    assert "convert_errors.jsonl" in remote


def test_a_relative_path_is_the_callers(cluster, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fiberaug.convert("photos", "set", engine="ray", progress=False)

    assert len(fiberaug.StreamingDataset("set")) == 40


def test_an_error_of_a_sample_arrives_whole(cluster, folder, tmp_path):
    with pytest.raises(SampleBroken, match="no image") as caught:
        converted(folder, tmp_path / "set", engine="ray", on_error="fail")

    assert caught.value.key == "a/broken"
    assert not (tmp_path / "set/dataset.json").exists()


def once(marks: Path, number: int) -> Written:
    """Die at the first try of job 3."""
    mark = marks / str(number)
    if number == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    mark.touch()
    return Written(None, [], number)


def test_the_job_of_a_worker_that_died_is_done_again(cluster, tmp_path):
    jobs = [(tmp_path, number) for number in range(8)]
    told = []
    found = [one.images for one in run_on_ray(once, jobs, told=told.append)]

    assert found == list(range(8))
    assert told[-1].images == sum(range(8))


def refuse(_: int) -> Written:
    raise DataRefused("no", key="k")


def test_the_first_error_ends_it(cluster):
    with pytest.raises(DataRefused, match="no"):
        list(run_on_ray(refuse, [(i,) for i in range(100)]))


def test_without_ray_the_error_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install \"fiberaug\[ray\]\""):
        converted(folder, tmp_path / "set", engine="ray")
