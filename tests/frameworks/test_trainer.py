"""A Hugging Face Trainer that is fed by our loaders trains on every sample once."""

import json
from types import SimpleNamespace

import pytest
from launching import SAMPLES, finish, joined, run, start

import fiberaug
from fiberaug.integrations.trainer import _Feed

pytestmark = pytest.mark.timeout(300)
# Slow: the ranks are started again for it.
WORKERS = [2, pytest.param(0, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=WORKERS, ids=str)
def runs(shards, tmp_path_factory, request):
    """Rank 1 is killed in the second epoch; then every checkpoint is resumed."""
    folder = tmp_path_factory.mktemp("run")
    done = finish(start("trained.py", 2, "killed", shards, folder, request.param))
    assert all(code != 0 for code, _, _ in done)
    said = run("trained.py", 2, "resumed", shards, folder, request.param, seconds=200)
    seen = {}
    for name in ("killed", *said[0]):
        files = [folder / f"{name}-{rank}.jsonl" for rank in range(2)]
        seen[name] = [
            [json.loads(line) for line in path.read_text().splitlines()]
            for path in files
            if path.exists()
        ]
    return said, seen


def test_two_epochs_are_those_of_one_process(runs, shards):
    _, seen = runs
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 8)
    for epoch in range(2):
        parts = [
            [rows for number, rows in rank if number == epoch]
            for rank in seen["unbroken"]
        ]
        assert joined(parts) == [key for b in loader for key in b["__key__"]]


def test_a_resume_sees_the_batches_after_the_checkpoint_and_learns_the_same(runs):
    said, seen = runs
    names = [name for name in said[0] if name != "unbroken"]

    assert len(names) == 4
    for name in names:
        step = int(name.split("-")[1])
        for resumed, whole in zip(seen[name], seen["unbroken"], strict=True):
            assert resumed == whole[step:], name
        for rank in range(2):
            assert said[rank][name]["updates"] == 12
            assert said[rank][name]["weights"] == said[rank]["unbroken"]["weights"]


def test_evaluation_measures_every_sample_once_and_no_padding(runs):
    said, _ = runs
    for rank in said:
        for run_ in rank.values():
            assert run_["labels"] == [i % 4 for i in range(SAMPLES)]


def test_a_data_set_that_is_given_to_a_trainer_is_dealt_in_order_by_one_process(
    shards, tmp_path
):
    (found,) = run("naive_trainer.py", 1, shards, tmp_path)
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 4)
    keys = [[int(k[1:]) for k in b["__key__"]] for _ in range(2) for b in loader]

    assert found == dict.fromkeys(found, keys)


def test_and_by_two_is_refused_unless_the_split_is_left_to_the_trainer(
    shards, tmp_path
):
    ranks = run("naive_trainer.py", 2, shards, tmp_path)

    for rank in ranks:
        for way in ("0", "2"):
            assert "Accelerate with 2 processes" in rank[way]
            assert "fiberaug.DataLoader" in rank[way]
    keys = [i for rank in ranks for batch in rank["split"] for i in batch]
    assert sorted(set(keys)) == list(range(SAMPLES))
    assert len(keys) <= SAMPLES + 1, "Accelerate evens out the last batch"


def feed(shards, batch_size=4, **state):
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), batch_size)
    trainer = SimpleNamespace(
        args=SimpleNamespace(gradient_accumulation_steps=2),
        state=SimpleNamespace(stateful_callbacks={}, **state),
    )
    fields = {"pixel_values": "image", "labels": "label"}
    return _Feed(loader, fields, -100, trainer), loader


def test_a_checkpoint_of_other_batches_is_refused(shards):
    """12 batches of 4 are 6 updates; update 2 of epoch 1 is at sample 16."""
    fed, loader = feed(shards, global_step=8)
    assert fed.go_on() == 4
    assert loader.state_dict()["position"] == 16

    other, _ = feed(shards, 3, global_step=8)
    saved = {"attributes": {"loader": loader.state_dict()}}
    other._trainer.state.stateful_callbacks["LoaderState"] = saved
    with pytest.raises(fiberaug.UsageError, match=r"at sample 16 of epoch 1.*as many"):
        other.go_on()


def test_padding_rows_have_the_label_that_losses_leave_out(shards):
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, rank=1, world_size=2), 4
    )
    fed = _Feed(loader, {"pixel_values": "image", "labels": "label"}, -100, None)
    last = list(fed)[-1]

    assert set(last) == {"pixel_values", "labels"}
    assert last["labels"].tolist()[-1] == -100
    assert (last["labels"][:-1] >= 0).all()
    with pytest.raises(fiberaug.UsageError, match=r"no \['depth'\]"):
        next(iter(_Feed(loader, {"x": "depth"}, -100, None)))
