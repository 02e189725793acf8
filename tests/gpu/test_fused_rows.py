"""Laws of fused steps: rows, memory and devices."""

import pickle

import pytest
import torch
from fusing import CLIFFS, COLORS, CROPS, FLIPS, SIZES, TURNS, WARPS, Batch, near
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia import augmentation as K

from fiberaug.gpu.fused import COLOR_TOLERANCE, fuse, send, take_rows

LAW = settings(deadline=None, max_examples=60)
FEW = settings(deadline=None, max_examples=25)
SIDES = st.tuples(st.integers(10, 26), st.integers(12, 26))
SEEDS = st.integers(0, 1000)
UNITS = st.integers(1, 3)
ANY = FLIPS | CROPS | TURNS | SIZES | WARPS | COLORS


# ---- rows ----------------------------------------------------------------------------


@LAW
@given(st.lists(ANY | CLIFFS, min_size=1, max_size=4), SIDES, UNITS, SEEDS)
def test_a_row_is_bit_for_bit_what_it_is_alone(mods, sides, units, seed):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (5, 3, *sides), units, seed)
    image, number = batch.floats, 0
    for step in fuse(batch.operations):
        prepared = step.prepare(batch.parts, batch.shapes[number])
        number += len(step.numbers)
        whole, mask = step.run(image, prepared), batch.mask[:, :, :1, :1]
        mask = mask.expand(-1, -1, *image.shape[2:])
        whole_mask = step.run_mask(mask, prepared)
        for row in (0, 4):
            alone = take_rows(prepared, [row])
            assert torch.equal(step.run(image[[row]], alone)[0], whole[row])
            assert torch.equal(step.run_mask(mask[[row]], alone)[0], whole_mask[row])
        image = whole


@LAW
@given(
    st.lists(ANY | CLIFFS, min_size=1, max_size=4), SIDES, UNITS, SEEDS, st.booleans()
)
def test_all_rows_at_once_are_what_they_are_one_by_one(
    mods, sides, units, seed, levels
):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (6, 3, *sides), units, seed, smooth=True, levels=levels)
    image, mask = batch.image, batch.mask
    number = 0
    for step in fuse(batch.operations):
        prepared = step.prepare(batch.parts, batch.shapes[number])
        number += len(step.numbers)
        few = step.run(image, prepared, at_once=False)
        near(step.run(image, prepared, at_once=True), few, COLOR_TOLERANCE)
        masks = [step.run_mask(mask, prepared, at_once=on) for on in (False, True)]
        assert torch.equal(*masks)
        image, mask = few, masks[0]


@FEW
@given(st.lists(FLIPS | WARPS | TURNS | COLORS, min_size=1, max_size=3), SEEDS)
def test_rows_that_are_left_out_stay_as_they_are(mods, seed):
    batch = Batch(mods, (8, 3, 13, 19), 2, seed)
    for number, operation in enumerate(batch.operations):
        batch.parts[number] = [
            (rows, {**params, "batch_prob": torch.zeros(len(params["batch_prob"]))})
            for rows, params in batch.parts[number]
        ]
        assert not operation.applied(batch.parts[number][0][1]).any()
    image, mask = batch.fused()
    assert torch.equal(image, batch.image)
    assert torch.equal(mask, batch.mask)


def test_sums_and_powers_of_a_row_do_not_depend_on_its_neighbours():
    for module in (K.RandomGamma((0.3, 0.9)), K.ColorJitter(0, (0.3, 0.9))):
        batch = Batch([module], (16, 3, 5, 7))
        step, prepared = batch.only_step()
        whole = step.run(batch.image, prepared)
        for row in range(16):
            alone = step.run(batch.image[[row]], take_rows(prepared, [row]))
            assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
@pytest.mark.parametrize("core", [K.RandomRotation(60.0), K.Resize((7, 9))])
def test_masks_keep_their_dtype(core, dtype):
    batch = Batch([core, K.RandomHorizontalFlip(), K.RandomErasing()], (6, 3, 12, 10))
    step, prepared = batch.only_step()
    for at_once in (False, True):
        wanted = step.run_mask(batch.mask, prepared, at_once=at_once)
        found = step.run_mask(batch.mask.to(dtype), prepared, at_once=at_once)
        assert found.dtype == dtype
        assert torch.equal(found.float(), wanted)


@pytest.mark.parametrize("at_once", [False, True])
def test_rows_can_be_taken_in_any_order(at_once):
    mods = [K.RandomRotation(60.0), K.RandomGrayscale(p=0.5), K.RandomHue((-0.5, 0.5))]
    batch = Batch(mods, (9, 3, 12, 10), 2)
    step, prepared = batch.only_step()
    rows = [8, 1, 1, 5, 0, 3]
    whole = step.run(batch.image, prepared, at_once=at_once)
    taken = take_rows(prepared, rows)
    some = step.run(batch.image[rows], taken, at_once=at_once)
    near(some, whole[rows], 1e-6)


def test_masks_of_a_row_go_the_way_of_the_row():
    mods = [K.RandomAffine(90), K.RandomCrop((9, 9)), K.RandomErasing((0.3, 0.5))]
    batch = Batch(mods, (4, 3, 20, 21), 2)
    step, prepared = batch.only_step()
    owners = [3, 0, 0, 2, 3]
    whole = step.run_mask(batch.mask, prepared)
    several = step.run_mask(batch.mask[owners], take_rows(prepared, owners))
    assert torch.equal(several, whole[owners])
    assert (whole == 0).any()


