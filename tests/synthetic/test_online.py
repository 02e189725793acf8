"""An online generator gives the samples that are asked for, in any process."""

import gc
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from onlines import (
    CLASSES,
    Licensed,
    Paint,
    Slow,
    make,
    pixels_in,
    pixels_of,
    processes,
    right,
)

from fiberaug.errors import UsageError
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.online_board import read_takers
from fiberaug.synthetic.pool import Pool
from fiberaug.synthetic.provenance import Provenance


@pytest.fixture
def online(tmp_path):
    """A function that starts an online generator, closed at the end of the test."""
    made = []

    def start(factory=make, folder=tmp_path / "buffer", **options):
        one = OnlineGenerator(factory, folder, **{"classes": CLASSES, **options})
        made.append(one)
        return one.start()

    yield start
    for one in made:
        one.close()


def members_of(pool):
    """Members of the samples of a pool by key."""
    found = {}
    for entry in pool.manifest.shards:
        path = str(pool.path / entry.name)
        shard = ShardFile(
            ShardRef(path=path, index=f"{path}.idx", samples=entry.samples)
        )
        for i in range(len(shard.index)):
            members = {e: bytes(data) for e, data in shard.read(i).items()}
            found[shard.index.key(i)] = members
    return found


def test_a_sample_is_what_the_generator_makes_and_what_a_pool_holds(online, tmp_path):
    source = online(seed=5)
    pool = Pool.write(Paint(), tmp_path / "pool", per_class=4, seed=5, progress=False)
    written = members_of(pool)

    for label, name in enumerate(CLASSES):
        for index in (3, 0, 2, 1):
            found = source.take(label, index)
            same = written[f"{name}-{index:06d}"]

            assert (pixels_in(found) == pixels_of(label, index, seed=5)).all()
            assert found["png"] == same["png"]
            assert found["cls"] == same["cls"]
            stated = Provenance.from_dict(json.loads(found["json"])["provenance"])
            assert stated.id == f"{name}-{index:06d}"


def test_samples_are_made_ahead_of_the_last_one_taken(online):
    source = online(ahead=5)
    assert right(source.take(1, 100), 1, 100)
    wanted = {(1, i) for i in range(101, 106)}

    for label, index in sorted(wanted):
        while source.take(label, index, wait=0) is None:
            source.take(2, 0)  # lets the other process work

    # Nobody asked for these: they wait for their class's next sample.
    assert source.take(0, 4) is not None
    assert source.take(1, 300, wait=0) is None


def test_a_wait_of_zero_does_not_wait_and_the_sample_comes_later(online):
    source = online()
    tries = 1
    while (found := source.take(0, 1_000_000, wait=0)) is None:
        tries += 1

    assert right(found, 0, 1_000_000)
    assert source.stats()["late"] == tries - 1
    assert source.stats()["taken"] == 1


def _take(source, label, first, results):
    results.put(all(right(source.take(label, first + i), label, first + i)
                    for i in range(15)))  # fmt: skip


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_any_process_takes(online, method):
    source = online()
    assert right(source.take(0, 0), 0, 0)  # the parent has taken before
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    workers = [
        context.Process(target=_take, args=(source, label, 20 * label, results))
        for label in (0, 1)
    ]
    for worker in workers:
        worker.start()
    _take(source, 2, 7, results)
    for worker in workers:
        worker.join()

    assert [results.get() for _ in range(3)] == [True] * 3
    assert source.stats()["taken"] == 46
    assert source.stats()["late"] == 0


def test_threads_of_one_process_take_different_samples(online):
    source = online(Slow, ahead=0)
    found = {}

    def run(number):
        for i in range(8):
            address = number % 3, 1000 * number + i
            found[address] = source.take(*address)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 48
    assert all(right(members, *address) for address, members in found.items())


def test_two_loaders_share_the_process_of_a_folder(online):
    first, second = online(), online()

    assert all(right(s.take(1, i), 1, i) for i in range(10) for s in (first, second))
    while len(processes()) > 1:  # the second finds out that there is one
        time.sleep(0.05)
    assert all(right(s.take(1, 900), 1, 900) for s in (first, second))
    assert first.stats()["taken"] == second.stats()["taken"] == 22


