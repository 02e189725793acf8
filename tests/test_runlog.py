"""What a run delivered can be read afterwards, whatever became of the run."""

import json
import math
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.making import Failure
from fiberaug.runlog import read_manifest

PIPELINE = A.Compose([A.RandomCrop(24, 24), A.HorizontalFlip()])


def record(**values):
    """A record of nothing in particular."""
    return fiberaug.Record(**{
        "key": "a", "url": "s.tar", "index": 0, "uid": "0" * 16, "position": 0,
        "visit": 0, "view": 0, "epoch": 0, "seed": 0, "origin": "real", "decode": {},
        "applied_transforms": (), "batch": {"unit": 0, "row": 0}, "recipe": "",
        "environment": "", "replayable": True, **values,
    })  # fmt: skip


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
    for _ in range(2):
        with fiberaug.DataLoader(
            fiberaug.StreamingDataset(shards), 4, log=run
        ) as loader:
            next(iter(loader))
    assert [r.position for r in fiberaug.RecordLog(run)] == [
        *range(24),
        *range(4),
        *range(4),
    ]


@pytest.fixture
def log(tmp_path):
    """A log that is closed at the end."""
    with fiberaug.RecordLog(tmp_path) as log:
        yield log


def _life(folder, first, pipe):
    """Write batches for ever, and report after each what has been written."""
    log = fiberaug.RecordLog(folder)
    log.start({})
    for n in range(first, first + 10**6, 5):
        log.write(record(position=n + i, key="k" * 500) for i in range(5))
        os.write(pipe, f"{n + 5}\n".encode())


@pytest.mark.timeout(120)
def test_killed_at_any_moment_and_continued_each_batch_is_there_once(tmp_path):
    """What was written when write() returned is read; no line is torn or doubled."""
    context, draw = multiprocessing.get_context("fork"), random.Random(0)
    count = 0
    for _ in range(12):
        ours, theirs = os.pipe()
        process = context.Process(target=_life, args=(tmp_path, count, theirs))
        process.start()
        os.close(theirs)
        time.sleep(draw.choice([0.002, 0.01, 0.04]) * (1 + draw.random()))
        process.kill()
        process.join()
        with os.fdopen(ours) as pipe:
            reported = max(map(int, pipe.read().split()), default=count)
        positions = [r.position for r in fiberaug.RecordLog(tmp_path)]

        assert positions == list(range(len(positions)))
        assert len(positions) in {reported, reported + 5}
        count = len(positions)
    assert count > 100


def test_a_full_disk_is_said_and_takes_no_line_with_it(log):
    """The batch that did not fit is not there; the log goes on when there is room."""
    written = [record(position=n, key=random.Random(n).randbytes(400).hex())
               for n in range(40)]  # fmt: skip
    log.write(written[:10])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 900, hard))
        with pytest.raises(fiberaug.StoreError, match=r"cannot write .*records-0"):
            log.write(written[10:30])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(log) == written[:10]
    log.write(written[30:])
    assert list(log) == written[:10] + written[30:]


def test_a_log_is_read_while_it_is_written(log, tmp_path):
    for n in range(5):
        log.write([record(position=n)])
        log.write([])
        assert [r.position for r in fiberaug.RecordLog(tmp_path)] == list(range(n + 1))


def test_ranks_are_read_in_the_order_of_their_numbers(tmp_path):
    for rank in (10, 2, 0):
        with fiberaug.RecordLog(tmp_path, rank=rank) as log:
            log.write(record(position=100 * rank + n) for n in (1, 0))
    (tmp_path / "records-x.jsonl.zst").write_bytes(b"of somebody else")

    positions = [r.position for r in fiberaug.RecordLog(tmp_path)]
    assert positions == [1, 0, 201, 200, 1001, 1000]


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"v": 2}', '{"v": 1, "key": "k"}', "[" * 100_000]
)
def test_a_line_that_is_no_record_is_said_with_its_file_or_left_out(
    log, tmp_path, line
):
    log.write([record(position=0)])
    offset = log.path.stat().st_size
    log.write([record(position=1).to_json(), line, record(position=2).to_json()])
    with pytest.raises(fiberaug.DataRefused, match=r"records-0.* no record") as caught:
        list(log)

    assert caught.value.offset == offset
    skipping = fiberaug.RecordLog(tmp_path, skip_damaged=True)
    assert [r.position for r in skipping] == [0, 1, 2]


def test_quarantine_lines_stand_alone_whatever_was_cut_before(log, tmp_path):
    failure = Failure("a.tar", "k", None, "decode", "broken", 255, 0, 1, 0)
    log.quarantine([])
    assert not (tmp_path / "quarantine.jsonl").exists()
    log.quarantine([failure])
    with (tmp_path / "quarantine.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"shard": "a.t')
    log.quarantine([failure, failure])
    lines = (tmp_path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()

    assert [json.loads(lines[n])["uid"] for n in (0, 2, 3)] == [f"{255:016x}"] * 3
    assert len(lines) == 4


# ---- losses -------------------------------------------------------------------------


def test_losses_are_attached_to_samples_and_do_not_disturb_the_records(
    write_set, tmp_path
):
    with fiberaug.DataLoader(
        fiberaug.StreamingDataset(write_set(10)), 4, log=tmp_path / "run"
    ) as loader:
        for batch in loader:
            loader.log.attach(batch, batch["label"].float() + 0.5)
    log = fiberaug.RecordLog(tmp_path / "run")
    losses = log.table("losses")

    assert losses["loss"] == [r.index % 4 + 0.5 for r in log]
    assert losses["uid"] == [r.uid for r in log]
    assert list(losses["position"]) == list(range(10))


@pytest.mark.parametrize("form", ["record", "text", "views", "views as text"])
def test_a_loss_belongs_to_a_row_in_whatever_form_its_record_comes(log, form):
    rows = [[record(position=n, view=v) for v in (0, 1)] for n in range(3)]
    if "views" not in form:
        rows = [views[0] for views in rows]
    if "text" in form:
        rows = [[r.to_json() for r in row] if "views" in form else row.to_json()
                for row in rows]  # fmt: skip
    log.attach({"record": rows, "is_pad": np.array([False, True, False])}, [1, 2, 3])

    assert log.table("losses") == {
        "uid": ["0" * 16] * 2,
        "epoch": pytest.approx([0, 0]),
        "position": pytest.approx([0, 2]),
        "loss": [1.0, 3.0],
    }


def test_a_loss_that_json_has_no_number_for_comes_back(log):
    log.attach({"record": [record()] * 3}, np.array([np.nan, np.inf, -np.inf]))
    loss = log.table("losses")["loss"]

    assert math.isnan(loss[0])
    assert loss[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    "loss", [[1.0], 0.5, np.float32(0.5), [[1.0], [2.0]], ["a", "b"], np.ones((2, 1))]
)
def test_a_loss_that_is_not_one_number_a_row_is_refused(log, loss):
    with pytest.raises(fiberaug.UsageError, match="loss must"):
        log.attach({"record": [record(), record(position=1)]}, loss)
    assert not log.path.exists()


@pytest.mark.parametrize("batch", [{}, {"image": 1}, (1, 2)])
def test_a_batch_without_records_takes_no_loss(tmp_path, batch):
    with pytest.raises(fiberaug.UsageError, match="the field 'record'"):
        fiberaug.RecordLog(tmp_path).attach(batch, [1.0])


def test_a_folder_without_a_manifest_is_no_run(tmp_path):
    with pytest.raises(fiberaug.StoreError, match="no run folder"):
        fiberaug.replay(record(), tmp_path)
