"""Laws of containers that draw what runs: as the library's own, for each unit."""

import json

import kornia.augmentation as K
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia_cases import SIZE, images
from kornia_table import draw_units, parts_of, run_parts

from fiberaug.errors import UsageError
from fiberaug.gpu.building import build_gpu, operations_of
from fiberaug.gpu.containers import KorniaContainer
from fiberaug.gpu.replayable import why_not
from fiberaug.gpu.spec import spec_of
from fiberaug.params import encode

SHAPE = (8, 3, *SIZE)
ALL = 4  # children


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def container(random_apply=2, kind=K.AugmentationSequential, **more):
    return kind(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(20.0, translate=(0.1, 0.1), p=0.6),
        K.ColorJiggle(0.3, 0.3, 0.3, 0.1, p=0.7),
        K.RandomErasing(p=0.5),
        random_apply=random_apply,
        **more,
    )


def drawn(operation, seed):
    torch.manual_seed(seed)
    return operation.draw(SHAPE)


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 2**32),
    st.sampled_from([True, 1, 2, 3, (1, 4), (0, 2)]),
    st.sampled_from([K.AugmentationSequential, K.ImageSequential]),
)
def test_it_draws_and_does_what_the_library_does_from_the_same_seed(seed, count, kind):
    module = container(count, kind)
    operation = KorniaContainer(module)
    image = images(8)
    params = drawn(operation, seed)
    torch.manual_seed(seed)

    assert torch.equal(operation.run(image, params), module(image))


def test_masks_are_those_of_the_library():
    module = K.AugmentationSequential(
        *container().children(), data_keys=["input", "mask"], random_apply=3
    )
    mask = torch.randint(0, 9, (8, 1, *SIZE)).float()
    operation = KorniaContainer(container(3))
    for seed in range(5):
        params = drawn(operation, seed)
        torch.manual_seed(seed)
        _, moved = module(images(8), mask)

        assert torch.equal(operation.run_mask(mask, params), moved)


def test_rows_out_of_units_are_the_same_however_batches_are_cut():
    operation = KorniaContainer(container())
    image = images(32)
    units = draw_units(operation, 8, 32, image.shape[1:])

    def run(start, stop):
        parts = parts_of(operation, units, 8, range(start, stop))
        return run_parts(operation, image[start:stop], parts)

    whole = run(0, 32)
    assert torch.equal(torch.cat([run(0, 11), run(11, 32)]), whole)
    for row in range(32):
        assert torch.equal(run(row, row + 1)[0], whole[row])
    unit = operation.take(units[0], [5, 1, 5])
    assert torch.equal(operation.run(image[[5, 1, 5]], unit), whole[[5, 1, 5]])


def test_a_record_lists_what_was_done_to_a_row_in_order():
    operation = KorniaContainer(container(ALL))
    params = drawn(operation, 4)
    names = {child.name for child in operation.children}
    lengths = set()
    for row in range(8):
        record = json.loads(json.dumps(encode(operation.row(params, row))))
        done = [name for step in record["operations"] for name in step]
        assert set(done) <= names
        assert bool(done) is bool(operation.applied(params)[row])
        alone = operation.take(params, [row])
        assert encode(operation.row(alone, 0)) == record
        lengths.add(len(done))
    assert len(lengths) > 1
    order = [name for name, _ in container(ALL).get_forward_sequence()]
    assert len(order) == ALL


def test_the_matrix_is_that_of_all_steps():
    operation = KorniaContainer(container(ALL))
    for seed in range(4):
        params = drawn(operation, seed)
        matrix = operation.matrix(params, SHAPE)
        y, x = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")
        place = torch.stack([x, y, torch.ones_like(x)]).expand(8, -1, -1, -1) / 48
        still = KorniaContainer(container(ALL))
        still.children = [
            child if child.moves and child.name != "RandomErasing" else Nothing(child)
            for child in operation.children
        ]
        image = still.run(place, params)
        source = (
            torch.linalg.inv(matrix.double())[:, :2]
            @ torch.stack([x, y, torch.ones_like(x)]).view(3, -1).double()
        )
        source = source.view(8, 2, *SIZE)
        seen = image[:, 2] > 1 / 48 - 1e-6
        apart = (image[:, :2] * 48 - source).abs().amax(1)
        assert seen.float().mean() > 0.5
        assert apart[seen].max() < 0.02


class Nothing:
    """In the place of an operation of colour."""

    def __init__(self, child):
        self.name = child.name

    def run(self, image, params):
        return image


def test_what_loses_points_loses_those_of_the_container():
    module = K.ImageSequential(
        K.RandomHorizontalFlip(), K.RandomThinPlateSpline(), random_apply=1
    )
    operation = KorniaContainer(module)
    assert operation.loses_points
    assert operation.moves
    assert operation.matrix(drawn(operation, 0), SHAPE) is None
    colour = K.ImageSequential(K.RandomHue(), K.RandomInvert(), random_apply=1)
    assert not KorniaContainer(colour).moves


def test_it_is_built_again_from_its_description():
    module = container((1, 3), random_apply_weights=[1.0, 2.0, 0.5, 3.0])
    ((path, operation),) = operations_of(module)
    assert path == "0"
    spec = json.loads(json.dumps(spec_of(operation)))

    (again,) = build_gpu([spec])

    assert spec_of(again) == spec
    assert why_not(module) is None
    assert spec["ImageSequential"]["random_apply"] == [1, 3]
    assert spec["ImageSequential"]["random_apply_weights"] == [1.0, 2.0, 0.5, 3.0]


def test_children_that_change_the_size_are_refused():
    module = K.ImageSequential(
        K.RandomHue(), K.RandomResizedCrop((8, 8)), random_apply=1
    )
    with pytest.raises(UsageError, match=r"RandomResizedCrop runs, .* put it outside"):
        KorniaContainer(module)


def test_no_children_is_no_change():
    operation = KorniaContainer(container((0, 1)))
    unchanged = 0
    for seed in range(12):
        params = drawn(operation, seed)
        if params.keys() == {"batch_prob"}:
            unchanged += 1
            assert not operation.applied(params).any()
            assert torch.equal(operation.run(images(8), params), images(8))
            assert operation.row(params, 0) == {"operations": []}
    assert unchanged
