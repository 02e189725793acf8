"""Pools of a pretrained pipeline: on record, made again from it, checked for safety."""

from functools import partial

import numpy as np
import pytest
from tiny_pipelines import write_stable_diffusion

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image
from fiberaug.errors import ReplayMismatch, StateMismatch, UsageError
from fiberaug.pretrained import PretrainedPipeline, remake
from fiberaug.synthetic.generator import sample_notes
from fiberaug.synthetic.pool import Pool, shard_of


def make(base, **more):
    told = {"classes": ("cat", "dog"), "steps": 2, "negative": "red"}
    return partial(PretrainedPipeline.open, base, **(told | more))


def write(maker, folder, **more):
    told = {"per_class": 2, "progress": False} | more
    return Pool.write(maker, folder, **told)


def shards(pool):
    return [(pool.path / one.name).read_bytes() for one in pool.manifest.shards]


@pytest.fixture(scope="module")
def pool(base, tmp_path_factory):
    return write(make(base), tmp_path_factory.mktemp("p") / "pool", batch_size=3)


def test_a_pool_is_the_same_for_any_batch_size_and_number_of_processes(
    base, pool, tmp_path
):
    other = write(make(base), tmp_path / "other", batch_size=1, processes=2)

    assert shards(other) == shards(pool)
    assert pool.file.checks["batch"]["differing"] == 0


def test_each_sample_is_made_again_from_its_record(base, pool):
    # nothing but the folder and the record: other defaults, no classes
    pipeline = PretrainedPipeline.open(base, prompt="else", steps=9)
    shard = shard_of(pool, pool.manifest.shards[0])
    for i, (key, label, stated) in enumerate(pool.samples()):
        pixels = decode_image(shard.read(i)["png"], limits=ImageLimits())[0]
        assert (remake(stated, pipeline) == pixels).all(), key
        assert stated.params.prompt == f"a photo of a {('cat', 'dog')[label]}"
        assert stated.params.negative == "red"
        assert stated.params.scheduler == "DDIMScheduler"
        assert stated.generator.kind == "pretrained"
        assert stated.generator.licence == "mit"
        assert stated.checks.safety == "not_run"


def test_a_record_is_not_made_again_by_another_model(base, pool, tmp_path):
    stated = next(pool.samples())[2]
    other = write_stable_diffusion(tmp_path / "other", seed=1)
    with pytest.raises(StateMismatch, match="made with sha256"):
        remake(stated, PretrainedPipeline.open(other))
    with pytest.raises(StateMismatch, match="made with dtype 'float32'"):
        remake(stated, PretrainedPipeline.open(base, dtype="bfloat16"))
    with pytest.raises(StateMismatch, match="made with mode 'text-to-image'"):
        remake(stated, PretrainedPipeline.open(base, mode="image-to-image"))


class Edited:
    """Changes one image, which its pipeline is told each time."""

    def __init__(self, base, image):
        self.image = image
        self.made = make(base, mode="image-to-image", strength=(0.6, 1.0))()
        self.source_type, self.describe = self.made.source_type, self.made.describe

    def generate(self, seeds, labels):
        return self.made.generate(seeds, labels, image=self.image)

    def sample_notes(self, seeds, labels):
        return self.made.sample_notes(seeds, labels, image=self.image)


def test_an_edit_is_made_again_with_its_image(base, tmp_path):
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    pool = write(Edited(base, image), tmp_path / "pool", per_class=None, count=4)
    pipeline = PretrainedPipeline.open(base, mode="image-to-image")
    for _, _, stated in pool.samples():
        remake(stated, pipeline, image=image)
        assert stated.params.strength in (0.6, 1.0)
        assert stated.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    with pytest.raises(ReplayMismatch, match="come out otherwise here"):
        remake(stated, pipeline, image=255 - image)


@pytest.mark.parametrize(
    ("finds", "verdict"), [("flags", "flagged"), ("passes", "passed")]
)
def test_the_verdict_of_a_safety_checker_is_on_record(tmp_path, finds, verdict):
    folder = write_stable_diffusion(tmp_path / "base", safety=finds)
    pipeline = make(folder, safety=True)()
    made = pipeline.generate([1, 2], [0, 1])
    notes = sample_notes(pipeline, [1, 2], [0, 1])
    fresh = sample_notes(make(folder, safety=True)(), [2], [1])

    assert [note["safety"] for note in notes] == [verdict] * 2
    assert fresh[0]["safety"] == verdict  # found by making it again
    assert made.any() == (finds == "passes")  # what is flagged is black
    pool = write(
        make(folder, safety=True), tmp_path / "pool", count=2, per_class=None,
        dedupe=False,
    )  # fmt: skip
    assert {stated.checks.safety for _, _, stated in pool.samples()} == {verdict}
    plain = sample_notes(make(folder)(), [1], [0])
    assert "safety" not in plain[0]


def test_a_pool_goes_on_only_as_it_was_begun(base, pool):
    with pytest.raises(UsageError, match="generator"):
        write(make(base, steps=3), pool.path)


def test_braces_of_a_caption_are_text_also_when_it_is_made_again(base, tmp_path):
    pool = write(
        make(base, prompt="{caption}"), tmp_path / "pool",
        conditions={"caption": "a {label} of {x}"},
    )  # fmt: skip
    pipeline = PretrainedPipeline.open(base)
    for _, _, stated in pool.samples():
        assert stated.params.prompt == "a {label} of {x}"
        remake(stated, pipeline)