def test_when_the_owner_closes_another_takes_over(online):
    first, second = online(), online()
    assert right(second.take(0, 0), 0, 0)
    first.close()

    assert right(second.take(0, 5000), 0, 5000)


def test_close_leaves_no_process_and_no_unfinished_file(online, tmp_path):
    source = online(Slow)
    source.take(0, 0)
    source.close()

    assert processes() == []
    assert [p for p in tmp_path.rglob("*") if p.name.endswith(".part")] == []
    assert all(t.name != "fiberaug-online" for t in threading.enumerate())


def test_it_ends_when_nobody_has_it_any_more(tmp_path):
    source = OnlineGenerator(make, tmp_path, classes=CLASSES).start()
    assert right(source.take(0, 0), 0, 0)
    del source
    gc.collect()

    assert processes() == []


def test_it_goes_on_after_close_with_what_is_there(online):
    source = online(ahead=4)
    before = source.take(0, 3)
    source.close()
    again = source.take(0, 3, wait=0)  # without any process
    source.start()

    assert again == before
    assert right(source.take(0, 900), 0, 900)


def test_it_ends_with_an_interpreter_that_does_not_close_it(tmp_path):
    code = (
        "import sys, psutil, onlines\n"
        "from fiberaug.synthetic.online import OnlineGenerator\n"
        "one = OnlineGenerator('onlines:make', sys.argv[1], classes=onlines.CLASSES)\n"
        "assert onlines.right(one.start().take(0, 0), 0, 0)\n"
        "print(onlines.processes()[0].pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip

    assert done.stderr == ""
    assert not Path(f"/proc/{int(done.stdout)}").exists()
    with OnlineGenerator(make, tmp_path, classes=CLASSES) as source:
        assert right(source.take(0, 70), 0, 70)
        assert source.stats()["restarts"] == 0  # it had ended as it should


def test_samples_of_another_generator_are_never_given_for_these(online):
    def licence(source):
        return json.loads(source.take(0, 0)["json"])["provenance"]["generator"].get(
            "licence"
        )

    first = online()
    assert licence(first) is None
    first.close()
    second = online(Licensed)

    assert licence(second) == "MIT"


def test_nobody_waits_for_what_came_or_was_given_up_before(online, tmp_path):
    source = online()
    assert source.take(0, 9_000_000, wait=0) is None
    waits = [row.waiting for row in read_takers(tmp_path / "buffer/takers", 3)]
    assert source.take(1, 0) is not None

    assert waits == [(0, 9_000_000)]
    assert read_takers(tmp_path / "buffer/takers", 3)[0].waiting is None


def test_seek_makes_a_run_go_on_without_making_what_lies_before(online, tmp_path):
    source = online(ahead=3)
    source.seek({0: 500, 1: 600, 2: 0})
    while source.stats()["made"] < 9:
        time.sleep(0.02)
    source.close()

    made = [path.relative_to(tmp_path) for path in tmp_path.glob("buffer/ready/*/*")]
    assert sorted(f"{path.parent.name}/{path.name}" for path in made) == [
        f"{label}/{first + i}" for label, first in ((0, 500), (1, 600), (2, 0))
        for i in range(3)
    ]  # fmt: skip


def test_a_handle_is_small_and_takes_nothing_of_the_process_along(online):
    source = online()
    data = pickle.dumps(source)

    assert len(data) < 2000
    assert right(pickle.loads(data).take(2, 3), 2, 3)


def test_other_samples_do_not_share_a_folder_that_is_in_use(online):
    online(seed=1).take(0, 0)

    with pytest.raises(UsageError, match="seed 1 and not 2"):
        online(seed=2)


def test_samples_of_another_seed_are_never_given_for_these(online):
    first = online(seed=1)
    one = first.take(0, 0)
    first.close()
    second = online(seed=2)

    assert (pixels_in(second.take(0, 0)) == pixels_of(0, 0, seed=2)).all()
    assert one != second.take(0, 0)
