"""A loader delivers a mix as one stream, whoever reads it and wherever it begins."""

from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixsets import delivered, opened
from torch.utils.data import DataLoader as TorchLoader

import fiberaug
from fiberaug import Mix, Schedule

EPOCHS = 2
LAW = settings(
    deadline=None, max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
LINE = Schedule.linear(0.6, 0.1, epochs=2)
WAYS = {
    "replace": lambda s: Mix(s["gan"]),
    "two": lambda s: Mix(
        {"gan": s["gan"], "diffusion": s["diffusion"]}, 0.5,
        weights={"gan": 2, "diffusion": 1},
    ),
    "append": lambda s: Mix(s["gan"], schedule=LINE, mode="append"),
    "unit": lambda s: Mix(s["gan"], 0.25, mode="unit"),
    "class": lambda s: Mix(s["gan"], 0.2, per_class={"bee": 0.6, "cow": 0}),
    "dry": lambda s: Mix(s["small"], 0.5, dry="real"),
    "stop": lambda s: Mix(s["small"], 0.25, dry="stop", match_labels=False),
    "capped": lambda s: Mix(s["small"], 0.5, mode="append", max_reuse=2),
}  # fmt: skip
VARIANTS = {
    "plain": {},
    "balance": {"balance": "uniform"},
    "subset": {"subset": 0.5},
    "size": {"epoch_size": 37},
    "ordered": {"shuffle": False},
    "views": {"views": 2},
}


@pytest.fixture(scope="module")
def whole(sets):
    """A function of (way, variant): what one process delivers in two epochs."""
    kept = {}

    def find(way, variant="plain"):
        if (way, variant) not in kept:
            dataset = opened(sets["real"], WAYS[way](sets), **VARIANTS[variant])
            with fiberaug.DataLoader(dataset, 7) as loader:
                found = {}
                for _ in range(EPOCHS):
                    size, batches = len(loader), list(loader)
                    assert len(batches) == size
                    delivered(batches, found=found)
            kept[way, variant] = found
        return kept[way, variant]

    return find


def read(sets, way, variant, world, batch, **options):
    """What ``world`` ranks deliver together in two epochs."""
    found = {}
    for rank in range(world):
        dataset = opened(
            sets["real"], WAYS[way](sets), rank=rank, world_size=world,
            **VARIANTS[variant],
        )  # fmt: skip
        with fiberaug.DataLoader(dataset, batch, **options) as loader:
            for _ in range(EPOCHS):
                size, batches = len(loader), list(loader)
                assert len(batches) == size
                delivered(batches, found=found)
    return found


@given(
    way=st.sampled_from(sorted(WAYS)), variant=st.sampled_from(sorted(VARIANTS)),
    world=st.integers(1, 3), batch=st.integers(1, 20),
)  # fmt: skip
@LAW
def test_ranks_of_any_batch_size_deliver_one_stream(
    sets, whole, way, variant, world, batch
):
    assert read(sets, way, variant, world, batch) == whole(way, variant)


@pytest.mark.parametrize("way", WAYS)
def test_workers_deliver_the_same_stream(sets, whole, way):
    found = read(sets, way, "plain", 1, 9, num_workers=2, persistent_workers=True)
    assert found == whole(way)


def test_a_worker_of_each_of_three_ranks_delivers_the_same_stream(sets, whole):
    found = read(sets, "append", "balance", 3, 4, num_workers=1)
    assert found == whole("append", "balance")


def test_a_worker_that_is_spawned_delivers_the_same_stream(sets, whole):
    options = {"num_workers": 1, "multiprocessing_context": "spawn"}
    options["persistent_workers"] = True
    assert read(sets, "two", "plain", 1, 9, **options) == whole("two")


@given(
    way=st.sampled_from(sorted(WAYS)), variant=st.sampled_from(sorted(VARIANTS)),
    stop=st.integers(1, 8), after=st.tuples(st.integers(1, 3), st.integers(1, 20)),
)  # fmt: skip
@LAW
def test_a_run_goes_on_where_it_was_left_whatever_reads_it_then(
    sets, whole, way, variant, stop, after
):
    expected, found = whole(way, variant), {}
    world, batch = after
    loader = fiberaug.DataLoader(
        opened(sets["real"], WAYS[way](sets), **VARIANTS[variant]), 6
    )
    run = iter(loader)
    delivered(islice(run, stop), found=found)
    state = loader.state_dict()
    loader.close()
    for rank in range(world):
        dataset = opened(
            sets["real"], WAYS[way](sets), rank=rank, world_size=world,
            **VARIANTS[variant],
        )  # fmt: skip
        with fiberaug.DataLoader(dataset, batch) as again:
            again.load_state_dict(state)
            while again.epoch < EPOCHS:
                delivered(again, found=found)
    assert found == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", ["replace", "append", "stop"])
def test_a_plain_torch_loader_delivers_the_same_stream(sets, whole, way, workers):
    dataset = opened(sets["real"], WAYS[way](sets), batch_size=5)
    found = {}
    loader = TorchLoader(dataset, 5, num_workers=workers)
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)
        assert len(loader) == len(list(loader)) or workers
        dataset.set_epoch(epoch)
        delivered(loader, found=found)
    assert found == whole(way)
