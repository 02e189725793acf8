"""Laws of fused steps: what operations give one by one, in fewer passes."""

import pickle

import pytest
import torch
from fusing import (
    CLIFFS,
    COLORS,
    CROPS,
    FLIPS,
    GRAY_COLORS,
    SIZES,
    TURNS,
    WARPS,
    Batch,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia import augmentation as K

from fiberaug.errors import UsageError
from fiberaug.gpu.fused import (
    COLOR_TOLERANCE,
    PLACE_TOLERANCE_PX,
    FusedStep,
    fuse,
    send,
    take_rows,
)
from fiberaug.gpu.kornia_ops import KorniaOperation

LAW = settings(deadline=None, max_examples=60)
FEW = settings(deadline=None, max_examples=25)
SIDES = st.tuples(st.integers(10, 26), st.integers(12, 26))
SEEDS = st.integers(0, 1000)
UNITS = st.integers(1, 3)
ANY = FLIPS | CROPS | TURNS | SIZES | WARPS | COLORS
PIXELS = st.lists(FLIPS | CROPS, min_size=1, max_size=4)


def near(found, wanted, tolerance):
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


# ---- the pixels of the single operations ---------------------------------------------


@LAW
@given(st.lists(COLORS, min_size=1, max_size=4), SIDES, UNITS, SEEDS, st.booleans())
def test_colours_are_those_of_the_single_operations(mods, sides, units, seed, levels):
    batch = Batch(mods, (6, 3, *sides), units, seed, levels=levels)
    assert len(fuse(batch.operations)) == 1
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    # every Normalize of these lists doubles, and what it doubles
    near(
        image,
        wanted[0],
        COLOR_TOLERANCE * 2 ** sum(type(m) is K.Normalize for m in mods),
    )
    assert torch.equal(mask, wanted[1])


@FEW
@given(st.lists(GRAY_COLORS, min_size=1, max_size=4), st.integers(1, 4), UNITS, SEEDS)
def test_colours_of_any_number_of_channels(mods, channels, units, seed):
    mods = [m for m in mods if channels in (1, 3) or type(m) is not K.ColorJitter]
    batch = Batch(mods, (5, channels, 11, 14), units, seed)
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    near(
        image,
        wanted[0],
        COLOR_TOLERANCE * 2 ** sum(type(m) is K.Normalize for m in mods),
    )
    assert torch.equal(mask, wanted[1])


@FEW
@given(CLIFFS, FLIPS, UNITS, SEEDS, st.booleans())
def test_cliffs_fall_the_same_way_to_the_last_bit(cliff, flip, units, seed, levels):
    batch = Batch([cliff, flip], (6, 3, 15, 14), units, seed, levels=levels)
    step, _ = batch.only_step()
    assert step.numbers == [0, 1]
    powers = type(cliff) is K.RandomGamma  # rounded otherwise at the end of a vector
    near(batch.fused()[0], batch.one_by_one()[0], 1e-6 if powers else 0)


@LAW
@given(PIXELS, SIDES, UNITS, SEEDS, st.booleans())
def test_whole_pixels_are_copied_bit_for_bit(mods, sides, units, seed, levels):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (6, 2, *sides), units, seed, levels=levels)
    batch.only_step()
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    assert torch.equal(image, wanted[0])
    assert torch.equal(mask, wanted[1])


@FEW
@given(TURNS, st.lists(FLIPS, max_size=2), st.integers(2, 12), st.integers(0, 6), SEEDS)
def test_quarter_turns_are_exact_copies(turn, flips, side, more, seed):
    batch = Batch([*flips, turn, *flips], (6, 2, side, side + 2 * more), 2, seed)
    _, prepared = batch.only_step()
    assert not prepared["moved"].any()
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    near(image, wanted[0], 1e-4)
    assert torch.equal(mask, wanted[1])
    values = {*batch.image.unique().tolist(), 0.0}
    assert values.issuperset(image.unique().tolist())


@LAW
@given(
    st.lists(FLIPS, max_size=2), SIZES | WARPS, st.lists(FLIPS | CROPS, max_size=3),
    SIDES, st.tuples(UNITS, SEEDS), st.booleans(),
)  # fmt: skip
def test_one_operation_that_samples_reads_the_same_places(
    flips, core, after, sides, drawn, levels
):
    after = [K.PadTo((26, 26), crop_if_exceeds=False), *after]
    batch = Batch([*flips, core, *after], (6, 3, *sides), *drawn, levels=levels)
    batch.only_step()
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    most = max(side for shape in batch.shapes for side in shape[2:])
    near(image, wanted[0], PLACE_TOLERANCE_PX * most / 256 + COLOR_TOLERANCE)
    other = mask != wanted[1]
    assert other.sum() <= (0 if type(core) in SIZED else 2)  # ties


@FEW
@given(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans(), SEEDS)
def test_sides_of_one_pixel_are_resized_like_any_others(
    height, width, align, tiny, seed
):
    core = K.RandomResizedCrop(
        (height, width), (0.01, 1.0), (0.1, 9.0), align_corners=align
    )
    sides = (width, height) if tiny else (9, 8)
    batch = Batch([K.RandomHorizontalFlip(), core], (6, 3, *sides), 2, seed)
    image, mask = batch.fused()
    wanted = batch.one_by_one()
    near(image, wanted[0], COLOR_TOLERANCE)
    assert torch.equal(mask, wanted[1])


