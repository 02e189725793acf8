"""Laws of building: what users give becomes operations with paths, or is refused."""

import json

import kornia.augmentation as K
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.augmentation.auto import RandAugment
from kornia_cases import CASES, build, every_case, images
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.arguments import KINDS, kind_of
from fiberaug.gpu.building import build_gpu, operations_of, own_operations
from fiberaug.gpu.containers import KorniaContainer
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS, REFUSED
from fiberaug.gpu.policies import OPERATIONS
from fiberaug.gpu.spec import arguments_of, spec_of

FLIP, HUE, BLUR = K.RandomHorizontalFlip, K.RandomHue, K.RandomMedianBlur


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def paths(transform):
    return [(path, operation.name) for path, operation in operations_of(transform)]


def test_objects_become_operations_in_the_order_in_which_they_run():
    flip, hue, blur = ("RandomHorizontalFlip", "RandomHue", "RandomMedianBlur")
    assert paths(FLIP()) == [("0", flip)]
    assert paths([FLIP(), HUE()]) == [("0", flip), ("1", hue)]
    assert paths(nn.Sequential(FLIP(), HUE())) == [("0", flip), ("1", hue)]
    nested = K.AugmentationSequential(
        FLIP(), K.ImageSequential(HUE(), nn.Sequential(BLUR()))
    )
    assert paths(nested) == [("0", flip), ("1.0", hue), ("1.1.0", blur)]
    assert paths([nested, FLIP()])[-1] == ("1", flip)
    assert paths([]) == []


def test_operations_and_policies_stand_among_them():
    policy = OPERATIONS["RandAugment"]()
    own = KorniaOperation(FLIP())
    found = operations_of([own, policy, HUE()])
    assert [operation for _, operation in found][:2] == [own, policy]


def test_a_policy_for_single_images_becomes_its_twin():
    from fiberaug.transforms import TrivialAugmentWide

    ((path, twin),) = operations_of([TrivialAugmentWide(num_magnitude_bins=9)])
    assert path == "0"
    assert isinstance(twin, OPERATIONS["TrivialAugmentWide"])
    assert spec_of(twin)["TrivialAugmentWide"]["num_magnitude_bins"] == 9


def test_a_container_that_draws_is_one_operation_and_others_are_taken_apart():
    drawing = K.ImageSequential(HUE(), BLUR(), random_apply=1)
    found = operations_of(K.AugmentationSequential(FLIP(), drawing))
    assert [path for path, _ in found] == ["0", "1"]
    assert isinstance(found[1][1], KorniaContainer)


