"""A diffusion model's training killed is the unbroken one; ranks share one gradient."""

import json
import os
import signal
import time

import numpy as np
import pytest
from launching import finish, start, start_alone

IMAGES = 144  # 12 steps, a state after every third


def _told(processes):
    done = finish(processes)
    for code, _, errors in done:
        assert code == 0, errors
    return json.loads(done[0][1].splitlines()[-1])


def _alone(out):
    return _told([start_alone("train_gan.py", out, IMAGES, "noise")])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return _alone(tmp_path_factory.mktemp("unbroken") / "run")


def test_killed_and_gone_on_with_it_is_the_unbroken_run(tmp_path, unbroken):
    out = tmp_path / "run"
    process = start_alone("train_gan.py", out, IMAGES, "noise")
    while not (out / "state").exists() or not list((out / "state").glob("0*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "generator").exists()
    assert _alone(out)["sha256"] == unbroken["sha256"]


def test_two_ranks_train_what_one_process_trains(tmp_path, unbroken):
    told = _told(start("train_gan.py", 2, tmp_path / "run", IMAGES, "noise"))
    one, two = (np.array(run["average"]) for run in (unbroken, told))
    assert np.linalg.norm(one - two) / np.linalg.norm(one) < 1e-3