SIZED = (K.RandomResizedCrop, K.Resize, K.LongestMaxSize, K.SmallestMaxSize)


@LAW
@given(
    st.lists(ANY | st.just(K.RandomSharpness(0.3)), min_size=1, max_size=5),
    SIDES, UNITS, SEEDS, st.booleans(),
)  # fmt: skip
def test_any_list_gives_the_pixels_of_its_operations(mods, sides, units, seed, levels):
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch(mods, (6, 3, *sides), units, seed, smooth=True, levels=levels)
    image, _ = batch.fused()
    near(image, batch.one_by_one()[0], 2e-4)
    numbers = [s.numbers for s in fuse(batch.operations) if isinstance(s, FusedStep)]
    flat = [number for some in numbers for number in some]
    single = [type(m) is K.RandomSharpness for m in mods]
    assert flat == [i for i, alone in enumerate(single) if not alone]


# ---- what becomes one step -----------------------------------------------------------


def steps_of(*modules, **options):
    operations = [KorniaOperation(module) for module in modules]
    return [
        step.numbers if isinstance(step, FusedStep) else step.name
        for step in fuse(operations, **options)
    ]


def test_nothing_is_sampled_twice_in_a_step():
    flip, affine = K.RandomHorizontalFlip(), K.RandomAffine(10)
    crop, jiggle = K.RandomResizedCrop((8, 8)), K.ColorJiggle(0.1)
    assert steps_of(flip, affine, flip, jiggle, flip) == [[0, 1, 2, 3, 4]]
    assert steps_of(affine, crop) == [[0], [1]]
    assert steps_of(jiggle, crop) == [[0], [1]]
    assert steps_of(K.CenterCrop((8, 8)), affine) == [[0], [1]]
    assert steps_of(affine, K.CenterCrop((8, 8)), jiggle) == [[0, 1, 2]]
    assert steps_of(K.RandomErasing(), flip) == [[0], [1]]
    assert steps_of(jiggle, K.RandomSolarize()) == [[0], [1]]


@pytest.mark.parametrize(
    "module",
    [
        K.RandomAffine(10, resample="nearest"),
        K.RandomAffine(10, padding_mode="border"),
        K.RandomAffine(10, fill_value=0.5, padding_mode="fill"),
        K.RandomRotation90((0, 3), resample="nearest"),
        K.RandomCrop((4, 4), padding=2, fill=0.5),
        K.RandomCrop((4, 4), padding=2, padding_mode="reflect"),
        K.RandomCrop((4, 4), cropping_mode="resample"),
        K.CenterCrop((4, 4), cropping_mode="resample"),
        K.RandomResizedCrop((4, 4), resample="bicubic"),
        K.Resize((4, 4), antialias=True),
        K.PadTo((99, 99), pad_value=0.5),
        K.RandomInvert(torch.tensor([1.0, 0.5, 0.2])),
        K.RandomGaussianBlur((3, 3), (1.0, 1.0)),
    ],
)
def test_what_is_not_known_exactly_runs_as_it_is(module):
    flip = K.RandomHorizontalFlip()
    assert steps_of(flip, module, flip) == [[0], type(module).__name__, [2]]


@FEW
@given(st.lists(ANY, max_size=3), SIDES, SEEDS)
def test_a_normalisation_at_the_end_is_that_of_kornia(mods, sides, seed):
    mean, std = (0.4, 0.5, 0.6), (0.5, 0.25, 1.0)
    mods = [K.RandomCrop((26, 26), pad_if_needed=True), *mods]
    batch = Batch([*mods, K.Normalize(mean, std)], (4, 3, *sides), 2, seed, smooth=True)
    wanted = batch.one_by_one()[0]
    image, number = batch.image, 0
    for step in fuse(batch.operations[:-1], normalize=(mean, std)):
        prepared = step.prepare(batch.parts, batch.shapes[number])
        image, number = step.run(image, prepared), number + len(step.numbers)
    near(image, wanted, 4e-4)


def test_values_outside_of_0_and_1_are_clamped_where_kornia_clamps_them():
    wide = [K.Normalize(0.5, 0.2), K.RandomRotation(20.0, p=1.0)]
    for last in (K.RandomSaturation((0.5, 2.0)), K.RandomBrightness((0.8, 1.2))):
        batch = Batch([*wide, last], (4, 3, 12, 10), smooth=True)
        assert len(fuse(batch.operations)) == 2
        near(batch.fused()[0], batch.one_by_one()[0], 2e-4)


def test_a_normalisation_alone_is_a_step():
    (step,) = fuse([], normalize=(0.5, 0.25))
    image = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    found = step.run(image, step.prepare([], (1, 1, 16, 16)))
    near(found, (image / 255 - 0.5) / 0.25, 1e-6)


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


# ---- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "channels", "says"),
    [
        (K.RandomHue((0.2, 0.3)), 1, "RandomHue is for images of 3 channels"),
        (K.ColorJiggle(0, 0, 0.5), 4, "ColorJiggle is for images of 3 channels"),
        (K.Normalize((0.1, 0.2), (1.0, 1.0)), 3, "2 numbers, images have 3 channels"),
        (K.RandomCrop((30, 9)), 3, "30 px high and 9 px wide, images are 12 and 13"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(module, channels, says):
    batch = Batch([module], (2, channels, 12, 13))
    with pytest.raises(UsageError, match=says):
        batch.only_step()
