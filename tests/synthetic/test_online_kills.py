"""Kill -9 at any moment: nothing hangs, no byte is wrong, no count is off."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from onlines import CLASSES, Slow, make, processes, right

from fiberaug.synthetic.online import OnlineGenerator
from fiberaug.synthetic.pool import Pool

TRAINER = """
import sys, onlines
from fiberaug.synthetic.online import OnlineGenerator
buffer, pool, first, count = sys.argv[1:]
one = OnlineGenerator("onlines:Slow", buffer, classes=onlines.CLASSES, keep=pool)
one.start()
for i in range(int(first), int(first) + int(count)):
    assert onlines.right(one.take(i % 3, i // 3), i % 3, i // 3), one.why()
    one.confirm(i % 3, i // 3)
    print(i, *[p.pid for p in onlines.processes()], flush=True)
one.close()
"""


def train(tmp_path, first, count):
    """A process that takes samples, and tells which."""
    command = [sys.executable, "-c", TRAINER, tmp_path / "buffer", tmp_path / "pool"]
    return subprocess.Popen(
        [*command, str(first), str(count)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip


def gone(pid):
    """Whether a process ended, or is a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(said, seconds=30.0):
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end
        time.sleep(0.02)


def _take(source, worker, rounds, results):
    """Take samples as one of three workers; tell how many were right."""
    found = wrong = 0
    for i in range(rounds):
        index = 3 * i + worker
        for label in range(3):
            if right(source.take(label, index), label, index):
                source.confirm(label, index)
                found += 1
            else:
                wrong += 1
    results.put((found, wrong))


def killed(tmp_path, *, kills, rounds, seed):
    """Three processes take samples while the generator is killed; then count."""
    rng = random.Random(seed)
    source = OnlineGenerator(
        Slow, tmp_path / "buffer", classes=CLASSES, ahead=8, wait=600.0,
        restarts=2 * kills, keep=tmp_path / "pool", most_bytes="100kB",
    ).start()  # fmt: skip
    queues, workers = [], []
    for worker in range(3):
        context = multiprocessing.get_context(("fork", "spawn")[worker % 2])
        queues.append(context.SimpleQueue())
        workers.append(
            context.Process(target=_take, args=(source, worker, rounds, queues[-1]))
        )
        workers[-1].start()
    done = 0
    mine = {worker.pid for worker in workers}
    while done < kills and any(worker.is_alive() for worker in workers):
        made = source.stats()["made"]
        for one in processes():
            if one.pid in mine:
                continue
            if rng.random() < 0.8:  # else it is killed while it starts
                wait_until(lambda made=made: source.stats()["made"] > made, 100)
            time.sleep(rng.uniform(0, 0.3))
            one.kill()
            done += 1
            wait_until(lambda pid=one.pid: gone(pid))
        time.sleep(0.01)
    for worker in workers:
        worker.join(250)
        assert worker.exitcode == 0
    assert [queue.get() for queue in queues] == [(3 * rounds, 0)] * 3
    stats = source.stats()
    assert (stats["taken"], stats["late"]) == (9 * rounds, 0)
    source.close()
    pool = Pool.open(tmp_path / "pool")
    assert pool.counts == dict.fromkeys(CLASSES, 3 * rounds)
    assert [p.name for p in tmp_path.rglob("*.part")] == []
    return done


def test_the_generator_is_killed_while_three_processes_take(tmp_path):
    assert killed(tmp_path, kills=2, rounds=12, seed=0) == 2


@pytest.mark.slow
def test_the_generator_is_killed_twenty_times(tmp_path):
    assert killed(tmp_path, kills=20, rounds=400, seed=1) == 20


def test_it_ends_when_its_trainer_is_killed_and_a_new_one_goes_on(tmp_path):
    trainer = train(tmp_path, 0, 10_000)
    told = [trainer.stdout.readline().split() for _ in range(40)]
    trainer.kill()
    rest = [line.split() for line in trainer.stdout]
    trainer.wait()
    trainer.stdout.close()
    pids = {int(pid) for line in told + rest for pid in line[1:]}
    assert len(pids) == 1
    wait_until(lambda: all(map(gone, pids)), 10)
    last = int((told + rest)[-1][0])

    again = train(tmp_path, last - 20, 60)  # from an older position
    output, _ = again.communicate()
    assert again.returncode == 0
    assert [int(line.split()[0]) for line in output.splitlines()] == [
        last - 20 + i for i in range(60)
    ]
    pool = Pool.open(tmp_path / "pool")
    keys = {key for key, _, _ in pool.samples()}
    told_keys = {f"{CLASSES[i % 3]}-{i // 3:06d}" for i in range(last + 40)}
    assert keys - told_keys <= {f"{CLASSES[(last + 1) % 3]}-{(last + 1) // 3:06d}"}
    assert told_keys <= keys
    assert len(pool) == len(keys)


HANGING = """
import functools, os, sys, time, onlines
from fiberaug.synthetic.online import OnlineGenerator
factory = functools.partial(onlines.Broken, "sleeps")
one = OnlineGenerator(factory, sys.argv[1], classes=onlines.CLASSES).start()
while one.stats()["heartbeat_age_s"] < 0.2:
    time.sleep(0.01)
child = os.fork()
if child:
    print(one.pid, child, flush=True)
time.sleep(1000)
"""


def test_it_ends_though_it_hangs_and_a_fork_of_its_trainer_lives(tmp_path):
    trainer = subprocess.Popen(
        [sys.executable, "-c", HANGING, tmp_path], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    generator, child = map(int, trainer.stdout.readline().split())
    trainer.kill()
    trainer.wait()
    trainer.stdout.close()
    try:
        wait_until(lambda: gone(generator), 10)
        assert not gone(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_trainers_share_a_folder_and_one_is_killed(tmp_path):
    first = train(tmp_path, 0, 10_000)
    first.stdout.readline()
    source = OnlineGenerator("onlines:Slow", tmp_path / "buffer", classes=CLASSES)
    with source:
        assert right(source.take(0, 500), 0, 500)
        assert all(gone(one.pid) for one in processes(os.getpid())
                   if one.pid not in family(first.pid))  # fmt: skip
        first.kill()
        assert right(source.take(1, 900), 1, 900)
        first.stdout.close()
        first.wait()
    assert source.stats()["late"] == 0


def family(pid):
    """A process and all below it."""
    try:
        return {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return {pid}


def test_a_taker_that_is_killed_costs_nothing(tmp_path):
    with OnlineGenerator(make, tmp_path / "buffer", classes=CLASSES) as source:
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        worker = context.Process(target=_take, args=(source, 0, 10**6, results))
        worker.start()
        wait_until(lambda: source.stats()["taken"] > 20)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        counted = source.stats()["taken"]
        wait_until(lambda: not list((tmp_path / "buffer/takers").iterdir()))

        assert source.stats()["taken"] == counted
        assert right(source.take(0, 3), 0, 3)
        assert source.stats()["taken"] == counted + 1