def test_operations_do_what_the_container_that_held_them_does():
    module = K.AugmentationSequential(
        K.RandomResizedCrop((24, 32)),
        K.ImageSequential(K.RandomAffine(20.0), K.ColorJiggle(0.2, 0.2, 0.2, 0.1)),
        K.RandomErasing(p=0.5),
    )
    torch.manual_seed(7)
    expected = module(images(6))
    torch.manual_seed(7)
    image = images(6)
    size = tuple(image.shape[-2:])
    drawn = []
    for _, operation in operations_of(module):
        drawn.append((operation, operation.draw((6, 3, *size))))
        size = operation.size_after(size)
    for operation, params in drawn:
        image = operation.run(image, params)

    assert torch.equal(image, expected)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (K.AugmentationSequential(FLIP(), data_keys=["input", "mask"]),
         r"data_keys=\['image', 'mask'\]: leave them out"),
        (K.AugmentationSequential(
            FLIP(), extra_args={K.container.augment.DataKey.MASK:
                                {"resample": "bilinear"}}), "extra_args for mask"),
        (K.AugmentationSequential(
            FLIP(), extra_args={K.container.augment.DataKey.INPUT:
                                {"resample": "nearest"}}), "extra_args for image"),
        ([FLIP(), RandAugment(2, 9)], r"gpu_transform 1: RandAugment .*of fiberaug"),
        (K.ImageSequential(FLIP(), nn.Identity()), r"gpu_transform 1: .*Identity"),
        ([K.PatchSequential(HUE(), patchwise_apply=False)], "it draws for patches"),
        ([K.VideoSequential(HUE())], "it takes videos"),
        ([HUE(), [K.RandomMixUpV2()]], r"gpu_transform 1\.0: .*use MixUp of fiberaug"),
        ("RandomHue", "str does not run on batches"),
        ([lambda image: image], "function does not run on batches"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_its_place_and_a_remedy(transform, words):
    with pytest.raises(UsageError, match=words):
        operations_of(transform)


def test_data_keys_that_say_nothing_are_no_reason_to_refuse():
    for keys in (None, ["input"], ["image"]):
        assert paths(K.AugmentationSequential(FLIP(), data_keys=keys))


@pytest.mark.parametrize("wrap", [
    lambda one: [one, HUE(), one],
    lambda one: nn.Sequential(one, HUE(), one),
    lambda one: K.ImageSequential(one, HUE(), K.ImageSequential(one)),
    lambda one: [one, HUE(), K.ImageSequential(one, random_apply=1)],
], ids=["list", "sequential", "nested", "drawing"])  # fmt: skip
def test_one_object_at_two_places_is_refused(wrap):
    with pytest.raises(UsageError, match=r"stands at 0 and again at 2.*a second one"):
        operations_of(wrap(FLIP()))


@pytest.mark.parametrize(
    ("name", "arguments"),
    every_case(),
    ids=[str(i) for i, _ in enumerate(every_case())],
)
def test_a_recipe_builds_what_objects_are(name, arguments):
    section = json.loads(json.dumps([spec_of(build(name, arguments))]))
    (operation,) = build_gpu(section)
    assert operation.name == name
    assert [spec_of(operation)] == section


def test_a_recipe_needs_to_say_only_what_is_not_the_default():
    (one, two, three, four) = build_gpu([
        {"RandomAffine": {"degrees": 10}}, {"RandomHorizontalFlip": None},
        {"Normalize": {"mean": [0, 0, 1], "std": 1}},
        {"RandomFisheye": {"center_x": [0, 1], "center_y": [0, 1], "gamma": [1, 1]}},
    ])  # fmt: skip
    assert spec_of(one) == spec_of(K.RandomAffine(10))
    assert spec_of(two) == spec_of(FLIP())
    image = images(2)
    normalized = three.run(image, three.draw(tuple(image.shape)))
    assert torch.equal(normalized[:, 2], image[:, 2] - 1)
    assert four.run(image, four.draw(tuple(image.shape))).shape == image.shape


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_policies_are_built_again_from_their_descriptions(name):
    described = json.loads(json.dumps(spec_of(OPERATIONS[name]())))
    (again,) = build_gpu([described])
    assert isinstance(again, OPERATIONS[name])
    assert spec_of(again) == described


def test_a_name_that_the_library_has_too_is_the_librarys():
    (theirs, ours) = build_gpu([{"RandomErasing": {}}, {"fiberaug.RandomErasing": {}}])
    assert isinstance(theirs, KorniaOperation)
    assert isinstance(ours, OPERATIONS["RandomErasing"])
    assert not own_operations().keys() & LAYOUTS.keys()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"RandomHue": {}}, "gpu is a list of operations"),
        ([{"RandomHue": {}, "Resize": {}}], "one key"),
        ([{"HorizontalFlip": {}}], r"gpu\[0\].*did you mean 'RandomHorizontalFlip'"),
        ([{"RandAugmen": {}}], "did you mean 'RandAugment'"),
        ([{"RandomHue": {"hues": 0.1}}], "no argument 'hues'; did you mean 'hue'"),
        ([{"RandomHue": {}}, {"Resize": {}}], r"gpu\[1\]: Resize needs size"),
        ([{"Resize": {"size": [0, 9]}}], r"from 1 to 16384, got \[0, 9\]"),
        ([{"Resize": {"size": 20000}}], "from 1 to 16384, got 20000"),
        ([{"RandomHue": {"p": True}}], "p takes a number from 0 to 1, got True"),
        ([{"RandomHue": {"p": "1e-1"}}], "YAML takes 1e-3 for text"),
        ([{"RandomGaussianBlur": {"kernel_size": 101, "sigma": [1, 2]}}], "1 to 99"),
        ([{"RandomGaussianBlur": {"kernel_size": 4, "sigma": [1, 2]}}],
         "an odd number or a list of 2 odd numbers"),
        ([{"RandomMotionBlur": {"kernel_size": 3.5, "angle": 1, "direction": 0}}],
         "a whole number or"),
        ([{"RandomAffine": {"degrees": 5, "resample": "cubic"}}],
         "'nearest' or 'bilinear' or 'bicubic'"),
        ([{"RandomAffine": {"degrees": [5, 6, 7]}}], "a list of 2 numbers"),
        ([{"RandomMixUpV2": {}}], "cannot stand in a recipe: .*use MixUp"),
        ([{"RandomJigsaw": {"data_keys": []}}], "no argument 'data_keys'"),
        ([{"RandomBrightness": {"brightness": [1.5, 0.5]}}], r"gpu\[0\]: .*refuses"),
        ([{"Resize": {"size": 8, "p": 0.5}}], "give p=1"),
        ([{"RandAugment": {"num_op": 2}}], "did you mean 'num_ops'"),
        ([{"RandAugment": {"num_ops": "many"}}], "RandAugment refuses its arguments"),
        ([{"ImageSequential": {"transforms": [{"RandomHue": {}}]}}],
         "needs random_apply"),
        ([{"ImageSequential": {"random_apply": 2, "transforms": [{"RandomHue": {}}]}}],
         "a number of its 1 transforms"),
        ([{"ImageSequential": {"random_apply": 1, "transforms": [{"Hue": {}}]}}],
         r"gpu\[0\].ImageSequential\[0\]: .*did you mean 'RandomHue'"),
        ([{"ImageSequential": {"random_apply": 1, "random_apply_weights": [1, 1],
                               "transforms": [{"RandomHue": {}}]}}], "1 numbers"),
        ([{"ImageSequential": {"random_apply": 1,
                               "transforms": [{"Resize": {"size": [8, 8]}}]}}],
         "put it outside"),
    ],
)  # fmt: skip
def test_a_recipe_is_refused_with_the_place_the_value_and_the_bound(section, words):
    with pytest.raises(UsageError, match=words):
        build_gpu(section)


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - OPERATIONS.keys()))
def test_what_cannot_run_cannot_stand_in_a_recipe(name):
    with pytest.raises(UsageError, match=r"stand in a recipe|no batch operation"):
        build_gpu([{name: {}}])


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 5, 8, 99, 100, 0.0, 0.5, 1.0, -1, -0.5, 4096, 10**9, 1e300, -(10**30)]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "nearest", "reflect"]),
    lambda inner: st.lists(inner, max_size=4) | st.just({"a": 1}),
    max_leaves=6,
)


@st.composite
def strangers(draw):
    """An operation whose arguments are half of the right kind and half of any."""
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    arguments = {}
    for argument in arguments_of(name):
        if draw(st.booleans()):
            plain = CASES[name][0]
            if argument in plain and draw(st.booleans()):
                spec = spec_of(build(name, plain))
                arguments[argument] = spec[name][argument]
            else:
                kind = kind_of(name, argument)
                ends = st.sampled_from([kind.low, kind.high, *kind.words, True, None])
                arguments[argument] = draw(
                    VALUES | ends | st.lists(ends, min_size=1, max_size=4)
                )
    return {name: arguments}


@settings(deadline=None, max_examples=400)
@given(strangers())
def test_what_a_stranger_writes_is_built_or_refused(operation):
    refused = None
    try:
        (built,) = build_gpu([operation])
    except UsageError as error:
        refused = error.message
    if refused is not None:
        assert refused.startswith("gpu[0]")
        return
    ((name, given_arguments),) = operation.items()
    described = spec_of(built)[name]
    for argument in given_arguments:
        kind = KINDS.get(f"{name}.{argument}", KINDS[argument])
        assert described[argument] is None or kind.described()
    assert spec_of(build_gpu([{name: described}])[0])[name] == described
