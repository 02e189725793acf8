"""How often a leaf is asked for is how often the library applies it."""

import json
from functools import partial

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fiberaug
from fiberaug.auditing.asked import asked_leaves
from fiberaug.auditing.binomial import bounds
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline
from fiberaug.seeding import key

IMAGE = np.zeros((4, 4, 3), np.uint8)
ALPHA = 1e-7


def asked(transform):
    """The leaves of a transform, through the JSON of a manifest."""
    identity = json.loads(json.dumps(as_pipeline(transform).identity()))
    return asked_leaves({"cpu": identity})


def seen(transform, calls):
    """How many of some samples have each leaf, by path."""
    engine, found = CpuEngine(as_pipeline(transform), ["image"]), {}
    for visit in range(calls):
        made = engine({"image": IMAGE}, partial(key, 1, 0, 0, visit, 0))
        for path in {engine.leaves[number][0] for number, _ in made.operations}:
            found[path] = found.get(path, 0) + 1
    return found


def check(transform, calls=600):
    leaves, found = asked(transform), seen(transform, calls)
    assert set(found) <= {leaf.path for leaf in leaves}
    for leaf in leaves:
        low, high = bounds(found.get(leaf.path, 0), calls, ALPHA)
        assert low - 1e-9 <= leaf.chance <= high + 1e-9, (leaf, found)
    return {leaf.path: leaf.chance for leaf in leaves}


def noop(p):
    return A.NoOp(p=p)


def test_each_composition_draws_as_computed():
    a, b, c = noop(0.9), noop(0.3), noop(1)
    cases = {
        "compose": (A.Compose([a, b], p=0.5), {"0": 0.45, "1": 0.15}),
        "one of": (A.Compose([A.OneOf([a, b], p=0.6)]), {"0.0": 0.45, "0.1": 0.15}),
        "some of": (A.Compose([A.SomeOf([a, b, c], n=2)]), {
            "0.0": 0.6, "0.1": 0.2, "0.2": 2 / 3,
        }),
        "repeated": (A.Compose([A.SomeOf([a, b], n=2, replace=True, p=0.5)]), {
            "0.0": 0.5 * (1 - 0.55**2), "0.1": 0.5 * (1 - 0.85**2),
        }),
        "random order": (A.Compose([A.RandomOrder([a, b, c], n=1, p=0.5)]), {
            "0.0": 0.15, "0.1": 0.05, "0.2": 1 / 6,
        }),
        "one or other": (A.Compose([A.OneOrOther(a, b, p=0.7)]), {
            "0.0": 0.7, "0.1": 0.3,
        }),
        "sequential": (A.Compose([A.Sequential([a, b], p=0.5)]), {
            "0.0": 0.45, "0.1": 0.15,
        }),
        "channels": (A.Compose([A.SelectiveChannelTransform([a, b], p=0.5)]), {
            "0.0": 0.45, "0.1": 0.15,
        }),
        "forced": (A.Compose([A.OneOf([A.Sequential([a], p=0.2), b], p=1)]), {
            "0.0.0": 0.36, "0.1": 0.6,
        }),
        "not forced": (A.Compose([A.OneOf([A.SomeOf([a], n=1, p=0.2), b], p=1)]), {
            "0.0.0": 0.4 * 0.2 * 0.9, "0.1": 0.6,
        }),
        "zero": (A.Compose([A.OneOrOther(noop(0), b, p=0.5)]), {"0.0": 0, "0.1": 0.5}),
    }  # fmt: skip
    for name, (transform, expected) in cases.items():
        assert check(transform) == pytest.approx(expected), name


CHANCES = st.sampled_from([0.0, 0.2, 0.5, 1.0])
SOME = st.sampled_from([0.2, 0.5, 1.0])


def compositions(children):
    lists = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        st.builds(lambda t, p: A.Sequential(t, p=p), lists, SOME),
        st.builds(lambda t, p: A.Compose(t, p=p), lists, SOME),
        st.builds(lambda t, p: A.OneOf([*t, noop(0.5)], p=p), lists, CHANCES),
        st.builds(
            lambda t, n, r, p: A.SomeOf(t, n=min(n, len(t)), replace=r, p=p),
            lists, st.integers(1, 3), st.booleans(), SOME,
        ),
        st.builds(
            lambda t, p: A.RandomOrder(t, n=len(t), replace=False, p=p), lists, SOME
        ),
        st.builds(lambda a, b, p: A.OneOrOther(a, b, p=p), children, children, SOME),
        st.builds(lambda t, p: A.SelectiveChannelTransform(t, p=p), lists, SOME),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(tree=st.recursive(st.builds(noop, CHANCES), compositions, max_leaves=6))
def test_nested_compositions_are_applied_as_often_as_computed(tree):
    check(A.Compose([tree]), calls=200)


def same(image, **_):
    return image


class Mine(A.NoOp):
    """A transform of the user's."""


class Halve(fiberaug.ImageProcessor):
    def _process(self, image):
        return image // 2


def test_of_what_is_not_the_librarys_nothing_is_claimed():
    (leaf,) = asked(A.Compose([Mine(p=0.5)]))
    assert (leaf.chance, leaf.why) == (None, f"{__name__}.Mine is not the library's")
    (leaf,) = asked(lambda sample: sample)
    assert leaf.chance is None
    (leaf,) = asked(A.Compose([A.Lambda(image=same, p=0.5)]))
    assert (leaf.path, leaf.chance) == ("0", None)


def test_a_processor_is_logged_for_every_sample():
    found = check([Halve(), noop(0.5), A.Compose([noop(0.2)]), Halve()])
    assert found == {"0": 1.0, "1": 0.5, "2.0": 0.2, "3": 1.0}


def test_a_last_conversion_to_tensors_is_not_logged():
    tail = A.Compose([noop(0.5), A.ToTensorV2()])
    assert [leaf.path for leaf in asked(tail)] == ["0"]
    assert check(A.Compose([A.ToTensorV2(p=0.5)])) == {"0": 0.5}
    assert [leaf.path for leaf in asked(A.Compose([A.ToTensorV2()], p=0.5))] == ["0"]
