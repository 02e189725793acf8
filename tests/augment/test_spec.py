"""A serialised pipeline is whole, and its hash stable."""

import json

import albumentations as A
import pytest

import fiberaug
from fiberaug.augment.spec import (
    canonical_hash,
    compose_spec,
    describe,
    leaves,
    rebuild_compose,
)


def test_the_serialised_form_is_json_and_rebuilds_every_leaf_in_its_place():
    compose = A.Compose(
        [
            A.OneOf([A.HorizontalFlip(), A.Sequential([A.RandomGamma()])]),
            A.SomeOf([A.GaussNoise(), A.RandomOrder([A.D4()], n=1)], n=1),
        ],
        bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"]),
        additional_targets={"image2": "image"},
    )
    again = rebuild_compose(json.loads(json.dumps(compose_spec(compose))))

    assert [(p, type(leaf)) for p, leaf in leaves(again)] == [
        (p, type(leaf)) for p, leaf in leaves(compose)
    ]
    assert again.additional_targets == {"image2": "image"}
    assert again.processors["bboxes"].params.label_fields == ["labels"]
    assert compose_spec(again) == compose_spec(compose)


def test_what_does_not_serialise_is_described_by_its_arguments():
    def invert(image, **_):
        return 255 - image

    compose = A.Compose([A.Lambda(image=invert, p=0.25), A.HorizontalFlip(p=0.75)])

    assert compose_spec(compose) is None
    (path, name, *values), (_, other, *_rest) = describe(compose)
    assert (path, name, other) == ("0", "Lambda", "HorizontalFlip")
    assert "p=0.25" in values


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"transform": {"__class_fullname__": "NoSuchTransform", "p": 1}},
        {"transform": {"__class_fullname__": "Compose", "transforms": 3, "p": 1}},
    ],
    ids=["empty", "unknown", "no list"],
)
def test_a_form_of_something_else_is_refused(spec):
    with pytest.raises(fiberaug.UsageError, match="cannot be rebuilt"):
        rebuild_compose(spec)


def test_a_hash_takes_whole_floats_for_integers_and_nothing_else():
    assert canonical_hash({"b": [2.0, (1, 2)], "a": 1}) == canonical_hash(
        {"a": 1.0, "b": [2, [1, 2]]}
    )
    assert canonical_hash({"a": 1}) != canonical_hash({"a": 1.5})
    assert canonical_hash({"a": "1"}) != canonical_hash({"a": 1})
