"""Laws of the loader: passes, epochs, state, padding, and what a user receives."""

import json
import multiprocessing
import os
import signal

import albumentations as A
import numpy as np
import pytest
import torch
from sets import photo, samples

import fiberaug


def keys(batches) -> list[str]:
    return [
        key
        for batch in batches
        for key, pad in zip(batch["__key__"], batch["is_pad"], strict=True)
        if not pad
    ]


def loader_of(shards, batch_size=8, *, dataset=None, **options) -> fiberaug.DataLoader:
    return fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards, **(dataset or {})), batch_size, **options
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_list_of_batches_is_the_batches_one_by_one(write_set, num_workers):
    """Nothing that was given out is written again."""
    shards = write_set(50)
    one_by_one = [
        b["image"].clone() for b in loader_of(shards, num_workers=num_workers)
    ]
    at_once = list(loader_of(shards, num_workers=num_workers))

    assert all(
        torch.equal(a, b["image"]) for a, b in zip(one_by_one, at_once, strict=True)
    )


def test_two_loaders_that_run_at_once_do_not_disturb_each_other(write_set):
    shards = write_set(50)
    pipeline = A.Compose(
        [A.RandomCrop(24, 24), A.ColorJitter(p=0.5)]
    )  # one object for both
    alone = [b["image"] for b in loader_of(shards, dataset={"transform": pipeline})]
    left = loader_of(shards, dataset={"transform": pipeline})
    right = loader_of(shards, dataset={"transform": pipeline}, num_workers=1)

    pairs = list(zip(left, right, strict=True))

    for image, (a, b) in zip(alone, pairs, strict=True):
        assert torch.equal(image, a["image"])
        assert torch.equal(image, b["image"])


def test_iter_starts_nothing(write_set):
    """Frameworks probe loaders with an iterator that they throw away."""
    shards = write_set(30)
    loader = loader_of(shards, num_workers=2)
    before = loader.state_dict()
    for _ in range(3):
        iter(loader)

    assert loader.state_dict() == before
    assert not multiprocessing.active_children()
    assert loader.epoch == 0
    assert keys(loader) == keys(loader_of(shards))


def test_a_pass_after_a_broken_off_one_is_the_next_epoch_from_its_start(write_set):
    shards = write_set(40)
    reference = loader_of(shards)
    epochs = [keys(reference), keys(reference), keys(reference)]
    loader = loader_of(shards)
    broken_off = iter(loader)
    next(broken_off)

    assert keys(loader) == epochs[1]
    with pytest.raises(fiberaug.UsageError, match="this pass is over"):
        next(broken_off)
    assert keys(loader) == epochs[2]


def test_set_epoch_begins_that_epoch_and_keeps_a_resume_of_it(write_set):
    shards = write_set(40)
    reference = loader_of(shards)
    epochs = [keys(reference) for _ in range(3)]
    loader = loader_of(shards)
    loader.set_epoch(2)
    assert keys(loader) == epochs[2]

    stopped = loader_of(shards)
    stopped.set_epoch(1)
    it = iter(stopped)
    next(it)
    state = stopped.state_dict()
    resumed = loader_of(shards)
    resumed.load_state_dict(state)
    resumed.set_epoch(1)
    assert keys(resumed) == epochs[1][8:]
    resumed.load_state_dict(state)
    resumed.set_epoch(2)
    assert keys(resumed) == epochs[2]


def test_the_end_of_an_epoch_resumes_as_nothing_left_and_then_the_next(write_set):
    shards = write_set(24)
    reference = loader_of(shards)
    epochs = [keys(reference), keys(reference)]
    loader = loader_of(shards)
    it = iter(loader)
    for _ in range(3):
        next(it)
    at_the_end = loader.state_dict()
    assert next(it, None) is None
    after_the_end = loader.state_dict()

    again = loader_of(shards)
    again.load_state_dict(at_the_end)
    assert keys(again) == []
    assert keys(again) == epochs[1]
    again.load_state_dict(after_the_end)
    assert keys(again) == epochs[1]


