"""A GAN's training ended anywhere is the unbroken one; ranks share one gradient."""

import json
import os
import random
import signal
import time

import numpy as np
import pytest
from launching import finish, start, start_alone

from fiberaug.training.states import latest

IMAGES = 240  # 20 steps


def _told(processes):
    done = finish(processes)
    for code, _, errors in done:
        assert code == 0, errors
    return json.loads(done[0][1].splitlines()[-1])


def _alone(out, images=IMAGES, *more):
    return _told([start_alone("train_gan.py", out, images, *more)])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return _alone(tmp_path_factory.mktemp("unbroken") / "run")


def _steps(out):
    """The steps that the table of a run has."""
    try:
        return (out / "loss.csv").read_text().count("\n") - 1
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_it_is_the_unbroken_run(tmp_path, unbroken, seed):
    rng, out, kills = random.Random(seed), tmp_path / "run", 0
    while True:
        process = start_alone("train_gan.py", out, IMAGES)
        until = _steps(out) + rng.randint(1, 7)
        while process.poll() is None and _steps(out) < until:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None or kills == 5:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    told = _told([process])
    assert told["sha256"] == unbroken["sha256"]
    assert _steps(out) == IMAGES // 12
    assert kills >= 2


def test_ctrl_c_ends_after_a_step_and_the_same_call_goes_on(tmp_path, unbroken):
    out = tmp_path / "run"
    process = start_alone("train_gan.py", out, IMAGES)
    while _steps(out) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    steps = _steps(out)
    assert 3 <= steps < IMAGES // 12
    assert latest(out).facts["step"] == steps, "the step that ended is kept"
    told = _alone(out)
    assert told["sha256"] == unbroken["sha256"]
    assert _steps(out) == IMAGES // 12


def test_two_ranks_train_what_one_process_trains(tmp_path, unbroken):
    told = _told(start("train_gan.py", 2, tmp_path / "run", IMAGES))
    one, two = (np.array(run["average"]) for run in (unbroken, told))
    assert np.linalg.norm(one - two) / np.linalg.norm(one) < 1e-3


@pytest.mark.slow
def test_ranks_stop_together_and_a_state_moves_to_other_ranks(tmp_path, unbroken):
    out = tmp_path / "run"
    stopped = _told(start("train_gan.py", 2, out, 120))
    assert stopped["nimg"] == 120
    other = tmp_path / "stopped"
    assert _told(start("train_gan.py", 2, other, IMAGES, "rpgan", 7))["nimg"] == 84
    again = _told([start_alone("train_gan.py", other, IMAGES)])
    assert again["nimg"] == 84
