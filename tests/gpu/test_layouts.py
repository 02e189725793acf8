"""Laws of layouts: a row's pixels are its own, whatever batch it comes in."""

import inspect

import kornia.augmentation as K
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia_cases import CASES, RESIZES, SIZE, build, every_case, images
from kornia_table import draw_units, parts_of, run_parts
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS, REFUSED, layout_of
from fiberaug.gpu.operation import Part

HEIGHT, WIDTH = SIZE
CASE_IDS = [f"{n}-{i}" for n, cases in CASES.items() for i, _ in enumerate(cases)]
every = pytest.mark.parametrize(("name", "arguments"), every_case(), ids=CASE_IDS)
SAME = {
    f"{i}-same": (name, {**arguments, "same_on_batch": True})
    for i, (name, arguments) in zip(CASE_IDS, every_case(), strict=True)
    if "same_on_batch" in inspect.signature(getattr(K, name).__init__).parameters
}
either = pytest.mark.parametrize(
    ("name", "arguments"),
    [*every_case(), *SAME.values()],
    ids=[*CASE_IDS, *SAME],
)
MOVING = [n for n, known in LAYOUTS.items() if known.moves]
moving = pytest.mark.parametrize(
    ("name", "arguments"),
    [case for case in every_case() if case[0] in MOVING],
    ids=[i for i in CASE_IDS if i.rpartition("-")[0] in MOVING],
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@either
def test_rows_out_of_units_are_the_same_however_batches_are_cut(name, arguments):
    operation = KorniaOperation(build(name, arguments, 0.5))
    rows, b0 = 96, 16
    image = images(rows)
    units = draw_units(operation, b0, rows, image.shape[1:])

    def run(start, stop):
        parts = parts_of(operation, units, b0, range(start, stop))
        return run_parts(operation, image[start:stop], parts)

    whole = run(0, rows)

    assert torch.equal(torch.cat([run(0, 41), run(41, rows)]), whole)
    assert torch.equal(torch.cat([run(0, 5), run(5, 64), run(64, rows)]), whole)
    for unit, params in enumerate(units):
        mine = slice(unit * b0, (unit + 1) * b0)
        assert torch.equal(operation.run(image[mine], params), whole[mine])
    for row in (0, 17, 63, 95):
        assert torch.equal(run(row, row + 1)[0], whole[row])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(every_case()),
    st.lists(st.integers(0, 7), min_size=1, max_size=9),
    st.integers(0, 2**32),
)
def test_any_rows_of_a_unit_in_any_order_keep_their_pixels(case, rows, seed):
    name, arguments = case
    operation = KorniaOperation(build(name, arguments, 0.5))
    image = images(8)
    torch.manual_seed(seed)
    params = operation.draw(tuple(image.shape))

    some = operation.run(image[rows], operation.take(params, rows))

    assert torch.equal(some, operation.run(image, params)[rows])


@either
def test_no_pixel_is_read_by_the_host(name, arguments):
    """Tensors without memory raise where their values are asked for."""
    operation = KorniaOperation(build(name, arguments, 0.5))
    torch.manual_seed(0)
    params = operation.draw((4, 3, *SIZE))
    size = operation.size_after(SIZE)

    image = operation.run(torch.empty(4, 3, *SIZE, device="meta"), params)
    mask = operation.run_mask(torch.empty(4, 1, *SIZE, device="meta"), params)

    assert image.shape == (4, 3, *size)
    assert mask.shape == (4, 1, *size)
    assert image.device.type == mask.device.type == "meta"


@either
def test_the_same_seed_draws_the_same_parameters_and_shares_no_memory(name, arguments):
    operation = KorniaOperation(build(name, arguments, 0.5))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(operation.draw((4, 3, *SIZE)))

    assert drawn[0].keys() == drawn[1].keys()
    for parameter, value in drawn[0].items():
        assert torch.equal(value, drawn[1][parameter])
        assert value.is_contiguous()
        assert value.device.type == "cpu"
        value.zero_()  # as one's own
    torch.manual_seed(3)
    for parameter, value in operation.draw((4, 3, *SIZE)).items():
        assert torch.equal(value, drawn[1][parameter])


@every
def test_images_come_out_in_the_size_that_is_foretold(name, arguments):
    operation = KorniaOperation(build(name, arguments))
    image = images(2)
    before = torch.get_rng_state()

    size = operation.size_after(SIZE)

    assert torch.equal(torch.get_rng_state(), before)
    params = operation.draw(tuple(image.shape))
    assert tuple(operation.run(image, params).shape[-2:]) == size
    assert tuple(operation.run_mask(image[:, :1], params).shape[-2:]) == size
    assert operation.resizes or size == SIZE