def test_evaluation_shows_every_sample_once_in_order_and_stays_in_epoch_0(write_set):
    loader = loader_of(write_set(21), dataset={"train": False})

    assert keys(loader) == keys(loader) == [f"k{i:03d}" for i in range(21)]
    loader.set_epoch(5)
    assert loader.epoch == 0


@pytest.mark.parametrize(("drop_last", "steps", "rows"), [(False, 3, 5), (True, 2, 8)])
def test_the_last_batch_is_short_or_dropped(write_set, drop_last, steps, rows):
    loader = loader_of(write_set(21), drop_last=drop_last)
    batches = list(loader)

    assert len(loader) == len(batches) == steps
    assert len(batches[-1]["image"]) == rows
    assert ("is_pad" in batches[-1]) is not drop_last


def test_ranks_make_equal_steps_and_padding_is_flagged(write_set):
    """25 samples on 2 ranks of 4: the last batch has 1 sample, so one rank pads."""
    shards = write_set(25)
    parts = [
        list(loader_of(shards, 4, dataset={"rank": rank, "world_size": 2}))
        for rank in (0, 1)
    ]

    assert len(parts[0]) == len(parts[1]) == 4
    assert [int(b["is_pad"].sum()) for part in parts for b in part] == [
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
    ]
    assert sorted(keys(parts[0]) + keys(parts[1])) == [f"k{i:03d}" for i in range(25)]
    assert parts[1][-1]["image"].shape == parts[0][-1]["image"].shape


def test_a_state_of_other_data_seed_or_recipe_is_refused_by_name(write_set):
    shards = write_set(20)
    state = loader_of(shards).state_dict()
    others = {
        "fingerprint": loader_of(write_set(samples(20), "other", "30kB")),
        "plan.seed": loader_of(shards, dataset={"seed": 1}),
        "plan.unit": loader_of(shards, dataset={"unit": 4}),
        "recipe": loader_of(shards, dataset={"transform": A.HorizontalFlip()}),
    }

    for name, loader in others.items():
        with pytest.raises(fiberaug.StateMismatch, match=name):
            loader.load_state_dict(state)
    with pytest.raises(fiberaug.StateMismatch, match="lacks"):
        loader_of(shards).load_state_dict({"epoch": 1})
    with pytest.raises(fiberaug.StateMismatch, match="position 21 of 20"):
        loader_of(shards).load_state_dict({**state, "position": 21})
    assert len(json.dumps(state)) < 600


def test_output_gives_tuples_in_the_order_of_the_names(write_set):
    image, label, key = next(
        iter(loader_of(write_set(9), output=("image", "label", "__key__")))
    )

    assert image.shape == (8, 3, 40, 48)
    assert label.dtype == torch.int64
    assert len(key) == 8


def test_pixels_stay_uint8_where_nothing_normalises(write_set):
    shards = write_set(9)
    batch = next(iter(loader_of(shards, dataset={"train": False})))

    assert batch["image"].dtype == torch.uint8
    assert np.array_equal(batch["image"][0].permute(1, 2, 0).numpy(), photo(0))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_normalisation_at_the_end_is_that_of_albumentations_bit_for_bit(
    write_set, num_workers
):
    normalize = A.Normalize(mean=(0.3, 0.5, 0.6), std=(0.2, 0.1, 0.3))
    dataset = {
        "transform": A.Compose([A.CenterCrop(32, 32), normalize]),
        "train": False,
    }
    loader = loader_of(write_set(9), dataset=dataset, num_workers=num_workers)
    batch = next(iter(loader))
    expected = A.Compose([A.CenterCrop(32, 32), normalize])(image=photo(3))["image"]
    assert np.array_equal(batch["image"][3].permute(1, 2, 0).numpy(), expected)
    assert batch["record"][3].applied_transforms[-1].name == "Normalize"


def test_no_global_generator_is_read_or_left_changed(write_set):
    import random

    loader = loader_of(
        write_set(20), dataset={"transform": A.Compose([A.ColorJitter(p=1)])}
    )
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = [b["image"] for b in loader]
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)

    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())
    loader.set_epoch(0)
    assert all(torch.equal(a, b["image"]) for a, b in zip(first, loader, strict=True))


