"""Laws of descriptions: what is described is what is built again."""

import json

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia_cases import CASES, build, every_case
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.gpu.arguments import KINDS, check_argument, kind_of
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS
from fiberaug.gpu.operation import Operation
from fiberaug.gpu.replayable import why_not
from fiberaug.gpu.spec import arguments_of, spec_of
from fiberaug.gpu.spec import build as build_spec

CASE_IDS = [f"{n}-{i}" for n, cases in CASES.items() for i, _ in enumerate(cases)]
every = pytest.mark.parametrize(("name", "arguments"), every_case(), ids=CASE_IDS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("p", [None, 0.25])
@every
def test_every_augmentation_is_built_again_from_what_json_kept_of_it(
    name, arguments, p
):
    module = build(name, arguments, p)
    spec = json.loads(json.dumps(spec_of(module), allow_nan=False))

    assert spec_of(build_spec(spec)) == spec
    assert why_not(module) is None
    assert list(spec[name]) == list(arguments_of(name))


@every
def test_what_a_description_says_can_stand_in_a_recipe(name, arguments):
    for argument, value in spec_of(build(name, arguments))[name].items():
        check_argument(name, argument, value, "gpu[0]")


def test_arguments_are_described_as_they_were_given():
    module = K.RandomAffine(
        10, translate=(0.1, 0.2), resample="nearest", padding_mode="border", p=0.3
    )
    assert spec_of(module) == {
        "RandomAffine": {
            "degrees": 10,
            "translate": [0.1, 0.2],
            "scale": None,
            "shear": None,
            "resample": "nearest",
            "same_on_batch": False,
            "align_corners": False,
            "padding_mode": "border",
            "fill_value": None,
            "p": 0.3,
            "keepdim": False,
        }
    }
    assert spec_of(K.Resize((8, 9), p=1.0))["Resize"]["size"] == [8, 9]
    assert spec_of(K.LongestMaxSize(8))["LongestMaxSize"]["max_size"] == 8
    assert spec_of(K.ColorJitter(0.1, order=[2, 0]))["ColorJitter"]["order"] == [2, 0]
    planckian = K.RandomPlanckianJitter("CIED", select_from=[1, 4])
    assert spec_of(planckian)["RandomPlanckianJitter"]["mode"] == "CIED"
    assert spec_of(planckian)["RandomPlanckianJitter"]["select_from"] == [1, 4]
    assert spec_of(K.RandomThinPlateSpline(0.0))["RandomThinPlateSpline"]["scale"] == 0


FLOATS = st.floats(-0.49, 0.49, allow_subnormal=False)


@settings(deadline=None, max_examples=60)
@given(FLOATS, FLOATS, st.sampled_from(["tuple", "float32", "float64", "numpy"]))
def test_numbers_come_back_to_the_last_bit(one, other, kept):
    low, high = sorted((one, other))
    hue = {
        "tuple": (low, high),
        "float32": torch.tensor((low, high)),
        "float64": torch.tensor((low, high), dtype=torch.float64),
        "numpy": (np.float64(low), np.float64(high)),
    }[kept]
    module = K.ColorJiggle(hue=hue, order=(3,))
    again = build_spec(json.loads(json.dumps(spec_of(module))))
    drawn = []
    for each in (module, again):
        torch.manual_seed(0)
        drawn.append(KorniaOperation(each).draw((8, 3, 4, 4))["hue_factor"].float())

    assert torch.equal(*drawn)


def test_containers_have_told_their_children():
    child = K.RandomHorizontalFlip()
    K.AugmentationSequential(child, same_on_batch=True, keepdim=True)

    described = spec_of(child)["RandomHorizontalFlip"]

    assert described["same_on_batch"] is True
    assert described["keepdim"] is True


def test_an_object_that_was_changed_afterwards_is_found_out():
    blur = K.RandomGaussianBlur(3, (0.1, 2.0), p=1.0)
    assert why_not(blur) is None
    blur._param_generator.sigma = (1.0, 3.0)  # and not what it draws from
    assert why_not(blur) == "RandomGaussianBlur built again draws another sigma"

    gray = K.RandomGrayscale(p=1.0)
    gray.apply_transform = lambda image, *_, **__: image * 0.5
    assert why_not(gray) == "RandomGrayscale built again gives other pixels"

    motion = K.RandomMotionBlur(5, 10.0, 0.1, p=1.0)
    motion._fixed_kernel_size = None
    reason = "RandomMotionBlur built again does not draw idx alike"
    assert why_not(motion) == reason

    jitter = K.RandomPlanckianJitter(p=1.0)
    jitter.pl += 1
    assert why_not(jitter) == (
        "RandomPlanckianJitter has coefficients that none of its modes has"
    )


def test_an_operation_that_cannot_run_is_no_reason_to_stop():
    assert "cannot be tried" in why_not(K.CenterCrop((2000, 2000)))
    assert "no augmentation" in why_not(nn.Conv2d(3, 3, 1))


class Halved(Operation):
    """The user's own."""

    def draw(self, shape):
        return {"batch_prob": torch.ones(shape[0])}

    def run(self, image, params):
        return image / 2


class Described(Halved):
    """One that says what it is."""

    def spec(self):
        return {"Halved": {"by": 2}}


def test_operations_of_the_users_own_say_what_they_are():
    assert spec_of(Described("Halved")) == {"Halved": {"by": 2}}
    with pytest.raises(UsageError, match=r"Halved has no spec\(\)"):
        spec_of(Halved("Halved"))
    assert "has no spec()" in why_not(Halved("Halved"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"RandomAfine": {}}, "did you mean 'RandomAffine'"),
        ({"RandomAffine": {"degree": 3}}, "did you mean 'degrees'"),
        ({"RandomAffine": {}}, "RandomAffine needs degrees"),
        ({"RandomAffine": {"degrees": 999}}, "RandomAffine refuses its arguments"),
        ({"RandomJigsaw": {"data_keys": ["mask"]}}, "no argument 'data_keys'"),
        ({}, "an operation has one name"),
        ({"RandomHue": {}, "Resize": {}}, "an operation has one name"),
    ],
)
def test_a_description_that_is_none_is_refused(spec, words):
    with pytest.raises(UsageError, match=words):
        build_spec(spec)


def test_every_argument_of_every_class_is_bounded_and_every_bound_is_of_one():
    used = set()
    for name in LAYOUTS:
        for argument in arguments_of(name):
            assert kind_of(name, argument).described()
            own = f"{name}.{argument}"
            used.add(own if own in KINDS else argument)
    assert used == KINDS.keys()
