"""Killed anywhere and restarted with other ranks and workers, a run deals the same."""

import json
import random
import subprocess
import sys
import time
from itertools import accumulate, chain
from pathlib import Path

import elastic_ranks
import psutil
import pytest
from launching import environment
from sets import DATA, samples

import fiberaug

CLOTHING = DATA / "clothing-small/train"
WORKERS = (0, 1, 2, 4)
AHEAD = 10  # steps that four workers can have done before a rank asks for them


class Ranks:
    """Ranks that are started, watched and killed."""

    def __init__(self, folder, shards, epochs, staged):
        self.folder, self.state = folder, folder / "state.json"
        self.workers_killed = 0
        self.errors = (folder / "errors.txt").open("w+")
        self.command = {
            "shards": shards, "state": str(self.state), "epochs": epochs,
            "staged": staged,
        }  # fmt: skip
        self.server = subprocess.Popen(
            [sys.executable, elastic_ranks.__file__],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in psutil.Process(self.server.pid).children(recursive=True):
            process.kill()
        self.server.kill()
        self.server.communicate()
        self.errors.close()

    def told(self):
        line = self.server.stdout.readline()
        assert line, (self.folder / "errors.txt").read_text()
        return json.loads(line)

    def attempt(self, number, rng, count, kill_after=None):
        """Run until ``kill_after`` steps, kill one process, or to the end.

        ``count`` is the number of samples of an epoch. A worker is killed only while
        its epoch has more steps than it can have done ahead: the death of one that has
        nothing left to do disturbs nobody.

        Returns:
            The position that the attempt began at, and its steps: for each the rows of
            all ranks in order, as far as all of them have delivered it.
        """
        world, workers = (3 if number == 0 else rng.choice((1, 2, 3))), WORKERS
        out = self.folder / f"attempt-{number}"
        command = self.command | {
            "world": world,
            "workers": workers[number] if number < 4 else rng.choice(workers),
            "batch": 12 if number == 0 else rng.choice((6, 12, 18)),
            "every": rng.choice((1, 3)),
            "out": str(out),
            "linger": kill_after,
        }
        saved = json.loads(self.state.read_text()) if self.state.exists() else {}
        begun = saved.get("epoch", 0), saved.get("position", 0)
        self.server.stdin.write(json.dumps(command) + "\n")
        self.server.stdin.flush()
        pids = self.told()
        left = (count - begun[1]) // command["batch"] - (kill_after or 0)
        family = self.kill(pids, out, kill_after, rng, workers=left > AHEAD)
        codes = self.told()
        killed = kill_after is not None and any(codes)
        assert killed or not any(codes), (self.folder / "errors.txt").read_text()
        assert not psutil.wait_procs(family, timeout=10)[1], (
            "a worker outlives its rank"
        )
        ranks = [read_lines(Path(f"{out}-{rank}.jsonl")) for rank in range(world)]
        steps = [[*chain(*parts)] for parts in zip(*ranks, strict=False)]
        return begun, steps, killed

    def kill(self, pids, out, after, rng, workers):
        """Kill a rank or one of its workers once ``after`` steps are delivered."""
        ranks, file = [psutil.Process(pid) for pid in pids], Path(f"{out}-0.jsonl")
        while after is not None:
            if ranks[0].status() == psutil.STATUS_ZOMBIE:
                return []
            if file.exists() and file.read_bytes().count(b"\n") >= after:
                break
            time.sleep(0.002)
        if after is None:
            return []
        family = {process: process.children(recursive=True) for process in ranks}
        chosen = rng.choice(ranks)
        victim = rng.choice([chosen, *(family[chosen] if workers else [])])
        self.workers_killed += victim is not chosen
        victim.kill()
        Path(f"{out}-killed").touch()
        return [worker for workers in family.values() for worker in workers]


def read_lines(path):
    """The whole lines of a file whose writer may have been killed."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def unbroken(shards, epochs, staged, batch_size=32):
    """(epoch, position) to its row, of one process that nobody disturbs."""
    stage = elastic_ranks.stage() if staged else {}
    loader = fiberaug.DataLoader(elastic_ranks.dataset(shards), batch_size, **stage)
    rows = [
        row
        for _ in range(epochs)
        for batch in loader
        for row in elastic_ranks.rows(batch)
    ]
    assert [(row[0], row[1]) for row in rows] == [
        (epoch, position)
        for epoch in range(epochs)
        for position in range(loader.dataset.num_samples)
    ]
    return {(row[0], row[1]): row for row in rows}


def check(folder, shards, *, restarts, epochs, most, seed, staged=False):
    """Kill ``restarts`` times, then run to the end; return what happened in figures."""
    rng = random.Random(seed)
    whole = unbroken(shards, epochs, staged)
    count = len(whole) // epochs
    deliveries = {}
    accepted, ends = [], {0}
    kills = again = 0
    with Ranks(folder, shards, epochs, staged) as ranks:
        for number in range(restarts + 1):
            last = number == restarts
            after = None if last else rng.randint(1, most)
            (epoch, position), steps, killed = ranks.attempt(number, rng, count, after)
            kills += killed
            begin = epoch * count + position
            assert begin in ends, "the state stands at the end of a step"
            del accepted[begin:]
            ends = {*accumulate(map(len, steps), initial=begin)}
            for row in chain(*steps):
                place = row[0], row[1]
                again += place in deliveries
                assert row == whole[place], "pixels, record or order differ"
                assert row == deliveries.setdefault(place, row), "the tail differs"
                accepted.append(row)
    assert accepted == list(whole.values())
    for epoch in range(epochs):
        keys = [row[2] for row in accepted if row[0] == epoch]
        assert len(keys) == len(set(keys)) == count
    return {
        "samples": count,
        "kills": kills,
        "of workers": ranks.workers_killed,
        "delivered again": again,
    }


@pytest.mark.timeout(200)
@pytest.mark.parametrize("staged", [False, True], ids=["samples", "batches"])
def test_three_kills_of_a_synthetic_run_change_nothing(tmp_path, staged):
    fiberaug.convert(samples(400), tmp_path / "set", shard_size="60kB", progress=False)
    shards = str(tmp_path / "set")
    found = check(tmp_path, shards, restarts=3, epochs=2, most=9, seed=1, staged=staged)

    assert found["kills"] == 3


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(900)
@pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder")
def test_ten_kills_of_a_run_over_photos_change_nothing(tmp_path, record_property):
    fiberaug.convert(
        CLOTHING, tmp_path / "set", shard_size="24MB", workers=2, progress=False
    )
    found = check(
        tmp_path, str(tmp_path / "set"), restarts=10, epochs=1, most=25, seed=2
    )
    record_property("figures", found)

    assert found["kills"] == 10