# ---- memory and devices --------------------------------------------------------------


@FEW
@given(st.lists(ANY, min_size=1, max_size=3), SEEDS, st.booleans(), st.booleans())
def test_what_comes_in_is_neither_written_nor_handed_out(mods, seed, levels, at_once):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (4, 3, 16, 15), 1, seed, levels=levels)
    step = fuse(batch.operations)[0]
    prepared = step.prepare(batch.parts, batch.shapes[0])
    before, numbers = batch.image.clone(), {n: v.clone() for n, v in prepared.items()}
    out = step.run(batch.image, prepared, at_once=at_once)
    out += 1
    assert torch.equal(batch.image, before)
    assert all(torch.equal(prepared[name], value) for name, value in numbers.items())


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("module", [K.RandomHorizontalFlip(p=0.0), K.RandomHue(p=0.0)])
def test_a_batch_to_which_nothing_is_done_is_a_copy(module, at_once):
    batch = Batch([module], (2, 3, 4, 5))
    step, prepared = batch.only_step()
    out = step.run(batch.image, prepared, at_once=at_once)
    assert torch.equal(out, batch.image)
    out += 1
    assert not torch.equal(out, batch.image)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_dtype_and_a_layout_are_chosen_by_the_caller(dtype, at_once):
    mods = [K.RandomResizedCrop((8, 9)), K.ColorJiggle(0.3, 0.3, 0.3, 0.3)]
    batch = Batch(mods, (4, 3, 16, 15), levels=True)
    step, prepared = batch.only_step()
    wanted = step.run(batch.image, prepared, at_once=at_once)
    found = step.run(
        batch.image, prepared, at_once=at_once, dtype=dtype,
        memory_format=torch.channels_last,
    )  # fmt: skip
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, wanted.to(dtype))


def test_double_precision_stays():
    batch = Batch([K.RandomResizedCrop((8, 9)), K.RandomHue((-0.3, 0.3))], (2, 3, 9, 9))
    step, prepared = batch.only_step()
    found = step.run(batch.image.double(), prepared)
    assert found.dtype == torch.float64
    near(found.float(), step.run(batch.image, prepared), COLOR_TOLERANCE)


@FEW
@given(st.lists(ANY | CLIFFS, min_size=1, max_size=4), SEEDS, UNITS, st.booleans())
def test_nothing_is_read_back_from_the_device(mods, seed, units, levels):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (6, 3, 16, 15), units, seed, levels=levels)
    image, mask = (
        batch.image.to("meta"),
        batch.mask.to("meta"),
    )  # numbers without values
    number = 0
    for step in fuse(batch.operations):
        prepared = step.prepare(batch.parts, batch.shapes[number])
        (sent,) = send([prepared], "meta")
        number += len(step.numbers)
        image, mask = (
            step.run(image, prepared, sent),
            step.run_mask(mask, prepared, sent),
        )
        assert image.shape == batch.shapes[number]
        assert mask.shape[2:] == image.shape[2:]


def test_what_is_sent_is_what_was_prepared():
    batch = Batch([K.RandomAffine(20), K.ColorJitter(0.3, 0.3, 0.3, 0.3)], (4, 3, 9, 9))
    _, prepared = batch.only_step()
    for one in send([prepared, {}, prepared], "cpu")[::2]:
        assert one.keys() == prepared.keys()
        assert all(torch.equal(one[name], prepared[name]) for name in one)
    for one in send([prepared, prepared], "meta"):
        for name, value in prepared.items():
            assert (one[name].shape, one[name].dtype) == (value.shape, value.dtype)
    assert all(len(value) == 4 for value in prepared.values())


def test_a_step_goes_to_another_process():
    mods = [K.RandomPerspective(), K.ColorJiggle(0.2, 0.2, 0.2, 0.2), K.RandomErasing()]
    batch = Batch(mods, (3, 3, 9, 9))
    step, prepared = batch.only_step()
    there = pickle.loads(pickle.dumps(step)).prepare(batch.parts, batch.shapes[0])
    assert there.keys() == prepared.keys()
    assert all(torch.equal(there[name], prepared[name]) for name in prepared)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@FEW
@given(st.lists(ANY, min_size=1, max_size=4), SEEDS, UNITS, st.booleans())
def test_a_device_gives_the_pixels_of_the_cpu_and_is_not_waited_for(
    mods, seed, units, levels
):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (6, 3, 16, 15), units, seed, smooth=True, levels=levels)
    image, mask = batch.image, batch.mask
    number = 0
    for step in fuse(batch.operations):
        prepared = step.prepare(batch.parts, batch.shapes[number])
        number += len(step.numbers)
        there, mask_there = image.cuda(), mask.cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            (sent,) = send([prepared], "cuda")
            found = step.run(there, prepared, sent)
            found_mask = step.run_mask(mask_there, prepared, sent)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        image, mask = step.run(image, prepared), step.run_mask(mask, prepared)
        near(found.cpu(), image, 2e-4)
        assert (found_mask.cpu() != mask).sum() <= 2  # ties