def places(rows):
    """An image that says where each of its pixels is, and that it is one."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    one = torch.stack([x / WIDTH, y / HEIGHT, torch.ones_like(x)])
    return one.float().expand(rows, -1, -1, -1).contiguous()


def numbers(rows):
    """A mask of which each pixel has its own number, from 1."""
    count = torch.arange(1, HEIGHT * WIDTH + 1, dtype=torch.float32)
    return count.view(1, 1, HEIGHT, WIDTH).expand(rows, -1, -1, -1).contiguous()


@moving
def test_masks_hold_what_the_image_shows(name, arguments):
    """To half a pixel, of the source or of the outcome, whichever is larger."""
    operation = KorniaOperation(build(name, arguments, 0.5))
    torch.manual_seed(0)
    params = operation.draw((16, 3, *SIZE))
    image = operation.run(places(16), params)
    mask = operation.run_mask(numbers(16), params)

    assert torch.equal(mask, mask.round())
    shown = (image[:, 2] - 1).abs() < 1e-3
    held = mask[:, 0] > 0
    x = (mask[:, 0] - 1) % WIDTH
    y = ((mask[:, 0] - 1) / WIDTH).floor()
    apart = torch.maximum(
        (image[:, 0] * WIDTH - x).abs(), (image[:, 1] * HEIGHT - y).abs()
    )
    both = held & shown
    assert both.float().mean() > 0.4
    after = operation.size_after(SIZE)
    shrunk = max(1.0, HEIGHT / after[0], WIDTH / after[1])
    filled = arguments.get("padding_mode") == "fill"  # blended in at the border
    assert apart[both].max() <= shrunk / 2 * (1.3 if filled else 1) + 1e-2


@moving
def test_the_matrix_is_where_pixels_go(name, arguments):
    operation = KorniaOperation(build(name, arguments, 0.5))
    torch.manual_seed(1)
    params = operation.draw((16, 3, *SIZE))
    matrix = operation.matrix(params, (16, 3, *SIZE))
    if operation.loses_points:
        assert matrix is None
        return
    assert matrix.shape == (16, 3, 3)
    assert matrix.dtype == torch.float32
    image = operation.run(places(16), params)
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    out = torch.stack([x, y, torch.ones_like(x)]).view(3, -1).double()
    source = torch.linalg.inv(matrix.double()) @ out
    source = (source[:, :2] / source[:, 2:]).view(16, 2, height, width)
    inside = (image[:, 2] - 1).abs() < 1e-3
    for axis, side in enumerate((WIDTH, HEIGHT)):
        inside &= (source[:, axis] >= 1) & (source[:, axis] <= side - 2)
    apart = torch.stack([
        image[:, 0] * WIDTH - source[:, 0], image[:, 1] * HEIGHT - source[:, 1]
    ]).abs()  # fmt: skip
    # to the nearest pixel; and the outermost pixels of a crop are those of its edge
    near = arguments.get("resample") == "nearest" or not arguments.get(
        "align_corners", True
    )
    assert inside.float().mean() > 0.4
    assert apart[:, inside].max() <= (0.5 if near else 0) + 1e-2


def test_rows_that_an_operation_passes_over_stay_and_do_not_move():
    operation = KorniaOperation(build("RandomRotation", {"degrees": 45.0}, 0.5))
    image = images(16)
    torch.manual_seed(2)
    params = operation.draw(tuple(image.shape))
    applied = operation.applied(params)

    assert 0 < int(applied.sum()) < 16
    assert torch.equal(operation.run(image, params)[~applied], image[~applied])
    matrix = operation.matrix(params, tuple(image.shape))
    assert torch.equal(matrix[~applied], torch.eye(3).expand(16, 3, 3)[~applied])


@pytest.mark.parametrize("same", [False, True], ids=["each", "same"])
def test_masks_are_erased_where_the_image_is(same):
    arguments = {"value": 0.5, "same_on_batch": same}
    operation = KorniaOperation(build("RandomErasing", arguments, 1.0))
    torch.manual_seed(0)
    params = operation.draw((8, 3, *SIZE))
    image = operation.run(torch.ones(8, 3, *SIZE), params)
    mask = operation.run_mask(torch.full((8, 1, *SIZE), 7.0), params)

    assert torch.equal(mask == 0, image[:, :1] == 0.5)
    assert set(mask.unique().tolist()) == {0.0, 7.0}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("PadTo", {"size": (44, 56), "pad_value": 0.5}),
        ("RandomCrop", {"size": (48, 56), "padding": 8, "fill": 0.5}),
        (
            "RandomAffine",
            {
                "degrees": 0.0,
                "translate": (0.3, 0.3),
                "padding_mode": "fill",
                "fill_value": torch.tensor([0.5, 0.5, 0.5]),
            },
        ),
    ],
)
def test_masks_are_padded_with_zero_whatever_images_are(name, arguments):
    operation = KorniaOperation(build(name, arguments, 1.0))
    torch.manual_seed(0)
    params = operation.draw((8, 3, *SIZE))

    mask = operation.run_mask(torch.full((8, 1, *SIZE), 9.0), params)

    assert set(mask.unique().tolist()) == {0.0, 9.0}


@pytest.mark.parametrize("name", ["RandomFisheye", "RandomThinPlateSpline"])
def test_masks_of_any_channels_follow_the_pixels(name):
    operation = KorniaOperation(build(name, CASES[name][0], 1.0))
    torch.manual_seed(0)
    params = operation.draw((4, 3, *SIZE))
    one = numbers(4)

    both = operation.run_mask(torch.cat([one, one + 5000], dim=1), params)

    nothing = both[:, :1] == 0
    assert torch.equal(both[:, :1], operation.run_mask(one, params))
    assert torch.equal(both[:, 1:], torch.where(nothing, 0, both[:, :1] + 5000))


def test_units_that_drew_one_value_for_all_their_rows_stay_apart():
    alone = {"brightness": 0.3, "hue": 0.1}
    for name, arguments, joined in (
        ("ColorJiggle", alone, False),
        ("ColorJiggle", {**alone, "order": (0, 1, 2, 3)}, True),
        ("ColorJitter", alone, False),
        ("ColorJitter", {**alone, "order": (0, 1, 2, 3)}, True),
        ("RandomMotionBlur", {"kernel_size": (3, 7), "angle": 9.0, "direction": 0.1},
         False),
        ("RandomMotionBlur", {"kernel_size": 3, "angle": 9.0, "direction": 0.1}, True),
        ("RandomErasing", {"same_on_batch": True}, False),
        ("RandomErasing", {}, True),
        ("RandomGaussianNoise", {"same_on_batch": True}, False),
        ("RandomGaussianBlur",
         {"kernel_size": 3, "sigma": (0.1, 2.0), "same_on_batch": True}, False),
    ):  # fmt: skip
        operation = KorniaOperation(build(name, arguments))
        units = draw_units(operation, 4, 8, (3, *SIZE))
        parts = [Part(4, params) for params in units]
        assert operation.joined is joined, name
        assert len(operation.join(parts)) == (1 if joined else 2), name


def test_a_row_has_as_many_drops_as_it_drew_whatever_the_rest_of_its_unit():
    arguments = {"number_of_drops": (0, 300), "drop_height": (3, 5)}
    operation = KorniaOperation(build("RandomRain", arguments, 1.0))

    for params in draw_units(operation, 4, 16, (3, *SIZE)):
        assert params["coordinates_factor"].shape == (4, 300, 2)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_batches_cannot_be_given_to_is_refused_with_the_reason(name):
    kind = getattr(K, name, None) or getattr(K.auto, name)
    module = object.__new__(kind)
    with pytest.raises(UsageError) as caught:
        layout_of(module)
    assert REFUSED[name] in caught.value.message
    assert name in caught.value.message


class RandomHorizontalFlip(K.RandomHorizontalFlip):
    """A subclass of the same name."""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (K.RandomAffine3D(10.0), "takes volumes"),
        (RandomHorizontalFlip(), "subclass of fiberaug.gpu.operation.Operation"),
        (nn.Conv2d(3, 3, 1), "no augmentation of Kornia's"),
        (K.AugmentationSequential(K.RandomHorizontalFlip()), "no augmentation"),
    ],
    ids=["3D", "subclass", "layer", "container"],
)
def test_what_is_not_known_is_refused(module, words):
    with pytest.raises(UsageError, match=words):
        KorniaOperation(module)


def test_a_module_that_was_moved_is_refused_with_the_remedy():
    module = K.RandomHorizontalFlip()
    module.set_rng_device_and_dtype(torch.device("meta"), torch.float32)
    with pytest.raises(UsageError, match=r"moved to meta.*do not call \.to\(\)"):
        KorniaOperation(module)


@pytest.mark.parametrize("name", sorted(RESIZES - {"PadTo"}))
def test_a_change_of_size_that_happens_or_not_is_refused(name):
    module = getattr(K, name)(**CASES[name][0], p=0.5)
    with pytest.raises(UsageError, match=r"p=0\.5: rows .* give p=1"):
        KorniaOperation(module)


def test_images_that_an_operation_cannot_take_are_refused_by_its_name():
    shape = (2, 3, *SIZE)
    crop = KorniaOperation(K.CenterCrop((64, 64)))
    with pytest.raises(UsageError, match=r"CenterCrop refuses a batch of \[1, 3, 40"):
        crop.size_after(SIZE)
    with pytest.raises(UsageError, match=r"CenterCrop refuses a batch of \[2, 3, 40"):
        crop.draw(shape)
    rain = KorniaOperation(K.RandomRain(drop_height=(60, 70), p=1.0))
    with pytest.raises(UsageError, match=r"RandomRain refuses .*Height of drop"):
        rain.run(images(2), rain.draw(shape))
