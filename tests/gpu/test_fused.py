"""Laws of fused steps: what operations give one by one, in fewer passes."""

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
    near,
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
)
from fiberaug.gpu.kornia_ops import KorniaOperation

LAW = settings(deadline=None, max_examples=60)
FEW = settings(deadline=None, max_examples=25)
SIDES = st.tuples(st.integers(10, 26), st.integers(12, 26))
SEEDS = st.integers(0, 1000)
UNITS = st.integers(1, 3)
ANY = FLIPS | CROPS | TURNS | SIZES | WARPS | COLORS
PIXELS = st.lists(FLIPS | CROPS, min_size=1, max_size=4)


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


@pytest.mark.parametrize(
    "core",
    [
        K.RandomAffine(40, (0.2, 0.3), (0.7, 1.3), 15, p=1.0),
        K.RandomRotation(180.0, p=1.0),
        K.RandomShear((-20, 20), p=1.0),
        K.RandomTranslate((-0.3, 0.3), (-0.3, 0.3), p=1.0),
        K.RandomPerspective(0.5, p=1.0),
        K.RandomRotation90((1, 1), p=1.0),
        K.RandomResizedCrop((19, 31)),
        K.Resize(17, side="long"),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_each_operation_that_samples_reads_the_same_places(core, at_once):
    batch = Batch(
        [K.RandomVerticalFlip(), core, K.RandomHorizontalFlip()], (6, 2, 26, 23)
    )
    image, mask = batch.fused(at_once=at_once)
    wanted = batch.one_by_one()
    near(image, wanted[0], PLACE_TOLERANCE_PX * 31 / 256)
    if type(core) is not K.RandomRotation90:  # half a pixel off: all are ties
        assert (mask != wanted[1]).float().mean() <= 0.001


@FEW
@given(st.integers(2, 300), st.integers(0, 150), st.sampled_from([-1, 1]))
def test_no_pixel_of_a_mask_is_read_twice_in_a_turn_by_half_pixels(side, more, times):
    turn = K.RandomRotation90((times, times), p=1.0)
    batch = Batch([turn], (1, 1, side, side + 2 * more + 1))
    mask = torch.arange(1.0, batch.mask.numel() + 1).view(batch.mask.shape)
    found = batch.fused(mask=mask)[1]
    read = found[found > 0]
    assert len(read.unique()) == len(read) >= (side - 1) * (side - 1)


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
    with pytest.raises(UsageError, match=says):
        Batch([module], (2, channels, 12, 13)).only_step()
