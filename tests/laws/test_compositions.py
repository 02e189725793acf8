"""In every composition the log is what ran, in order, and replay gives it again."""

import json
from functools import partial

import albumentations as A
import numpy as np
import pytest

from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline, rebuild
from fiberaug.params import encode
from fiberaug.seeding import key

SEEDS = 200
RNG = np.random.default_rng(0)
SAMPLE = {
    "image": RNG.integers(0, 256, (48, 64, 3), np.uint8),
    "image2": RNG.integers(0, 256, (48, 64, 3), np.uint8),
    "mask": RNG.integers(0, 4, (48, 64), np.uint8),
    "masks": RNG.integers(0, 2, (2, 48, 64), np.uint8),
    "bboxes": np.array([[3, 4, 30, 40], [20, 8, 60, 30]], np.float32),
    "bbox_labels": np.array([1, 2]),
    "keypoints": np.array([[10, 10], [50, 40]], np.float32),
}
TWICE = A.HorizontalFlip(p=0.6)


def pixels():
    return [A.RandomGamma(p=1), A.GaussNoise(p=1), A.Posterize(p=1), A.Solarize(p=1)]


def gated():
    return [A.RandomGamma(p=0.5), A.HorizontalFlip(p=0.5), A.Transpose(p=0.5)]


COMPOSITIONS = {
    "OneOf": lambda: A.OneOf([*pixels(), A.Transpose(p=1)], p=0.8),
    "OneOf of gated leaves": lambda: A.OneOf(gated(), p=0.8),
    "SomeOf": lambda: A.SomeOf([*pixels(), A.VerticalFlip(p=1)], n=3, p=0.9),
    "SomeOf, with replacement": lambda: A.SomeOf(pixels(), n=4, replace=True, p=0.9),
    "RandomOrder": lambda: A.RandomOrder([*gated(), *pixels()], n=5, p=0.9),
    "OneOrOther": lambda: A.OneOrOther(A.RandomGamma(p=1), A.D4(p=1), p=0.5),
    "Sequential": lambda: A.Sequential([*gated(), A.RandomCrop(32, 32, p=0.5)], p=0.7),
    "nested Compose": lambda: A.Compose(
        [A.Compose([*gated()], p=0.5), *gated()], p=0.8
    ),
    "SelectiveChannelTransform": lambda: A.SelectiveChannelTransform(
        [A.RandomGamma(p=0.5), A.GaussNoise(p=0.7)], channels=(0, 2), p=0.8
    ),
    "the same leaf twice": lambda: A.Sequential(
        [TWICE, A.RandomGamma(p=0.5), TWICE], p=1
    ),
    "all in one another": lambda: A.OneOf(
        [
            A.SomeOf([A.RandomOrder(pixels(), n=2), A.Sequential(gated(), p=1)], n=1),
            A.OneOrOther(A.Compose(gated()), A.OneOf(pixels(), p=1)),
        ],
        p=1,
    ),
}
LISTS = {
    "a list of parts": lambda: [
        A.OneOf(gated(), p=0.9), A.Compose(gated()), A.SomeOf(pixels(), n=2),
    ],
}  # fmt: skip


class Spy:
    """Notes which leaf ran where the pixels are computed, apart from the hooks."""

    def __init__(self, engine):
        self.ran = []
        for _, _, stage in engine._stages:
            for (path, _), leaf in zip(stage.leaves, self.leaves(stage), strict=True):
                original = leaf.apply

                def apply(img, *args, _original=original, _path=path, **params):
                    self.ran.append(_path)
                    return _original(img, *args, **params)

                leaf._key2func["image"] = apply

    @staticmethod
    def leaves(stage):
        waiting = [stage._compose]
        while waiting:
            transform = waiting.pop(0)
            if isinstance(transform, A.BaseCompose):
                waiting = [*transform.transforms, *waiting]
            else:
                yield transform


def engine_of(pipeline):
    return CpuEngine(pipeline, list(SAMPLE))


@pytest.mark.parametrize("name", [*COMPOSITIONS, *LISTS])
def test_the_log_is_complete_and_in_order_and_replay_is_exact(name):
    """200 seeds each: against a spy, and again from JSON in a pipeline built anew."""
    if name in COMPOSITIONS:
        transform = A.Compose(
            [COMPOSITIONS[name]()], additional_targets={"image2": "image"}
        )
    else:
        transform = LISTS[name]()
    pipeline = as_pipeline(transform)
    identity = json.loads(json.dumps(pipeline.identity()))
    engine, again = engine_of(pipeline), engine_of(rebuild(identity))
    spy = Spy(engine)
    logs = set()
    for seed in range(SEEDS):
        spy.ran.clear()
        keys = partial(key, seed, 0, 7, 0, 0)
        out = engine(SAMPLE, keys)
        logged = [engine.leaves[number][0] for number, _ in out.operations]
        assert logged == spy.ran
        logs.add(tuple(logged))
        text = json.dumps(encode(out.operations))
        other = again(SAMPLE, keys)
        assert json.dumps(encode(other.operations)) == text
        assert again.leaves == engine.leaves
        assert out.fields.keys() == other.fields.keys()
        for field, value in out.fields.items():
            assert np.array_equal(value, other.fields[field]), field
            assert np.asarray(value).dtype == np.asarray(SAMPLE[field]).dtype, field
    assert len(logs) > 1  # the composition did draw


def test_a_leaf_that_was_not_chosen_leaves_the_pixels_alone():
    engine = engine_of(as_pipeline(A.Compose([A.OneOf(gated(), p=0.5)])))
    untouched = 0
    for seed in range(SEEDS):
        out = engine(SAMPLE, partial(key, seed, 0, 7, 0, 0))
        if not out.operations:
            untouched += 1
            assert np.array_equal(out.fields["image"], SAMPLE["image"])
    assert 20 < untouched < SEEDS
