"""A transform is taken apart so that every part has a place, a key and a name."""

import importlib.metadata
from functools import partial

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline, pipeline_hash, rebuild
from fiberaug.augment.replayable import why_not_replayable
from fiberaug.errors import UsageError
from fiberaug.processors import ChangeCase, Flip, Rotate
from fiberaug.seeding import key

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def noisy(sample):
    noise = np.random.randint(0, 9, sample["image"].shape, np.uint8)
    sample["image"] = sample["image"] // 2 + noise
    return sample


MIXED = [
    A.HorizontalFlip(p=1),
    A.OneOf([A.RandomGamma(p=1), A.InvertImg(p=1)], p=1),
    Flip(direction="vertical"),
    A.Compose([A.Transpose(p=1), A.Sequential([A.Transpose(p=1)], p=1)]),
    noisy,
    A.Solarize(p=1),
    A.Normalize(),
]


def run(transform, visit=0, fields=("image",)):
    engine = CpuEngine(as_pipeline(transform), fields)
    out = engine({"image": IMAGE}, partial(key, 0, 0, 0, visit, 0))
    return engine, out


def test_a_list_runs_in_order_and_paths_say_where_in_the_list():
    engine, out = run(MIXED)
    paths = [engine.leaves[number][0] for number, _ in out.operations]

    assert [p for p in paths if not p.startswith("1.")] == [
        "0", "2", "3.0", "3.1.0", "4", "5",
    ]  # fmt: skip
    assert [p for p in paths if p.startswith("1.")] in (["1.0"], ["1.1"])
    assert engine.tail == "6"
    assert engine.normalize is not None


@pytest.mark.parametrize("transform", [A.InvertImg(p=1), [A.InvertImg(p=1)]])
def test_a_transform_alone_is_a_pipeline_of_one(transform):
    engine, out = run(transform)

    assert engine.leaves == [("0", "InvertImg")]
    assert np.array_equal(out.fields["image"], 255 - IMAGE)


def test_a_list_of_albumentations_is_what_a_compose_of_them_is():
    transforms = [A.RandomCrop(30, 30), A.RandomGamma(), A.GaussNoise(p=1)]
    for visit in range(5):
        _, one = run(list(transforms), visit)
        _, other = run(A.Compose(transforms), visit)
        assert np.array_equal(one.fields["image"], other.fields["image"])


def test_parts_draw_independently():
    """The same function twice in a list draws two noises, not one twice."""
    seen = []

    def spy(sample):
        seen.append(np.random.rand())
        return sample

    run([spy, spy])
    assert len(set(seen)) == 2
    parts = as_pipeline([A.GaussNoise(p=1), Flip(), A.GaussNoise(p=1), noisy]).parts
    assert len({part.stage for part in parts}) == 4


def test_a_serialised_list_is_rebuilt_with_its_processors_paths_and_pixels():
    pipeline = as_pipeline([part for part in MIXED if part is not noisy])
    again = rebuild(pipeline.identity())

    assert pipeline_hash(again, {}) == pipeline_hash(pipeline, {})
    assert why_not_replayable(pipeline) is None
    engines = [CpuEngine(p, ["image"]) for p in (pipeline, again)]
    assert engines[0].leaves == engines[1].leaves


def test_a_compose_inside_of_a_list_keeps_its_path_when_it_is_rebuilt():
    pipeline = as_pipeline([A.Compose([A.InvertImg(p=1)])])

    assert CpuEngine(pipeline, ["image"]).leaves == [("0.0", "InvertImg")]
    again = rebuild(pipeline.identity())
    assert CpuEngine(again, ["image"]).leaves == [("0.0", "InvertImg")]


def test_what_cannot_be_rebuilt_says_why():
    assert "noisy does not serialise" in why_not_replayable(as_pipeline(MIXED))
    identity = as_pipeline([Rotate(limit=5)]).identity()
    identity[0]["class"] = "somewhere.Rotate"
    with pytest.raises(fiberaug.UsageError, match="import the module that defines it"):
        rebuild(identity)
    identity = as_pipeline([Rotate(limit=5)]).identity()
    identity[0]["params"] = {"limit": (3, 1)}
    with pytest.raises(fiberaug.UsageError, match="refuses its arguments"):
        rebuild(identity)


def test_a_processor_that_ignores_its_generator_is_not_replayable():
    pipeline = as_pipeline([Careless()])

    assert "gives another image" in why_not_replayable(pipeline)


class Careless(fiberaug.ImageProcessor):
    """Draws from a generator of its own."""

    def _process(self, image):
        return np.random.default_rng().integers(0, 256, image.shape, np.uint8)


