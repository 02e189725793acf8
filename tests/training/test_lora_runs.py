"""A training of adapters that was killed, and gone on with, is the unbroken one."""

import json
import os
import signal
import time

from launching import finish, start_alone
from tiny_pipelines import write_stable_diffusion

IMAGES = 24  # 12 steps, a state after every second


def _alone(base, out):
    (done,) = finish([start_alone("train_lora.py", base, out, IMAGES)])
    code, told, errors = done
    assert code == 0, errors
    return json.loads(told.splitlines()[-1])["sha256"]


def test_killed_and_gone_on_with_it_is_the_unbroken_run(tmp_path):
    base = write_stable_diffusion(tmp_path / "sd")
    whole = _alone(base, tmp_path / "whole")
    out = tmp_path / "run"
    process = start_alone("train_lora.py", base, out, IMAGES)
    while not list((out / "state").glob("00000000000[4-9]")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "generator").exists()
    assert _alone(base, out) == whole
