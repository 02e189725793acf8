"""A minute of the soak run: killed at random, read through a server that flaps."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", ["local", "http"])
def test_every_sample_comes_once_through_kills_and_nothing_grows(
    request, tmp_path, source
):
    soak = request.config.rootpath / "benchmarks/soak.py"
    remote = ["--http", "--cache=75MB"] if source == "http" else []
    subprocess.run(
        [sys.executable, soak, "--samples=100000", "--kills=2", "--every=20",
         "--sample-s=0.5", *remote, f"--json={tmp_path / 'soak.json'}"],
        check=True, stdout=subprocess.DEVNULL, timeout=550,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip

    # The run itself has checked that the accepted steps hold every sample once.
    figures = json.loads((tmp_path / "soak.json").read_text())
    assert len(figures["kills"]) == 2
    worker = figures["most"]["worker"]
    assert worker["descriptors"] < 2 * 128 + 64
    assert worker["threads"] <= 16
    if source == "http":
        assert figures["sent_mib"] >= figures["set_mib"]
        # Files are looked at one after the other, while others come and go.
        assert worker["cache_mib"] <= 1.1 * 75e6 / 2**20
