"""With an online generator a run is the same, whoever is killed and whenever."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from generators import Shapes

import fiberaug

TESTS = Path(__file__).parents[1]
SCRIPT = TESTS / "mixing/scripts/online_trainer.py"
EPOCHS = 8  # of 8 batches


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    with fiberaug.ShardWriter(tmp_path / "real", classes=Shapes.classes) as writer:
        for i in range(90):
            image = rng.integers(0, 256, (24, 32, 3), np.uint8)
            label = int(rng.integers(3))
            writer.write({"__key__": f"r{i:03d}", "image": image, "label": label})
    return str(tmp_path / "real")


def started(source, folder, epochs=EPOCHS, workers=1):
    folder.mkdir(exist_ok=True)
    there = filter(None, [os.environ.get("PYTHONPATH")])
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), source, str(folder), str(epochs),
         str(workers)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *there])},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process, timeout=120):
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors.decode()


def stream(folder):
    """The rows of every batch by (epoch, position); what came twice was the same."""
    found = {}
    for line in (folder / "rows.jsonl").read_text().splitlines():
        try:
            epoch, position, rows = json.loads(line)
        except json.JSONDecodeError:
            continue  # the process was killed while it wrote
        assert found.setdefault((epoch, position), rows) == rows
    return found


def batches(folder):
    """How many batches were written, those that came again included."""
    rows = folder / "rows.jsonl"
    return rows.read_bytes().count(b"\n") if rows.exists() else 0


def ended(pid):
    """Whether a process is gone, or only waits to be told of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"
    except OSError:
        return True


def run_with_kills(source, folder, kills, seed):
    """Kill the trainer and its generator until a run comes through."""
    draw, killed = random.Random(seed), Counter()
    while True:
        process = started(source, folder)
        if sum(killed.values()) >= kills:
            finished(process)
            return killed
        lines, deadline = batches(folder), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if batches(folder) > lines:
                break
            time.sleep(0.01)
        time.sleep(draw.random() * 0.2)
        pid = int((folder / "pid").read_text()) if (folder / "pid").exists() else 0
        whom = draw.choice(("trainer", "generator", "both"))
        if whom != "trainer" and pid and not ended(pid):
            os.kill(pid, signal.SIGKILL)
            killed["generator"] += 1
        if whom != "generator" and process.poll() is None:
            process.kill()
            killed["trainer"] += 1
        elif process.poll() is None:
            time.sleep(draw.random() * 0.5)
            process.kill()
            killed["trainer"] += 1
        process.wait(60)
        errors = process.stderr.read().decode()
        process.stderr.close()
        assert process.returncode in {0, -signal.SIGKILL}, errors
        if ready(folder):  # before the last kill: once more from the start
            (folder / "state.json").unlink()


def ready(folder):
    """Whether a run would be through before it is killed again."""
    state = folder / "state.json"
    if not state.exists():
        return False
    said = json.loads(state.read_text())
    return said["epoch"] >= EPOCHS - 1 and said["position"] > 48


def check_same(source, tmp_path, kills, seed):
    finished(started(source, tmp_path / "whole", workers=0))
    killed = run_with_kills(source, tmp_path / "killed", kills, seed)
    assert killed["trainer"]
    assert killed["generator"]
    assert stream(tmp_path / "killed") == stream(tmp_path / "whole")
    assert (tmp_path / "killed/late").read_text() == "0.0"
    for epoch in range(EPOCHS):
        rows = [
            row
            for (e, _), batch in stream(tmp_path / "killed").items()
            for row in batch
            if e == epoch
        ]
        counts = Counter(row[1] for row in rows)
        assert counts["real"] + counts["online"] == 90
        assert counts["online"] == 27


def sha(image):
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_20_times_it_is_the_same_run(source, tmp_path):
    check_same(source, tmp_path, kills=20, seed=1)


@pytest.mark.timeout(120)
def test_what_was_kept_replays_every_record_bit_for_bit(source, tmp_path):
    finished(started(source, tmp_path / "whole", epochs=2))
    (run,) = (tmp_path / "whole").glob("run-*")
    kept = fiberaug.Pool.open(tmp_path / "whole/kept")
    delivered = [row for batch in stream(tmp_path / "whole").values() for row in batch]
    online = [row for row in delivered if row[1] == "online"]
    assert sum(kept.counts.values()) == len({row[0] for row in online}) == 27 * 2
    pixels = {row[0]: row[3] for row in online}
    records = [r for r in fiberaug.RecordLog(run) if r.origin == "online"]
    assert len(records) == 27 * 2
    for record in records:
        assert sha(fiberaug.replay(record, run)["image"]) == pixels[record.key]
