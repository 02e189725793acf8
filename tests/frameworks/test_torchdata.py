"""torchdata's StatefulDataLoader resumes exactly, and nothing is decoded twice."""

import json
from pathlib import Path

import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

import fiberaug

pytestmark = [
    pytest.mark.timeout(240),
    # torchdata 0.11 calls what torch 2.13 would rather not have called
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]


def counted(sample):
    """Write down that this sample was made, in whatever process."""
    with Path("made.txt").open("a", encoding="utf-8") as file:
        file.write(sample["__key__"] + "\n")
    return sample


def loader(shards, workers, batch_size=4, told=4, **options):
    dataset = fiberaug.StreamingDataset(
        shards, batch_size=told, transform=counted, **options.pop("dataset", {})
    )
    return StatefulDataLoader(dataset, batch_size, num_workers=workers, **options)


def rows(batch):
    return list(zip(batch["__key__"], batch["record"], strict=True))


def through_json(state):
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [0, 1, 3, 10, 11])
def test_a_cut_pass_goes_on_where_it_was_cut(
    write_set, workers, cut, tmp_path, monkeypatch
):
    """45 samples are 12 batches of which worker 0 and 1 build six each."""
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    first = loader(shards, workers)
    unbroken = [[rows(batch) for batch in first] for _ in range(3)]

    first = loader(shards, workers)
    list(first)
    running = iter(first)
    seen = [rows(next(running)) for _ in range(cut)]
    state = through_json(first.state_dict())
    del running, first
    again = loader(shards, workers)
    again.load_state_dict(state)
    rest = [rows(batch) for batch in again]

    assert seen + rest == unbroken[1]
    assert [rows(batch) for batch in again] == unbroken[2]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_a_state_of_the_end_of_an_epoch_begins_the_next(
    write_set, workers, persistent, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    first = loader(shards, workers)
    unbroken = [[rows(batch) for batch in first] for _ in range(4)]
    first = loader(shards, workers, persistent_workers=persistent)
    list(first)
    list(first)
    state = through_json(first.state_dict())
    again = loader(shards, workers, persistent_workers=persistent)
    again.load_state_dict(state)

    assert [[rows(batch) for batch in again] for _ in range(2)] == unbroken[2:]


@pytest.mark.parametrize("workers", [0, 2])
def test_two_resumes_in_a_row_lose_nothing(write_set, workers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    unbroken = [rows(batch) for batch in loader(shards, workers)]
    seen, state = [], None
    for cut in (3, 0, 2, 1):
        part = loader(shards, workers)
        if state is not None:
            part.load_state_dict(state)
        running = iter(part)
        seen += [rows(next(running)) for _ in range(cut)]
        state = through_json(part.state_dict())
        del running
    part = loader(shards, workers)
    part.load_state_dict(state)

    assert seen + [rows(batch) for batch in part] == unbroken


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resume_makes_no_sample_again(write_set, workers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    first = loader(shards, workers)
    running = iter(first)
    seen = [key for _ in range(6) for key, _ in rows(next(running))]
    state = through_json(first.state_dict())
    del running, first
    made = tmp_path / "made.txt"
    made.unlink()
    again = loader(shards, workers)
    again.load_state_dict(state)
    rest = [key for batch in again for key, _ in rows(batch)]

    assert sorted(seen + rest) == [f"k{i:03d}" for i in range(45)]
    assert sorted(made.read_text(encoding="utf-8").split()) == sorted(rest)


@pytest.mark.parametrize("every", [1, 3])
def test_batches_that_do_not_match_those_of_the_data_set_resume_as_well(
    write_set, every, tmp_path, monkeypatch
):
    """The state counts rows, so that a batch of the data set may be cut through."""
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    options = {"batch_size": 3, "told": 4, "snapshot_every_n_steps": every}
    unbroken = [rows(batch) for batch in loader(shards, 1, **options)]
    first = loader(shards, 1, **options)
    running = iter(first)
    seen = [rows(next(running)) for _ in range(5)]
    again = loader(shards, 1, **options)
    again.load_state_dict(through_json(first.state_dict()))

    assert seen + [rows(batch) for batch in again] == unbroken


def test_a_rank_whose_last_rows_are_padding_resumes_within_them(
    write_set, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rank = {"dataset": {"rank": 1, "world_size": 2}}
    shards = write_set(41)
    unbroken = [rows(batch) for batch in loader(shards, 0, 1, 4, **rank)]
    for cut in (19, 20, 21):
        first = loader(shards, 0, 1, 4, **rank)
        running = iter(first)
        seen = [rows(next(running)) for _ in range(cut)]
        again = loader(shards, 0, 1, 4, **rank)
        again.load_state_dict(through_json(first.state_dict()))
        assert seen + [rows(batch) for batch in again] == unbroken


def test_a_state_of_other_ranks_or_batches_or_data_is_refused(
    write_set, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shards = write_set(45)
    first = loader(shards, 0)
    next(iter(first))
    state = through_json(first.state_dict())

    other = loader(shards, 0, told=8)
    other.load_state_dict(state)
    with pytest.raises(fiberaug.StateMismatch, match=r"'batch_size': 4.*moves between"):
        next(iter(other))
    other = loader(shards, 0, dataset={"seed": 5})
    other.load_state_dict(state)
    with pytest.raises(fiberaug.StateMismatch, match=r"plan\.seed"):
        next(iter(other))
