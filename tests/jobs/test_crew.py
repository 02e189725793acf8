"""Laws of worker processes: results in order, errors whole, nobody left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from fiberaug.errors import DataRefused, WorkerDied
from fiberaug.jobs.crew import count, run_jobs


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    jobs = [(7, 2), (9, 3), (1, 5)]

    assert list(run_jobs(divmod, jobs, workers=workers)) == [(3, 1), (3, 0), (0, 1)]


def counted(images):
    for _ in range(images):
        count(1, 10, 0)
    count(2, 5, 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_that_jobs_count_is_added_up(workers):
    told = []
    jobs = [(3,), (0,), (40,), (7,)]
    list(run_jobs(counted, jobs, workers=workers, told=told.append))

    assert told[-1] == (50 + 8, 500 + 20, 8)
    assert told == sorted(told)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_an_error_that_says_so():
    with pytest.raises(WorkerDied, match=r"after 0 jobs.*memory"):
        list(run_jobs(die, [(), ()], workers=2))


def fail():
    raise DataRefused("no", key="k")


def test_the_error_of_a_worker_arrives_whole():
    with pytest.raises(DataRefused, match="no") as caught:
        list(run_jobs(fail, [(), ()], workers=2))

    assert caught.value.key == "k"


IDLE = """
    import time
    from fiberaug.jobs.crew import check_wanted, run_jobs

    def job(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            check_wanted()
            time.sleep(0.01)
        return seconds

    for done in run_jobs(job, [(0,), (0,), (100,)], workers=3):
        print(done, flush=True)
"""


@pytest.mark.parametrize("whom", ["all", "the parent"])
def test_an_interrupt_is_the_parents_to_handle(whom):
    """Workers that wait say nothing, one that works stops at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(IDLE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "0\n"]
        send = os.killpg if whom == "all" else os.kill
        send(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert errors.count("Traceback") == 1
        assert errors.rstrip().endswith("KeyboardInterrupt")
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
