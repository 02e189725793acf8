"""Policies on batches: the pixels of single images, row by row, without a wait."""

import json
from inspect import signature

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import photo

import fiberaug
from fiberaug import transforms
from fiberaug.gpu import policies
from fiberaug.gpu.operation import Part
from fiberaug.gpu.policies import OPERATIONS as KINDS
from fiberaug.gpu.policies import from_cpu
from fiberaug.magnitudes import OPERATIONS, SEARCHED, WIDE, numbers_of

LAW = settings(deadline=None, max_examples=25)
H, W, ROWS = 45, 61, 16
SHAPE = ROWS, 3, H, W
ALL = sorted(KINDS)
MOVING = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
IMAGES = np.stack([photo(i, H, W) // 2 + photo(99 - i, W, H).transpose(1, 0, 2) // 3
                   for i in range(ROWS)])  # fmt: skip
BATCH = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).float() / 255


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(name, **arguments):
    return KINDS[name](**{"p": 1, **arguments})


def drawn(operation, seed=0, shape=SHAPE):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return operation.draw(shape)


def given_steps(*steps):
    """Parameters that do the same steps to each row."""
    names, magnitudes = zip(*steps, strict=True)
    return {
        "batch_prob": torch.ones(ROWS),
        "operations": torch.from_numpy(numbers_of(names)).expand(ROWS, -1),
        "magnitudes": torch.tensor(magnitudes, dtype=torch.float64).expand(ROWS, -1),
    }


def single(name, params, **arguments):
    """The images that the transform of single images makes of the same parameters."""
    policy = getattr(transforms, name)(**{"p": 1, **arguments})
    batched = made(name, **arguments)
    out = [policy.apply(IMAGES[i], **batched.row(params, i)) for i in range(ROWS)]
    return torch.from_numpy(np.stack(out).transpose(0, 3, 1, 2).copy()).float()


# ---- the pixels of single images -----------------------------------------------------