def test_collate_fn_gets_finished_samples_in_the_worker(write_set):
    loader = loader_of(write_set(9), collate_fn=_pids, num_workers=1)
    pid, names = next(iter(loader))

    assert pid != os.getpid()
    assert {"image", "label", "__key__", "record", "is_pad"} <= names


def _pids(rows):
    return os.getpid(), set(rows[0])


@pytest.mark.timeout(60)
def test_a_killed_worker_is_an_error_that_names_what_was_in_flight(write_set):
    loader = loader_of(
        write_set(60), 4, dataset={"transform": A.Compose([_Kill()])}, num_workers=2
    )
    it = iter(loader)
    with pytest.raises(fiberaug.WorkerDied, match="batches at positions"):
        list(it)
    with pytest.raises(fiberaug.WorkerDied):  # a failed pass stays failed
        next(it)
    loader.close()


class _Kill(A.ImageOnlyTransform):
    """Kills its own process, as the kernel does when memory runs out."""

    def __init__(self):
        super().__init__(p=1)

    def apply(self, img, **_):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return img


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_fault_of_the_program_surfaces_at_once_with_the_sample(
    write_set, num_workers
):
    dataset = {"transform": A.Compose([_Fault()])}
    it = iter(loader_of(write_set(20), dataset=dataset, num_workers=num_workers))
    with pytest.raises(ZeroDivisionError) as caught:
        next(it)

    notes = "\n".join(caught.value.__notes__)
    assert "while making sample 'k0" in notes
    assert "shard-000000.tar" in notes
    with pytest.raises(ZeroDivisionError):
        next(it)


class _Fault(A.ImageOnlyTransform):
    """A transform with a bug."""

    def __init__(self):
        super().__init__(p=1)

    def apply(self, img, **_):
        return img // (len(img) - len(img) or 1 // 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"num_workers": -1}, "num_workers must be >= 0"),
        ({"shuffle": False}, "does not agree"),
        ({"collate": "pile"}, "collate must be one of"),
        ({"targets": "coco"}, "targets must be one of"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_loader_is_built(
    write_set, arguments, words
):
    with pytest.raises(fiberaug.UsageError, match=words):
        fiberaug.DataLoader(fiberaug.StreamingDataset(write_set(9)), **arguments)


def test_the_figures_have_stable_names(write_set):
    loader = loader_of(write_set(20), num_workers=1)
    list(loader)
    stats = loader.stats()

    assert set(stats) == {
        "images_per_s", "wait_s", "decode_s", "augment_s", "queue_fill", "quarantined",
        "quarantined_shards", "share/real",
    }  # fmt: skip
    assert stats["images_per_s"] > 0
    assert 0 <= stats["queue_fill"] <= 1


def test_frameworks_find_the_attributes_that_they_read(write_set):
    loader = loader_of(write_set(20), 5)

    assert (loader.batch_size, loader.num_workers, loader.drop_last) == (5, 0, False)
    assert loader.sampler is None
    assert loader.dataset.num_samples == len(loader.dataset) == 20
    assert not isinstance(loader, torch.utils.data.DataLoader)


def test_set_epoch_while_a_pass_runs_is_for_the_next_one(write_set):
    shards = write_set(24)
    reference = loader_of(shards)
    epochs = [keys(reference) for _ in range(4)]
    loader = loader_of(shards)
    running = iter(loader)
    seen = keys([next(running)])
    loader.set_epoch(3)

    assert loader.state_dict()["epoch"] == 0
    assert seen + keys(running) == epochs[0]
    assert keys(loader) == epochs[3]


def test_a_state_that_is_loaded_ends_the_pass_that_runs(write_set):
    loader = loader_of(write_set(24))
    state = loader.state_dict()
    running = iter(loader)
    next(running)
    loader.load_state_dict(state)

    assert loader.state_dict() == state
    with pytest.raises(fiberaug.UsageError, match="this pass is over"):
        next(running)


def test_losses_of_the_last_batch_do_not_overwrite_the_manifest(write_set, tmp_path):
    loader = loader_of(write_set(8), log=tmp_path / "run")
    batches = list(loader)
    before = (tmp_path / "run/manifest.json").read_bytes()
    loader.log.attach(batches[-1], [0.5] * 8)
    loader.close()

    assert (tmp_path / "run/manifest.json").read_bytes() == before
