"""Every transform of Albumentations is recorded and replayed bit for bit."""

import json
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from every_transform import Run, expected, page, run_all, transforms

import fiberaug
from fiberaug.augment.cpu import CpuEngine
from fiberaug.augment.pipeline import as_pipeline, pipeline_hash, rebuild
from fiberaug.augment.replayable import why_not_replayable
from fiberaug.seeding import key

PAGE = Path(__file__).parents[2] / "docs" / "albumentations.md"
NEEDS_THE_DATA_SET = {"Lambda"}
IDLE = {"NoOp", "ToTensorV2"}
"""What changes no field even where it is applied; fields are tensors in any case."""

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
every_transform = pytest.mark.parametrize("name", transforms())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All runs, recorded here and replayed in one other process."""
    return run_all(tmp_path_factory.mktemp("every_transform"))


@pytest.fixture
def runs(results, name):
    """The runs of one transform: two dtypes, two probabilities."""
    return [result for result in results if result.run.name == name]


def applied(result, text):
    return _logged(text) == expected(result.run)


def _logged(text):
    return [(o["path"], o["name"]) for o in json.loads(text)["applied_transforms"]]


def test_no_transform_of_the_library_is_missing():
    """What it defines and does not offer are base classes, with transforms below."""
    left = set(_below(A.BasicTransform)) - set(transforms().values())
    assert {kind.__name__ for kind in left if not any(_below(kind))} == set()
    assert len(transforms()) == 118


def _below(kind):
    for child in kind.__subclasses__():
        if child.__module__.startswith("albumentations."):
            yield child
            yield from _below(child)


@pytest.mark.timeout(1200)  # the first of them waits for all runs
@every_transform
def test_another_process_makes_the_same_bytes_from_json_text(runs):
    assert [(r.run.dtype, r.run.p) for r in runs] == [
        ("uint8", 1), ("uint8", 0.5), ("float32", 1), ("float32", 0.5),
    ]  # fmt: skip
    for result in runs:
        assert not result.failed, (result.run, result.failed)
        assert len(result.texts) == 8
        assert result.replayed == result.made, result.run
        assert result.exact


@every_transform
def test_the_run_folder_is_enough_where_arguments_are_no_functions(runs, name):
    for result in runs:
        assert bool(result.refused) == (name in NEEDS_THE_DATA_SET), result.refused
        # The processor in front of Mosaic needs fields that no synthetic sample has.
        tried = name != "Mosaic"
        said = json.loads(result.texts[0])["replayable"]
        assert said == (tried and not result.refused)


@every_transform
def test_the_log_names_what_ran_and_nothing_else(runs, name):
    for result in runs:
        logged = [_logged(text) for text in result.texts]
        if result.run.p == 1:
            assert logged == [expected(result.run)] * 8
        else:
            left_out = expected(result.run, applied=False)
            assert {tuple(o) for o in logged} == {
                tuple(left_out), (*left_out, (str(len(left_out)), name)),
            }  # fmt: skip


@every_transform
def test_what_is_not_applied_leaves_the_sample_alone(runs, name):
    for result in runs:
        rows = list(zip(result.texts, result.made, strict=True))
        changed = [
            _differing(made, result.untouched[json.loads(text)["key"]])
            for text, made in rows
            if applied(result, text)
        ]
        for text, made in rows:
            if not applied(result, text):
                before = result.untouched[json.loads(text)["key"]]
                assert not _differing(made, before), result.run
        idle = name in IDLE or (name, result.run.dtype) == ("ToFloat", "float32")
        if result.run.p == 1:
            assert any(changed) != idle, (result.run, changed)


def _differing(one, other):
    """Fields in which they differ; how metadata is packed does not count."""
    return [n for n in one if not n.endswith("_metadata") and one[n] != other[n]]


def test_the_page_of_the_manual_says_what_was_found(results):
    """Else: python tests/every_transform.py docs/albumentations.md."""
    assert PAGE.read_text(encoding="utf-8") == page(results)


def test_a_run_that_is_not_exact_would_be_named(results):
    result = results[0]
    other = [{**fields, "image": "0"} for fields in result.replayed]
    assert " exact | exact | yes |" in page([result])
    assert " other pixels | exact |" in page([result._replace(replayed=other)])
    assert " ValueError: no | exact |" in page(
        [result._replace(failed="ValueError: no")]
    )
    assert " exact | exact | no |" in page([result._replace(refused="for a reason")])


def named(*leaves):
    return pipeline_hash(as_pipeline(A.Compose(leaves)), {})


def test_two_functions_under_one_name_are_two_pipelines():
    """Else a replay with the other function would not be refused."""

    def darker(image, **_):
        return image // 2

    def inverted(image, **_):
        return 255 - image

    for name in (None, "mine"):
        one, other = (A.Lambda(image=f, name=name) for f in (darker, inverted))
        assert named(one) == named(A.Lambda(image=darker, name=name)) != named(other)
        assert why_not_replayable(as_pipeline(one))


def test_a_transform_with_reference_images_of_the_sample_is_rebuilt():
    """Albumentations refuses to serialise it."""
    pipeline = as_pipeline(A.Compose([A.OneOf([A.FDA(beta_limit=(0.2, 0.3), p=1)])]))
    again = rebuild(json.loads(json.dumps(pipeline.identity())))
    references = np.stack([IMAGE[::-1], 255 - IMAGE])
    fields = ["image", "fda_metadata"]
    made = []
    for held in ({"a": references[0], "b": references[1]}, references, [*references]):
        for each in (pipeline, again):
            sample = {"image": IMAGE, "fda_metadata": held}
            out = CpuEngine(each, fields)(sample, lambda _: key(0, 0, 1, 0, 0, "cpu"))
            made.append(out.fields["image"])

    assert pipeline_hash(again, {}) == pipeline_hash(pipeline, {})
    assert not np.array_equal(made[0], IMAGE)
    assert all(np.array_equal(image, made[0]) for image in made)
    assert named(A.FDA(beta_limit=(0, 0.3))) != named(A.FDA(beta_limit=(0, 0.1)))


@pytest.mark.filterwarnings("ignore:'reference_images'")
def test_reference_images_of_the_constructor_are_part_of_the_identity():
    one, other = (
        A.FDA(reference_images=[image], read_fn=np.asarray)
        for image in (IMAGE, 255 - IMAGE)
    )
    assert named(one) != named(other)
    assert "does not serialise" in why_not_replayable(as_pipeline(one))


def test_a_path_is_an_argument_like_its_text():
    path = Path("fonts") / "some.ttf"
    assert named(A.TextImage(path)) == named(A.TextImage(str(path)))
    assert as_pipeline(A.TextImage(path)).identity()["transform"]


def test_whole_numbers_stay_whole_when_a_pipeline_is_rebuilt():
    """Pixels of uint8 times 255 are others than times 255.0."""
    pipeline = as_pipeline(A.Compose([A.Sequential([A.FromFloat(dtype="uint8")], p=1)]))
    leaf = rebuild(pipeline.identity()).parts[0].what.transforms[0].transforms[0]
    assert type(leaf.max_value) is int
    assert why_not_replayable(pipeline) is None


def test_a_transform_does_not_write_into_what_other_views_get():
    overlay = {"image": IMAGE[:9, :9], "mask": np.ones((9, 9), np.uint8), "mask_id": 5}
    fields = {
        "image": IMAGE,
        "mask": np.zeros(IMAGE.shape[:2], np.uint8),
        "overlay_metadata": [overlay],
    }
    engine = CpuEngine(as_pipeline(A.OverlayElements(p=1)), list(fields))
    for view in range(3):
        draw = key(0, 0, 1, 0, view, "cpu")
        assert (engine(fields, lambda _, d=draw: d).fields["mask"] == 5).sum() == 81
    assert not fields["mask"].any()


def test_the_dtype_and_the_probability_are_part_of_a_run(results):
    assert len({result.run for result in results}) == 118 * 4
    assert Run("HorizontalFlip", "float32", 0.5) in {r.run for r in results}
    assert isinstance(fiberaug.Record.from_json(results[0].texts[0]), fiberaug.Record)