@pytest.mark.parametrize("space", [SEARCHED, WIDE], ids=["searched", "wide"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_differs_from_that_on_single_images_by_less_than_a_level(
    name, space
):
    """Pillow cuts levels off to whole ones; what only moves or maps levels is equal."""
    for share in (0, 0.1, 0.5, 0.9, 1):
        for minus in (False, True):
            (magnitude,) = space.magnitudes(
                numbers_of([name]), np.array([share]), np.array([minus]), (H, W)
            )
            params = given_steps((name, float(magnitude)))
            found = made("RandAugment", fill=(9, 99, 199)).run(BATCH, params) * 255
            expected = single("RandAugment", params, fill=(9, 99, 199))
            off = found - expected
            exact = [*MOVING, "Posterize", "Solarize", "Equalize", "Invert"]
            most = 1e-3 if name in exact else 1.001
            assert off.min() >= -1e-3, (share, minus)
            assert off.max() <= most, (share, minus)


def test_bilinear_pixels_differ_by_less_than_a_level_but_at_the_border():
    for step in [("Rotate", 17.0), ("ShearX", -0.3), ("ShearY", 0.21)]:
        params = given_steps(step)
        found = made("RandAugment", interpolation="bilinear").run(BATCH, params) * 255
        off = found - single("RandAugment", params, interpolation="bilinear")
        assert ((off > -1e-3) & (off < 1.001)).float().mean() > 0.999


@pytest.mark.parametrize("name", ["RandAugment", "TrivialAugmentWide", "AutoAugment"])
def test_a_policy_makes_of_its_draws_what_it_makes_of_single_images(name):
    operation = made(name)
    for seed in range(4):
        params = drawn(operation, seed)
        off = operation.run(BATCH, params) * 255 - single(name, params)
        # Equalize and AutoContrast spread what an operation before them left between
        # levels; hence the few pixels.
        assert (off.abs() <= 2.1).float().mean() > 0.97


def test_augmix_is_near_to_that_of_single_images():
    params = drawn(made("AugMix", interpolation="nearest"), 3)
    found = made("AugMix", interpolation="nearest").run(BATCH, params) * 255
    off = (found - single("AugMix", params, interpolation="nearest")).abs()
    assert (off <= 1.6).float().mean() > 0.97


@pytest.mark.parametrize("value", [17, (3, 90, 255), "random"])
def test_erasing_is_that_of_single_images(value):
    params = drawn(made("RandomErasing", value=value))
    found = made("RandomErasing", value=value).run(BATCH, params) * 255
    assert (found - single("RandomErasing", params, value=value)).abs().max() < 1e-3


def test_gray_images_have_operations_too():
    gray = BATCH[:, :1]
    for name in OPERATIONS:
        whole = {"TranslateX", "TranslateY", "Posterize", "Rotate"}
        strength = 5 if name in whole else 0.4
        out = made("RandAugment", fill=20).run(gray, given_steps((name, strength)))
        assert out.shape == gray.shape
        assert torch.isfinite(out).all()
        assert torch.equal(out, gray) == (name in {"Identity", "Color"}), name


def test_a_flat_image_has_nothing_to_stretch_or_equalize():
    flat = torch.full(SHAPE, 0.3)
    for name in ("AutoContrast", "Equalize"):
        assert torch.equal(made("RandAugment").run(flat, given_steps((name, 0))), flat)


# ---- rows ----------------------------------------------------------------------------


def random_arguments(name, *, bilinear):
    if name == "RandomErasing":
        return {"value": "random" if bilinear else (1, 2, 3)}
    return {"interpolation": "bilinear" if bilinear else "nearest"}


@LAW
@given(
    st.sampled_from(ALL),
    st.booleans(),
    st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=5, unique=True),
    st.integers(0, 99),
)
def test_rows_alone_have_the_pixels_that_they_have_in_a_batch(name, how, rows, seed):
    operation = made(name, **random_arguments(name, bilinear=how), p=0.8)
    params = drawn(operation, seed)
    noisy = BATCH + 0.001 * torch.rand(SHAPE, generator=torch.manual_seed(seed))
    noisy = noisy.clamp(0, 1)
    before = noisy.clone()
    out = operation.run(noisy, params)
    taken = operation.take(params, rows)
    some = operation.run(noisy[rows], taken)

    assert torch.equal(some, out[rows])
    assert torch.equal(noisy, before)
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6
    for i, row in enumerate(rows):
        one = operation.run(noisy[row : row + 1], operation.take(params, [row]))
        assert torch.equal(one[0], out[row])
        first, second = operation.row(taken, i), operation.row(params, row)
        assert str(first) == str(second)


@pytest.mark.parametrize("name", ALL)
def test_rows_of_two_units_joined_are_those_of_the_units(name):
    operation = made(name)
    one, other = drawn(operation, 1), drawn(operation, 2)
    parts = [
        Part(3, operation.take(one, [0, 7, 2])),
        Part(2, operation.take(other, [15, 4])),
    ]
    (joined,) = operation.join(parts)
    rows = [0, 7, 2, 15, 4]
    out = operation.run(BATCH[rows], joined.params)
    assert joined.rows == 5
    assert torch.equal(out[:3], operation.run(BATCH, one)[[0, 7, 2]])
    assert torch.equal(out[3:], operation.run(BATCH, other)[[15, 4]])


@pytest.mark.parametrize("name", ALL)
def test_rows_draw_apart_and_a_probability_leaves_rows_as_they_are(name):
    shape = 2000, 3, H, W
    operation = made(name, p=0.3)
    params = drawn(operation, shape=shape)
    done = operation.applied(params)
    assert 500 < done.sum() < 700
    rows = {str(operation.row(params, int(i))) for i in done.nonzero()}
    assert len(rows) > 40

    some = operation.take(params, range(ROWS))
    out = operation.run(BATCH, some)
    still = ~operation.applied(some)
    assert still.any()
    assert torch.equal(out[still], BATCH[still])


@pytest.mark.parametrize("name", ALL)
def test_parameters_follow_from_the_global_generator_and_are_recorded(name):
    operation = made(name)
    one, same, other = drawn(operation, 1), drawn(operation, 1), drawn(operation, 2)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    assert all(
        value.device.type == "cpu" and len(value) == ROWS for value in one.values()
    )
    for row in range(ROWS):
        found = operation.row(one, row)
        keys = {"box", "noise_seed"} if name == "RandomErasing" else {
            "operations", "magnitudes", *(["weights"] if name == "AugMix" else [])
        }  # fmt: skip
        assert set(found) == keys
        if name != "RandomErasing":
            json.dumps(found)
            flat = str(found["operations"])
            assert set(flat) <= set("[]', ") | set("".join(OPERATIONS))


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_the_image_is_read_back(name):
    """A tensor without contents cannot say what is in it, so whoever asks fails."""
    for arguments in (
        random_arguments(name, bilinear=False),
        random_arguments(name, bilinear=True),
    ):
        operation = made(name, **arguments)
        params = drawn(operation)
        nowhere = torch.empty(SHAPE, device="meta")
        assert operation.run(nowhere, params).shape == SHAPE
        if operation.moves and operation.loses_points is None:
            mask = torch.empty((ROWS, 1, H, W), device="meta")
            assert operation.run_mask(mask, params).shape == mask.shape


# ---- masks, boxes, points ------------------------------------------------------------


@LAW
@given(
    st.sampled_from(["RandAugment", "TrivialAugmentWide", "AutoAugment"]),
    st.integers(0, 99),
)
def test_masks_and_the_matrix_move_as_the_image_does(name, seed):
    operation = made(name, fill=0, fill_mask=300)
    params = drawn(operation, seed)
    names = [operation.row(params, row)["operations"] for row in range(ROWS)]
    params["operations"] = torch.where(
        (params["operations"] >= 1) & (params["operations"] <= 5),
        params["operations"],
        0,
    )  # only what moves
    image = BATCH.clamp(min=0.01)
    out = operation.run(image, params)
    mask = operation.run_mask(image[:, :1], params)
    matrix = operation.matrix(params, SHAPE)
    filled = mask == 300
    spot = torch.zeros(ROWS, 1, H, W)
    spot[..., 19:26, 27:34] = 1  # its middle is (30, 22)
    spots = operation.run_mask(spot, params)[:, 0] == 1

    assert (mask > 0).all()
    assert torch.equal(out[:, :1][~filled], mask[~filled])
    assert (out[:, :1][filled] == 0).all()
    assert matrix.shape == (ROWS, 3, 3)
    assert matrix.dtype == torch.float32
    for row in range(ROWS):
        if not set(names[row]) & set(MOVING):
            assert torch.equal(matrix[row], torch.eye(3))
        at = matrix[row] @ torch.tensor([30.0, 22.0, 1.0])
        if spots[row].sum() > 40:  # not cut by the border
            y, x = spots[row].nonzero().float().mean(0)
            assert abs(at[0] - x) < 1.2
            assert abs(at[1] - y) < 1.2


def test_augmix_has_no_place_for_masks_and_points():
    operation = made("AugMix")
    assert operation.loses_points
    assert operation.loses_masks
    assert made("RandAugment").loses_masks is None


def test_erasing_moves_nothing():
    operation = made("RandomErasing")
    assert not operation.moves
    assert operation.matrix(drawn(operation), SHAPE) is None
    assert operation.run_mask(BATCH[:, :1], drawn(operation)) is not None


# ---- twins ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_both_engines_take_the_same_arguments(name):
    ours, theirs = signature(KINDS[name]), signature(getattr(transforms, name))
    assert sorted(transforms.__all__) == ALL
    assert [(p.name, p.default, p.kind) for p in ours.parameters.values()] == [
        (p.name, p.default, p.kind) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize("name", ALL)
def test_a_transform_of_single_images_has_its_twin_for_batches(name):
    more = {"value": (1, 2, 3)} if name == "RandomErasing" else {"fill": [1, 2, 3]}
    transform = getattr(transforms, name)(**more, p=0.4)
    twin = from_cpu(transform)
    assert type(twin) is KINDS[name]
    assert twin.spec() == transform.spec()
    assert (
        KINDS[name](**json.loads(json.dumps(twin.spec()))[name]).spec() == twin.spec()
    )


def test_what_is_no_policy_has_no_twin():
    class RandAugment:
        """Another one."""

    for other in (object(), RandAugment()):
        with pytest.raises(fiberaug.UsageError, match="does not run on batches"):
            from_cpu(other)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("RandAugment", {"num_ops": 0}, "num_ops"),
        ("RandAugment", {"p": 1.5}, "p must be from 0 to 1"),
        ("TrivialAugmentWide", {"interpolation": "cubic"}, "interpolation"),
        ("AutoAugment", {"fill": -1}, "fill"),
        ("AutoAugment", {"fill_mask": "x"}, "fill_mask"),
        ("AugMix", {"alpha": -1}, "alpha"),
        ("RandomErasing", {"value": "noise"}, "'random'"),
    ],
)
def test_a_wrong_argument_is_refused(name, arguments, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        KINDS[name](**arguments)


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
def test_images_of_other_channels_are_refused_when_drawn(name):
    with pytest.raises(fiberaug.UsageError, match="1 or 3 channels, got 4"):
        drawn(made(name), shape=(ROWS, 4, H, W))
    with pytest.raises(fiberaug.UsageError, match="3 levels, images 1 channels"):
        drawn(made(name, fill=(1, 2, 3)), shape=(ROWS, 1, H, W))
    with pytest.raises(fiberaug.UsageError, match="value has 3 levels"):
        drawn(policies.RandomErasing(value=(1, 2, 3)), shape=(ROWS, 4, H, W))
