"""Every position of an epoch is accounted for, over ranks, resumes and crashes."""

import albumentations as A
import pytest
from audited import edit, lines_of, make_run, outside, record, write_log
from hypothesis import given
from hypothesis import strategies as st
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.auditing import audit
from fiberaug.auditing.completeness import Completeness
from fiberaug.auditing.positions import Positions
from fiberaug.auditing.reading import Entry

PIPELINE = A.Compose([A.HorizontalFlip(p=0.5)])


def two_ranks(shards, folder, *, epochs=2, steps=None, state=None, world=2):
    """A run of several ranks, broken off after some steps; gives rank 0's state."""
    states = []
    for rank in range(world):
        dataset = fiberaug.StreamingDataset(
            shards, transform=PIPELINE, rank=rank, world_size=world
        )
        count = steps[rank] if isinstance(steps, list) else steps
        with fiberaug.DataLoader(dataset, 12 // world, log=folder) as loader:
            if state is not None:
                loader.load_state_dict(state)
            for _ in range(epochs):
                for step, _batch in enumerate(loader):
                    if count is not None and step + 1 == count:
                        break
            states.append(loader.state_dict())
    return states[0]


def test_ranks_have_each_position_once_together(write_set, tmp_path):
    two_ranks(write_set(70), tmp_path / "run")
    found = audit(tmp_path / "run")
    assert outside(found) == []
    assert not found.findings
    assert [epoch.delivered for epoch in found.epochs] == [70, 70]
    assert (found.ranks, found.passes) == (2, 2)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("position", [15, 30, 47])
def test_a_missing_record_is_found(write_set, tmp_path, rank, position):
    folder = tmp_path / "run"
    two_ranks(write_set(70), folder)
    position += 6 * rank - (position % 12) + 2

    def drop(line):
        return [] if (line["epoch"], line["position"]) == (0, position) else None

    edit(folder, drop, rank)
    found = audit(folder)
    assert outside(found) == ["order"]
    assert found.epochs[0].examples["missing"] == (position,)


def test_a_record_that_is_doubled_is_found(write_set, tmp_path):
    folder = make_run(write_set(40), tmp_path / "run", PIPELINE)
    edit(folder, lambda line: [line, line] if line["position"] == 9 else None)
    found = audit(folder)
    assert outside(found) == ["order"]
    assert (found.epochs[0].doubled, found.counted) == (1, 40)


def test_two_ranks_that_deliver_the_same_are_found(write_set, tmp_path):
    folder = tmp_path / "run"
    two_ranks(write_set(70), folder, epochs=1)
    write_log(folder, lines_of(folder, 0), rank=1)
    found = audit(folder)
    assert {*outside(found)} == {"order"}
    assert found.epochs[0].doubled > 20
    assert found.epochs[0].missing > 20


def test_positions_that_a_resumed_run_repeats_are_noted(write_set, tmp_path):
    shards, folder = write_set(70), tmp_path / "run"
    state = two_ranks(shards, folder, epochs=1, steps=2)
    two_ranks(shards, folder, epochs=1, steps=4)  # dies, and what it did is lost
    two_ranks(shards, folder, epochs=1, state=state)
    found = audit(folder)
    assert found.ok, found.findings
    assert [epoch.repeated for epoch in found.epochs] == [48]
    assert {rate.trials for rate in found.rates} == {70}  # each counts once
    assert found.passes == 3


@pytest.mark.parametrize("world", [1, 3])
def test_another_number_of_ranks_may_go_on(write_set, tmp_path, world):
    shards, folder = write_set(70), tmp_path / "run"
    state = two_ranks(shards, folder, epochs=1, steps=3)
    two_ranks(shards, folder, epochs=2, state=state, world=world)
    found = audit(folder)
    assert found.ok, found.findings
    assert [epoch.delivered for epoch in found.epochs] == [70, 70]


def test_a_repeated_record_that_says_something_else_is_found(write_set, tmp_path):
    shards, folder = write_set(40), tmp_path / "run"
    make_run(shards, folder, PIPELINE)
    make_run(shards, folder, PIPELINE)
    assert audit(folder).ok
    lines = lines_of(folder)
    lines[-3]["key"] = "another"
    write_log(folder, lines, size=8)
    found = audit(folder)
    assert outside(found) == ["order"]
    assert found.epochs[0].changed == 1


def test_another_environment_is_no_other_record(write_set, tmp_path):
    shards, folder = write_set(40), tmp_path / "run"
    make_run(shards, folder, PIPELINE)
    make_run(shards, folder, PIPELINE)
    lines = lines_of(folder)
    for line in lines[50:]:
        line["environment"] = "f" * 16
    write_log(folder, lines, size=8)
    assert audit(folder).ok


def test_a_loader_that_goes_back_repeats(write_set, tmp_path):
    dataset = fiberaug.StreamingDataset(write_set(40), transform=PIPELINE)
    with fiberaug.DataLoader(dataset, 8, log=tmp_path / "run") as loader:
        for step, _batch in enumerate(loader):
            if step == 1:
                state = loader.state_dict()
            if step == 3:
                break
        loader.load_state_dict(state)
        list(loader)
    found = audit(tmp_path / "run")
    assert found.ok, found.findings
    assert (found.epochs[0].repeated, found.epochs[0].delivered) == (16, 40)


def test_ranks_that_died_at_different_steps_end_ragged(write_set, tmp_path):
    folder = tmp_path / "run"
    two_ranks(write_set(70), folder, epochs=1, steps=[2, 4])
    found = audit(folder)
    assert found.ok, found.findings
    assert (found.epochs[0].ragged, found.epochs[0].missing) == (12, 0)


def test_what_is_masked_is_explained_by_the_quarantine(write_set, tmp_path):
    shards = write_set(
        {**sample, "image": cut_jpeg(i) if i in {4, 17} else photo(i, 120, 160)}
        for i, sample in enumerate(samples(30))
    )
    folder = make_run(shards, tmp_path / "run", PIPELINE, train=False)
    found = audit(folder)
    assert found.ok, found.findings
    assert (found.epochs[0].masked, found.epochs[0].missing) == (2, 0)
    edit(folder, lambda line: [] if line["position"] == 7 else None)
    assert audit(folder).epochs[0].examples["missing"] == (7,)


def test_a_sample_that_comes_twice_in_an_epoch_is_found(write_set, tmp_path):
    folder = make_run(write_set(40), tmp_path / "run", PIPELINE)
    other = lines_of(folder)[3]

    def change(line):
        if line["position"] == 20:
            line.update({name: other[name] for name in ("key", "url", "index", "uid")})

    edit(folder, change)
    found = audit(folder)
    assert outside(found) == ["order"]
    assert found.epochs[0].examples["reused"] == (20,)


def test_repeats_that_the_plan_asks_for_are_none(write_set, tmp_path):
    shards = write_set(41)
    for number, asked in enumerate(({"balance": "uniform"}, {"epoch_size": 100})):
        folder = make_run(shards, tmp_path / f"run{number}", PIPELINE, **asked)
        assert audit(folder).ok


def test_a_position_that_the_epoch_does_not_have_is_found(write_set, tmp_path):
    folder = make_run(write_set(40), tmp_path / "run", PIPELINE)
    edit(folder, lambda line: [line, {**line, "position": 10**15}]
         if line["position"] == 39 else None)  # fmt: skip
    found = audit(folder)
    assert outside(found) == ["order"]
    assert found.epochs[0].examples["beyond"] == (10**15,)


def test_an_epoch_that_was_broken_off_is_noted(write_set, tmp_path):
    folder = tmp_path / "run"
    make_run(write_set(40), folder, PIPELINE, batch_size=16, loader={"drop_last": True})
    found = audit(folder)
    assert found.ok
    assert "ends behind position 31 of 40" in found.findings[0].text


@given(
    seen=st.lists(st.integers(0, 9000), min_size=1, max_size=60, unique=True),
    wide=st.lists(st.integers(0, 9), max_size=4),
)
def test_positions_know_what_is_there_and_what_is_not(seen, wide):
    every = {*seen, *(1000 * start + i for start in wide for i in range(700))}
    positions = Positions()
    for position in every:
        assert positions.add(position, position + 1, 0, position % 3) is None
    again = max(every)
    assert positions.add(again, 7, 1, 0) == (again + 1, 0)
    there = {
        first + i: int(source)
        for first, sources in positions.runs()
        for i, source in enumerate(sources)
    }
    assert there == {position: position % 3 for position in every}
    starts = [first for first, _ in positions.runs()]
    assert all(first - 1 not in there for first in starts)
    missing = {p for low, high in positions.holes() for p in range(low, high)}
    assert missing == set(range(max(every))) - every
    assert (positions.begin, positions.end) == (min(every), max(every) + 1)
    assert positions.count == len(every)


def test_a_long_hole_is_counted_without_being_walked_through():
    order = Completeness(lambda _: None, once=True)
    for position in (0, 10**12):
        order.see(Entry(0, 0, 0, 1, record(position)), 0, real=True)
    (epoch,) = order.epochs(lambda *_: False)
    assert epoch.missing == 10**12 - 1


def test_an_end_is_ragged_only_where_the_run_ends(write_set, tmp_path):
    """A rank that went on to the next epoch had the end of this one."""
    folder = tmp_path / "run"
    two_ranks(write_set(70), folder, epochs=2)
    edit(folder, lambda line: [] if line["position"] >= 60 else None, rank=0)
    found = audit(folder)
    assert outside(found) == ["order"]
    assert [(e.missing, e.ragged) for e in found.epochs] == [(5, 0), (0, 5)]
