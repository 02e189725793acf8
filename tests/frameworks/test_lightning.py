"""Under Lightning ranks have their parts, and its own checkpoints resume exactly."""

import json
import subprocess

import pytest
from launching import joined, start_alone
from sets import samples

import fiberaug

pytestmark = pytest.mark.timeout(300)
# Slow: the ranks are started again for it.
WORKERS = [2, pytest.param(0, marks=pytest.mark.slow)]
SAMPLES = 45  # six steps of 2 ranks x 4 rows
CHECKPOINTS = {
    "step-epoch=0-step=2": 2,
    "step-epoch=0-step=4": 4,
    "step-epoch=0-step=6": 6,
    "epoch-epoch=0-step=6": 6,
    "val-epoch=0-step=6": 6,
    "step-epoch=1-step=8": 8,
}


def launch(*arguments):
    """Lightning starts the other rank itself, in the same group of processes."""
    process = start_alone("lightning_ranks.py", *arguments)
    try:
        _, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, errors


@pytest.fixture(scope="module", params=WORKERS, ids=str)
def runs(tmp_path_factory, request):
    """What each rank of each run has trained on and validated with."""
    folder = tmp_path_factory.mktemp("lightning")
    shards = folder / "set"
    fiberaug.convert(samples(SAMPLES), shards, shard_size="60kB", progress=False)
    code, _ = launch("killed", shards, folder, request.param)
    assert code != 0, "rank 0 cannot go on without rank 1"
    code, errors = launch("resumed", shards, folder, request.param)
    assert code == 0, errors  # whole: what ended first stands at the beginning
    found = {}
    for name in ("killed", "unbroken", *CHECKPOINTS):
        ranks = [folder / name / f"rank-{rank}.jsonl" for rank in range(2)]
        found[name] = [
            [json.loads(line) for line in path.read_text().splitlines()]
            for path in ranks
        ]
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(str(shards)), 8)
    found["order"] = [[k for b in loader for k in b["__key__"]] for _ in range(3)]
    return found


def steps(run, kind):
    return [[line[1:] for line in rank if line[0] == kind] for rank in run]


def test_three_epochs_are_those_of_one_process(runs):
    for epoch in range(3):
        parts = [
            [rows for number, _, rows in rank if number == epoch]
            for rank in steps(runs["unbroken"], "train")
        ]
        assert joined(parts) == runs["order"][epoch]


def test_validation_sees_every_sample_once_in_each_epoch(runs):
    for epoch in range(3):
        parts = [
            [rows for number, _, rows in rank if number == epoch]
            for rank in steps(runs["unbroken"], "val")
        ]
        assert joined(parts) == [f"k{i:03d}" for i in range(SAMPLES)]


def test_the_killed_run_had_begun_like_the_unbroken_one(runs):
    for broken, whole in zip(
        steps(runs["killed"], "train"), steps(runs["unbroken"], "train"), strict=True
    ):
        assert 9 <= len(broken) <= 10
        assert broken == whole[: len(broken)]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_goes_on_with_the_batches_that_were_not_trained_on(runs, name):
    """Of the middle, the last step, the end and the validation of an epoch."""
    for resumed, whole in zip(
        steps(runs[name], "train"), steps(runs["unbroken"], "train"), strict=True
    ):
        assert resumed == whole[CHECKPOINTS[name] :]
