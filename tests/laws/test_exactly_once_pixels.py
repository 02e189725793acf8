"""Exactly once through the loader: SHA-256 of pixels and record, with broken samples.

P1 to P11 as in `test_exactly_once.py`, for the whole set, a part, virtual epochs and a
balance, over real shards in one process and in workers.
"""

import json
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fiberaug
from fiberaug.errors import StateMismatch
from fiberaug.jobs.encoding import encode_image

N, BROKEN, EPOCHS = 33, (4, 20), 3
KINDS = {
    "whole": {},
    "subset": {"subset": 0.7},
    "epoch_size": {"epoch_size": 41},
    "balance": {"balance": "uniform", "epoch_size": 29},
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Return three shards of 33 samples in three classes; two samples are broken."""
    folder = tmp_path_factory.mktemp("once") / "set"
    rng = np.random.default_rng(5)
    with fiberaug.ShardWriter(folder, shard_size="24kB") as writer:
        for i in range(N):
            image = rng.integers(0, 256, (8, 8, 3), np.uint8)
            if i in BROKEN:
                image = encode_image(image, "png")[:-40]
            label = i * i % 7 % 3
            writer.write({"__key__": f"s{i:02}", "image": image, "label": label})
    assert len(list(folder.glob("*.tar"))) == 3
    return str(folder)


def noise(sample):
    """Draw from a generator that the library seeds."""
    sample["image"] = sample["image"] ^ np.random.randint(0, 256, (8, 8, 3), np.uint8)
    return sample


def loader(shards, kind, batch, *, rank=0, world_size=1, **options):
    dataset = fiberaug.StreamingDataset(
        shards, transform=noise, unit=2, window=8, lanes=2, rank=rank,
        world_size=world_size, record="text", max_errors=1.0, **KINDS[kind],
    )  # fmt: skip
    return fiberaug.DataLoader(dataset, batch, **options)


def rows(batch):
    """Return position and SHA-256 of pixels and of record of the rows that are real."""
    found = []
    for image, record, pad in zip(
        batch["image"], batch["record"], batch["is_pad"].tolist(), strict=True
    ):
        if not pad:
            pixels, text = image.numpy().tobytes(), record.encode()
            digests = sha256(pixels).hexdigest(), sha256(text).hexdigest()
            found.append((json.loads(record)["position"], *digests))
    return found


@pytest.fixture(scope="module")
def unbroken(shards):
    """The rows of three epochs of each kind, made by one process."""
    found = {}
    for kind in KINDS:
        with loader(shards, kind, 4) as one:
            found[kind] = [
                [row for batch in one for row in rows(batch)] for _ in range(EPOCHS)
            ]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_with_broken_samples_too_every_position_comes_once_and_no_pixels_twice(
    unbroken, kind
):
    """P2, P3, P6, P7 and P9."""
    for rows_of_epoch in unbroken[kind]:
        assert [row[0] for row in rows_of_epoch] == list(range(len(rows_of_epoch)))
    pixels = [row[1] for epoch in unbroken[kind] for row in epoch]
    assert len(set(pixels)) == len(pixels)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_records_are_the_unbroken_runs_for_any_ranks_and_cuts(
    shards, unbroken, kind, data
):
    """P1, P4, P9, P11: cut twice, resumed by other ranks, with the states alone."""
    got, state = [], None
    for last in (False, False, True):
        world = data.draw(st.sampled_from([1, 2, 3]))
        batch = data.draw(st.integers(1, 5))
        cut = 10**6 if last else data.draw(st.integers(0, 4))
        ranks, states = [], []
        for rank in range(world):
            one = loader(shards, kind, batch, rank=rank, world_size=world)
            if state is not None:
                one.load_state_dict(json.loads(state))
            ranks.append([rows(b) for _, b in zip(range(cut), one, strict=False)])
            states.append(json.dumps(one.state_dict()))
        assert len(set(states)) == 1
        state = states[0]
        assert len({len(steps_of_rank) for steps_of_rank in ranks}) == 1
        got += [row for step in zip(*ranks, strict=True) for r in step for row in r]

    finished = json.loads(state)["epoch"]
    assert 1 <= finished <= EPOCHS
    assert got == [row for epoch in unbroken[kind][:finished] for row in epoch]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [0, 1, 5, "all but one", "all"])
def test_resumed_before_or_after_iter_by_workers_the_rest_follows(
    shards, unbroken, kind, cut
):
    """P11: at 0, in the middle, in the last partial batch, at the end."""
    first, second, _ = unbroken[kind]
    with loader(shards, kind, 4) as one:
        states = [json.dumps(one.state_dict())]
        states += [json.dumps(one.state_dict()) for _ in one]
    number = {"all but one": len(states) - 2, "all": len(states) - 1}.get(cut, cut)
    start = min(4 * number, len(first))

    with loader(shards, kind, 6, num_workers=2) as other:
        probed = iter(other)  # a pass that never begins
        other.load_state_dict(json.loads(states[number]))
        del probed
        rest = [row for batch in other for row in rows(batch)]
        after = [row for batch in other for row in rows(batch)]

    assert rest == first[start:]
    assert after == second


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_short_json_and_another_run_refuses_it_by_name(shards, kind):
    """P10."""
    one = loader(shards, kind, 4)
    state = one.state_dict()
    assert len(json.dumps(state)) < 4096
    assert json.loads(json.dumps(state)) == state
    for field, value in (("v", 2), ("fingerprint", "0" * 64), ("recipe", "other")):
        with pytest.raises(StateMismatch, match=field):
            one.load_state_dict({**state, field: value})
    for field, value in (
        ("seed", 9), ("version", 7), ("subset", "fraction 0.9"), ("epoch_size", 1),
        ("balance", "sqrt"), ("window", 9),
    ):  # fmt: skip
        with pytest.raises(StateMismatch, match=rf"plan\.{field}"):
            one.load_state_dict({**state, "plan": {**state["plan"], field: value}})
