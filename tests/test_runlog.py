"""What a run delivered can be read afterwards, whatever became of the run."""

import json
import subprocess
import sys
import time
from pathlib import Path

import albumentations as A
import pytest

import fiberaug
from fiberaug.runlog import read_manifest

PIPELINE = A.Compose([A.RandomCrop(24, 24), A.HorizontalFlip()])


def test_every_delivered_row_is_in_the_log_in_order_without_padding(
    write_set, tmp_path
):
    shards = write_set(21)
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, transform=PIPELINE), 8, log=tmp_path / "run"
    ) as loader:
        rows = [r for b in loader for r in b["record"]]

    assert list(fiberaug.RecordLog(tmp_path / "run")) == rows
    assert [r.position for r in rows] == list(range(21))


def test_ranks_write_files_of_their_own_and_padding_is_in_none(write_set, tmp_path):
    shards = write_set(25)
    for rank in (0, 1):
        dataset = fiberaug.StreamingDataset(shards, rank=rank, world_size=2)
        with fiberaug.DataLoader(dataset, 4, log=tmp_path / "run") as loader:
            list(loader)

    assert len(list((tmp_path / "run").glob("records-*.jsonl.zst"))) == 2
    positions = sorted(r.position for r in fiberaug.RecordLog(tmp_path / "run"))
    assert positions == list(range(25))


def test_the_manifest_holds_what_replay_needs(write_set, tmp_path):
    shards = write_set(10)
    dataset = fiberaug.StreamingDataset(shards, transform=PIPELINE)
    with fiberaug.DataLoader(dataset, 5, log=tmp_path / "run") as loader:
        list(loader)
    manifest = read_manifest(tmp_path / "run")

    assert manifest["fingerprint"] == dataset.shard_set.fingerprint
    assert manifest["recipe"]["cpu"]["transform"]["transforms"][0]["height"] == 24
    assert manifest["environment"]["albumentations"] == "2.0.8"


RUN = """
import sys, time
import fiberaug
loader = fiberaug.DataLoader(fiberaug.StreamingDataset(sys.argv[1]), 4, log=sys.argv[2])
for n, batch in enumerate(loader):
    print(n, flush=True)
    if n == 5:
        time.sleep(60)
"""


@pytest.mark.timeout(60)
def test_a_killed_run_keeps_what_it_delivered_and_can_be_gone_on_with(
    write_set, tmp_path
):
    shards, run = write_set(60), tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, shards, str(run)], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.strip() == "5":
            break
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stdout.close()

    assert [r.position for r in fiberaug.RecordLog(run)] == list(range(24))
    for _ in range(2):  # the second time a whole frame precedes
        with fiberaug.DataLoader(
            fiberaug.StreamingDataset(shards), 4, log=run
        ) as loader:
            next(iter(loader))
    assert [r.position for r in fiberaug.RecordLog(run)] == [
        *range(24),
        *range(4),
        *range(4),
    ]


def test_losses_are_attached_to_samples_and_do_not_disturb_the_records(
    write_set, tmp_path
):
    import zstandard

    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(write_set(10)), 4, log=tmp_path / "run"
    ) as loader:
        for batch in loader:
            loader.log.attach(batch, batch["label"].float() + 0.5)
    path = tmp_path / "run/records-0.jsonl.zst"
    reader = zstandard.ZstdDecompressor().stream_reader(
        path.read_bytes(), read_across_frames=True
    )
    lines = [json.loads(line) for line in reader.read().splitlines()]

    assert len([line for line in lines if "loss" in line]) == 10
    assert len(list(fiberaug.RecordLog(tmp_path / "run"))) == 10


def test_a_folder_without_a_manifest_is_no_run(tmp_path):
    with pytest.raises(fiberaug.StoreError, match="no run folder"):
        fiberaug.replay(_record(), Path(tmp_path))


def _record():
    return fiberaug.Record(
        key="a", url="s.tar", index=0, uid="0" * 16, position=0, visit=0, view=0,
        epoch=0, seed=0, origin="real", decode={}, applied_transforms=(), batch={},
        recipe="", environment="", replayable=True,
    )  # fmt: skip
