"""Laws of interrupted bakes: killed at any moment, the same bytes in the end."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import albumentations as A
import pytest
from sets import samples

import fiberaug
from fiberaug.baking.materializing import materialize
from fiberaug.errors import DataRefused

BAKE = """
    import sys, time
    import albumentations as A
    from fiberaug.baking.materializing import materialize

    def slowly(sample):
        time.sleep(0.004)
        return sample

    if __name__ == "__main__":
        materialize(
            sys.argv[1], sys.argv[2], epochs="0-1", workers=int(sys.argv[3]),
            shard_size="20kB", progress=False,
            recipe=[A.RandomCrop(28, 32), A.HorizontalFlip(), slowly],
        )
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A set, and the program that bakes it."""
    folder = tmp_path_factory.mktemp("killed")
    fiberaug.convert(samples(60), folder / "set", shard_size="60kB", progress=False)
    (folder / "bake.py").write_text(textwrap.dedent(BAKE))
    return folder


def start(place, target, workers):
    return subprocess.Popen(
        [sys.executable, str(place / "bake.py"), str(place / "set"), str(target),
         str(workers)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def finished(place, target, workers=2):
    process = start(place, target, workers)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()


def kill(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def shards(target):
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in Path(target).glob("*.tar*")
    }


@pytest.fixture(scope="module")
def whole(place):
    """The set that was never disturbed."""
    finished(place, place / "whole", 1)
    return place / "whole"


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(4))
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    attempt, place, whole, hashes, tmp_path
):
    target = tmp_path / "set"
    moment = random.Random(attempt)
    for _ in range(3):
        process = start(place, target, moment.choice([1, 2, 3]))
        wanted = moment.randrange(1, 8)
        end = time.monotonic() + 60
        while len(list(target.glob("*.tar"))) < wanted and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(moment.random() * 0.1)
        kill(process)
        noted = {path.stem for path in target.glob(".converting/*.json")}
        before = {n: one for n, one in shards(target).items() if n in noted}
    assert before, "some were finished at the last kill"
    finished(place, target)

    assert hashes(target) == hashes(whole)
    assert before.items() <= shards(target).items(), "finished shards are not touched"
    assert not list(target.glob(".*")), "nothing is left behind"


@pytest.mark.slow
def test_a_killed_parent_leaves_no_worker(place, tmp_path):
    process = start(place, tmp_path / "set", 2)
    end = time.monotonic() + 60
    while not list((tmp_path / "set").glob("*.tar")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    process.communicate()


def test_what_was_begun_is_marked_and_no_data_set(place, tmp_path):
    calls = []

    def stop(sample):
        calls.append(sample)
        if len(calls) > 90:  # in the second epoch: 32 samples are measured before
            raise KeyboardInterrupt
        return sample

    arguments = {"epochs": "0-1", "workers": 1, "shard_size": "60kB", "progress": False}
    recipe = [A.HorizontalFlip(), stop]
    with pytest.raises(KeyboardInterrupt):
        materialize(place / "set", tmp_path / "set", recipe=recipe, **arguments)

    assert (tmp_path / "set/.converting.json").exists()
    assert not (tmp_path / "set/dataset.json").exists()
    assert not list((tmp_path / "set").glob(".*.part"))
    with pytest.raises(DataRefused, match="is unfinished"):
        fiberaug.StreamingDataset(str(tmp_path / "set"))
