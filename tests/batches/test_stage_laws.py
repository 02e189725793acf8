"""Batch operations: what a sample gets depends on its position alone."""

import subprocess
import sys
from importlib.util import find_spec

import kornia.augmentation as K
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from staged import loader, operations, rows

import fiberaug
from fiberaug.errors import StateMismatch, UsageError
from fiberaug.gpu.operation import Operation
from fiberaug.machine import look
from fiberaug.mixes.blending import MixUp, MixUpOrCutMix


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    from sets import samples  # a folder of tests

    folder = tmp_path_factory.mktemp("stage") / "set"
    fiberaug.convert(samples(200), folder, shard_size="60kB", progress=False)
    return str(folder)


def assert_same(found, whole, positions=None):
    assert sorted(found) == sorted(whole if positions is None else positions)
    for position, (record, content) in found.items():
        assert record == whole[position][0]
        assert all(map(torch.equal, content, whole[position][1])), position


@pytest.mark.parametrize("unit", [4, 16])
@pytest.mark.parametrize("mixes", [None, [MixUpOrCutMix(num_classes=4, p=0.7)]])
@pytest.mark.parametrize("fused", [True, False])
def test_neither_workers_nor_ranks_nor_the_batch_change_records_or_pixels(
    shards, unit, mixes, fused
):
    fields, options = ("image", "label"), {"unit": unit, "mixes": mixes, "fused": fused}
    whole = rows(loader(shards, 96, **options), fields)
    assert len(whole) == 200

    for batch_size, num_workers in ((96, 1), (96, 2), (7, 0), (50, 2)):
        run = loader(shards, batch_size, num_workers=num_workers, **options)
        assert_same(rows(run, fields), whole)
    for world in (2, 3):
        found = {}
        for rank in range(world):
            part = loader(shards, 96 // world, rank=rank, world_size=world, **options)
            found |= rows(part, fields)
        assert_same(found, whole)


def test_fewer_passes_draw_the_same_and_give_nearly_the_same_pixels(shards):
    one, other = (rows(loader(shards, 50, fused=fused)) for fused in (True, False))

    for position, (record, (image,)) in one.items():
        again, (expected,) = other[position]
        assert record.applied_transforms == again.applied_transforms
        torch.testing.assert_close(image, expected, atol=5e-3, rtol=1e-3)


@settings(max_examples=10, deadline=None)
@given(first=st.integers(4, 60), done=st.integers(1, 6), then=st.integers(4, 70))
def test_a_resumed_run_goes_on_as_if_nothing_had_been(shards, first, done, then):
    mixes = [MixUp(num_classes=4)]
    whole = rows(loader(shards, 200, mixes=mixes), ("image", "label"))
    run = loader(shards, first, mixes=mixes)
    begun = iter(run)
    for _ in range(min(done, len(run) - 1)):
        next(begun)
    state = run.state_dict()
    resumed = loader(shards, then, mixes=mixes)
    resumed.load_state_dict(state)

    found = rows(resumed, ("image", "label"))
    assert_same(found, whole, range(state["position"], 200))


@pytest.mark.parametrize("mixes", [None, [MixUp(num_classes=4)]])
@pytest.mark.parametrize("gpu", [None, [K.RandomGaussianBlur((3, 3), (0.1, 2.0))]])
def test_images_come_in_the_dtype_and_layout_that_was_asked_for(shards, gpu, mixes):
    run = loader(shards, 40, gpu=gpu, mixes=mixes)
    half = fiberaug.DataLoader(
        run.dataset, 40, gpu_transform=gpu or operations(), batch_transform=mixes,
        dtype=torch.bfloat16, channels_last=True,
    )  # fmt: skip
    for batch, expected in zip(half, run, strict=True):
        image = batch["image"]
        assert image.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(image, expected["image"].to(torch.bfloat16))
    with pytest.raises(UsageError, match="dtype and channels_last"):
        fiberaug.DataLoader(run.dataset, 40, dtype=torch.bfloat16)
    with pytest.raises(UsageError, match="fused must be"):
        loader(shards, 40, fused="jit")
    if find_spec("triton") is None:
        with pytest.raises(UsageError, match="fused='triton' needs Triton"):
            loader(shards, 40, fused="triton")


def test_epochs_and_seeds_draw_anew(shards):
    run = loader(shards, 40)
    first, second = rows(run), rows(run)
    other = rows(loader(shards, 40, seed=4))

    def drawn(found):
        return [
            [t.params for t in record.applied_transforms if t.path.startswith("gpu.")]
            for record, _ in found.values()
        ]

    assert first.keys() == second.keys() == other.keys()
    assert drawn(first) != drawn(second)
    assert drawn(first) != drawn(other)


def test_an_operation_more_does_not_change_what_the_others_draw(shards):
    def drawn(gpu):
        found = rows(loader(shards, 40, gpu=gpu))
        return {
            position: [t.params for t in record.applied_transforms if t.path == "gpu.0"]
            for position, (record, _) in found.items()
        }

    one, two = drawn(operations()[2:3]), drawn(operations()[2:5])
    assert one == two
    assert any(one.values())


def test_gates_of_a_unit_are_drawn_one_by_one(shards):
    found = rows(loader(shards, 40, gpu=[K.RandomHorizontalFlip(p=0.5)]))
    flipped = sum(
        any(t.name == "RandomHorizontalFlip" for t in record.applied_transforms)
        for record, _ in found.values()
    )

    assert 60 < flipped < 140  # of 200


SEEN = []


class Counting(Operation):
    """Notes how many threads torch has while it runs."""

    def draw(self, shape):
        return {"batch_prob": torch.ones(shape[0])}

    def run(self, image, params):
        SEEN.append(torch.get_num_threads())
        return image


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_get_the_threads_that_workers_leave(shards, num_workers):
    before, most = torch.get_num_threads(), int(look().cpus) + 1
    torch.set_num_threads(most)
    SEEN.clear()
    try:
        gpu = [Counting("Counting")]
        for _ in loader(shards, 40, num_workers=num_workers, gpu=gpu):
            assert torch.get_num_threads() == most
    finally:
        torch.set_num_threads(before)
    expected = max(1, most - 1 - num_workers) if num_workers else most
    assert set(SEEN) == {expected}


def test_torchs_generator_is_neither_read_nor_moved(shards):
    torch.manual_seed(5)
    before = torch.default_generator.get_state()
    resized = [*operations(), K.RandomResizedCrop((16, 16)), K.Resize((20, 20))]
    rows(loader(shards, 40, gpu=resized))
    first = rows(loader(shards, 40))
    assert torch.equal(torch.default_generator.get_state(), before)

    torch.manual_seed(6)
    assert_same(rows(loader(shards, 40)), first)


def test_a_padding_row_repeats_the_last_sample_augmented(shards):
    whole = rows(loader(shards, 99))
    *_, last = loader(shards, 33, rank=2, world_size=3)  # 99 + 99 + 2

    assert last["is_pad"].tolist() == [True]
    assert torch.equal(last["image"][0], whole[199][1][0])


def test_views_draw_each_for_itself_whatever_the_batch(shards):
    whole = rows(loader(shards, 50, views=2), ("image", "label"))
    other = rows(loader(shards, 9, views=2, num_workers=1), ("image", "label"))

    assert whole.keys() == other.keys()
    for position, (records, (images, label)) in whole.items():
        again, (same, _) = other[position]
        assert records == again
        assert torch.equal(images, same)
        assert images.shape == (2, 3, 32, 24)
        assert label.shape == ()
        assert records[0].applied_transforms != records[1].applied_transforms


def test_a_state_belongs_to_its_batch_operations(shards):
    run = loader(shards, 20, gpu=[K.RandomHorizontalFlip(p=0.5)])
    next(iter(run))
    state = run.state_dict()

    with pytest.raises(StateMismatch, match="recipe"):
        loader(shards, 20, gpu=[K.RandomHorizontalFlip(p=0.4)]).load_state_dict(state)
    with pytest.raises(StateMismatch, match="recipe"):
        loader(shards, 20, gpu=[], mixes=[]).load_state_dict(state)
    loader(shards, 20, gpu=[K.RandomHorizontalFlip(p=0.5)]).load_state_dict(state)


def test_a_loader_without_batch_operations_loads_no_kornia():
    code = (
        "import sys; from fiberaug import DataLoader, StreamingDataset, replay;"
        " print(sorted({'kornia', 'triton'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