def test_the_hash_names_arguments_and_source():
    def hash_of(*parts):
        return pipeline_hash(as_pipeline(list(parts)), {})

    assert hash_of(Rotate(limit=5)) == hash_of(Rotate("in/", "out/", limit=5))
    assert hash_of(Rotate(limit=5)) != hash_of(Rotate(limit=6))
    assert hash_of(Rotate(limit=5)) != hash_of(Flip())
    assert hash_of(noisy) != hash_of(lambda sample: sample)
    assert hash_of(Flip(), ChangeCase()) != hash_of(ChangeCase(), Flip())


@pytest.mark.parametrize("nothing", [3, "flip.yaml", {"a": 1}, Flip, [Flip], [[noisy]]])
def test_what_is_no_transform_is_refused(nothing):
    with pytest.raises(fiberaug.UsageError, match="transform must be"):
        as_pipeline(nothing)


def test_opaque_callables_can_be_forbidden():
    with pytest.raises(fiberaug.UsageError, match=r"nothing is known of .*noisy"):
        as_pipeline(MIXED, opaque="refuse")
    as_pipeline(MIXED[:4], opaque="refuse")
    inside = A.Compose([A.OneOf([A.Lambda(image=draws_itself)])])
    with pytest.raises(fiberaug.UsageError, match=r"the Lambda at transforms\[0\.0\]"):
        as_pipeline(inside, opaque="refuse")
    with pytest.raises(fiberaug.UsageError, match="opaque must be one of"):
        as_pipeline(MIXED, opaque="maybe")


def test_the_library_of_the_same_name_is_noticed(monkeypatch):
    monkeypatch.setattr(A, "__version__", "2.5.1")
    with pytest.raises(fiberaug.UsageError, match="albumentationsx"):
        as_pipeline(A.NoOp())
    monkeypatch.undo()
    version = importlib.metadata.version

    def beside(name):
        return "2.5.1" if name == "albumentationsx" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", beside)
    with pytest.raises(fiberaug.UsageError, match="is installed beside"):
        as_pipeline(A.NoOp())


class Careful(A.ImageOnlyTransform):
    """A transform of the user's own, which draws from a global generator."""

    def get_params(self):
        return {"level": int(np.random.randint(1, 100))}

    def apply(self, img, level, **params):
        return img + np.uint8(level)


def draws_itself(image, **params):
    return image + np.uint8(np.random.randint(1, 100))


@pytest.mark.parametrize(
    "transform",
    [Careful(p=1), A.Lambda(image=draws_itself, p=1)],
    ids=["own", "Lambda"],
)
def test_a_users_transform_inside_of_albumentations_is_keyed_too(transform):
    """It would draw the same in all workers, and another in each run."""
    np.random.seed(1)
    _, first = run(A.Compose([transform, A.HorizontalFlip(p=1)]), 3)
    after = np.random.get_state()[1].tolist()
    np.random.seed(2)
    _, again = run(A.Compose([transform, A.HorizontalFlip(p=1)]), 3)
    _, other = run(A.Compose([transform, A.HorizontalFlip(p=1)]), 4)
    np.random.seed(1)

    assert np.array_equal(first.fields["image"], again.fields["image"])
    assert not np.array_equal(first.fields["image"], other.fields["image"])
    assert np.random.get_state()[1].tolist() == after


def test_an_own_transform_that_was_edited_has_another_hash():
    def hash_of(level):
        space = {"A": A, "np": np, "__name__": "edited"}
        exec(  # noqa: S102  # a module that was edited
            "class Edited(A.ImageOnlyTransform):\n"
            f"    def apply(self, img, **params):\n        return img + {level}\n",
            space,
        )
        return pipeline_hash(as_pipeline(A.Compose([space["Edited"]()])), {})

    assert hash_of(1) == hash_of(1) != hash_of(2)
    own = as_pipeline(A.Compose([Careful(p=1)]))
    assert why_not_replayable(own) is None
    assert pipeline_hash(rebuild(own.identity()), {}) == pipeline_hash(own, {})


@pytest.mark.parametrize("nested", [False, True])
def test_a_compose_that_keeps_a_log_of_its_own_is_refused(nested):
    transform = A.ReplayCompose([A.HorizontalFlip()])
    if nested:
        transform = A.Compose([A.OneOf([A.Sequential([transform]), A.NoOp()])])
    with pytest.raises(UsageError, match=r"ReplayCompose.*give A\.Compose"):
        as_pipeline(transform)
