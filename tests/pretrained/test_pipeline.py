"""Modes of a pretrained pipeline: an image depends on its seed and conditions alone."""

import numpy as np
import pytest
from tiny_pipelines import write_stable_diffusion

from fiberaug.errors import UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.modes import MODES
from fiberaug.pretrained.pipeline import _runs
from fiberaug.pretrained.schedulers import SAMPLERS
from fiberaug.synthetic.generator import ImageGenerator, call, sample_notes

EDITS = [name for name, mode in MODES.items() if mode.edits]


@pytest.fixture(scope="module")
def open_mode(base, controlnet):
    """Opens a mode once: opening takes longer than making."""
    opened = {}

    def make(mode, **more):
        key = mode, *more.items()
        if key not in opened:
            net = controlnet if MODES[mode].controlled else None
            opened[key] = PretrainedPipeline.open(
                base, mode=mode, controlnet=net, classes=("cat", "dog"), steps=3, **more
            )
        return opened[key]

    return make


def told(pipeline, count=3, seed=0):
    """Conditions of ``count`` images of 24 x 40 px, each its own."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (count, 24, 40, 3), np.uint8)
    mask = np.zeros((count, 24, 40), np.uint8)
    for i in range(count):
        mask[i, :, : 8 * (i + 1)] = 255
    given = {"image": image, "mask": mask, "prompt": ["a cat", "a dog", "red"][:count]}
    return {name: value for name, value in given.items() if name in pipeline.takes}


def row(conditions, i):
    return {name: value[i : i + 1] for name, value in conditions.items()}


@pytest.mark.parametrize("mode", MODES)
def test_an_image_is_the_same_alone_and_in_any_batch(open_mode, mode):
    pipeline = open_mode(mode)
    given, seeds, labels = told(pipeline), [5, 5 + 2**40, 7], [0, 1, 0]
    together = call(pipeline, seeds, labels, **given)
    alone = [
        call(pipeline, [seeds[i]], [labels[i]], **row(given, i))[0] for i in (2, 0, 1)
    ]

    assert isinstance(pipeline, ImageGenerator)
    assert together.shape == (
        (3, 24, 40, 3) if "image" in pipeline.takes else (3, 32, 32, 3)
    )
    assert (together[[2, 0, 1]] == alone).all()
    assert (together[0] != together[1]).mean() > 0.5


@pytest.mark.parametrize("mode", MODES)
def test_each_condition_matters(open_mode, mode):
    pipeline = open_mode(mode)
    given = row(told(pipeline), 0)
    first = pipeline.generate([1], [0], **given)
    control = np.zeros((1, 24, 40, 3), np.uint8)
    control[:, ::2] = 255
    others = {
        "prompt": "blue bird", "negative": "scratch", "steps": 5, "guidance": 7.5,
        "sampler": "euler", "strength": 0.7, "mask": 255 - given.get("mask", control),
        "image": 255 - given.get("image", control), "control": control,
        "size": (16, 48), "caption": None,
    }  # fmt: skip
    assert pipeline.takes <= others.keys()
    for name in sorted(pipeline.takes - {"caption"}):
        if mode == "controlnet" and name == "image":
            continue  # its inverse has the same edges
        other = pipeline.generate([1], [0], **(given | {name: others[name]}))
        assert other.shape != first.shape or (other != first).any(), name


@pytest.mark.parametrize("mode", EDITS)
@pytest.mark.parametrize(("strength", "evaluations"), [(0.05, 1), (0.5, 10), (1.0, 20)])
def test_strength_is_the_share_of_the_steps_that_is_taken(
    open_mode, mode, strength, evaluations
):
    pipeline = open_mode(mode)
    given, counted = row(told(pipeline), 0), []
    hook = pipeline.pipeline.unet.register_forward_hook(lambda *_: counted.append(1))
    pipeline.generate([1], [0], steps=20, strength=strength, **given)
    hook.remove()

    assert len(counted) == evaluations


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_makes_the_same_image_twice_and_is_on_record(open_mode, sampler):
    pipeline = open_mode("image-to-image")
    given = {"image": told(pipeline)["image"][:1], "sampler": sampler, "strength": 0.9}
    one, two = (pipeline.generate([3], [1], **given) for _ in range(2))
    (note,) = sample_notes(pipeline, [3], [1], **given)

    assert (one == two).all()
    assert note["params"]["scheduler"] == SAMPLERS[sampler][0]
    assert len(note["params"]["scheduler_sha256"]) == 64
    assert note["params"]["sampler"] == sampler


def test_few_steps_without_guidance_are_the_default_of_lcm(base):
    pipeline = PretrainedPipeline.open(base, prompt="a cat", sampler="lcm")
    plain = PretrainedPipeline.open(base, prompt="a cat")
    (few,), (many,) = (sample_notes(one, [1], [0]) for one in (pipeline, plain))
    (late,) = sample_notes(plain, [1], [0], sampler="lcm")

    assert (few["params"]["steps"], few["params"]["guidance"]) == (4, 1.0)
    assert (many["params"]["steps"], many["params"]["guidance"]) == (25, 2.0)
    assert few["params"] == late["params"]
    assert pipeline.generate([1]).std() > 0


def test_a_unet_made_for_inpainting_repaints_and_does_nothing_else(tmp_path):
    folder = write_stable_diffusion(tmp_path / "nine", channels=9)
    pipeline = PretrainedPipeline.open(folder, mode="inpaint", prompt="a", steps=2)
    given = {"image": np.zeros((16, 16, 3), np.uint8), "mask": np.ones((16, 16), bool)}

    assert (
        pipeline.generate([1, 2], **given)[1] == pipeline.generate([2], **given)[0]
    ).all()
    with pytest.raises(UsageError, match="9 channels: it is made for inpainting"):
        PretrainedPipeline.open(folder, prompt="a")


def test_of_a_ladder_each_image_takes_the_strength_of_its_seed(open_mode):
    pipeline = open_mode("image-to-image")
    image = told(pipeline)["image"][0]
    ladder, seeds = [0.4, 0.7, 1.0], list(range(12))
    notes = sample_notes(pipeline, seeds, [0] * 12, image=image, strength=ladder)
    drawn = [note["params"]["strength"] for note in notes]
    again = sample_notes(pipeline, seeds[::-1], [0] * 12, image=image, strength=ladder)
    made = pipeline.generate(seeds[:4], [0] * 4, image=image, strength=ladder)

    assert set(drawn) == set(ladder)
    assert [note["params"]["strength"] for note in again][::-1] == drawn
    for i in range(4):
        alone = pipeline.generate([i], [0], image=image, strength=drawn[i])
        assert (made[i] == alone[0]).all()


def test_several_at_a_time_do_not_depend_on_the_batch_either(base):
    pipeline = PretrainedPipeline.open(base, classes=("cat", "dog"), steps=2, rows=3)
    together = pipeline.generate([1, 20, 3, 4], [0, 1, 0, 1])

    assert (pipeline.generate([4], [1])[0] == together[3]).all()
    assert (pipeline.generate([20, 3], [1, 0]) == together[1:3]).all()


def test_runs_are_of_what_goes_together():
    class Like:
        def __init__(self, alike):
            self.alike = alike

    jobs = [Like(c) for c in "aaaab"]
    assert _runs(jobs, 2) == [(0, 2), (2, 4), (4, 5)]
    assert _runs(jobs, 1) == [(i, i + 1) for i in range(5)]
    assert _runs(jobs[2:], 5) == [(0, 2), (2, 3)]
    assert _runs([], 4) == []


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        ("text-to-image", {"image": 1}, "takes no image; it takes caption, guidance"),
        ("text-to-image", {"size": (20, 32)}, r"multiples of 8 px.*16 x 32"),
        ("text-to-image", {"steps": 0}, "steps must be an integer from 1 to 1000"),
        ("text-to-image", {"guidance": float("nan")}, "guidance must be from 0 to 100"),
        ("text-to-image", {"sampler": "best"}, "sampler must be one of ddim, ddpm"),
        ("text-to-image", {"sampler": "lcm", "steps": 900}, "cannot take 900 steps"),
        ("image-to-image", {}, "needs image=, what it changes"),
        ("image-to-image", {"image": np.zeros((8, 8), np.uint8)}, "image must be"),
        ("image-to-image", {"image": np.zeros((1, 8, 8, 3))}, "got float64"),
        ("image-to-image", {"image": np.zeros((12, 8, 3), np.uint8)}, "multiples of 8"),
        ("image-to-image", {"image": np.zeros((8, 8, 3), np.uint8), "strength": 0.1},
         "less than one step: steps must be at least 10"),
        ("image-to-image", {"image": np.zeros((8, 8, 3), np.uint8), "strength": 1.5},
         "strength must be above 0 and at most 1"),
        ("inpaint", {"image": np.zeros((8, 8, 3), np.uint8)}, "needs mask="),
        ("inpaint", {"image": np.zeros((8, 8, 3), np.uint8),
                     "mask": np.full((8, 8), 100, np.uint8)}, "nothing to repaint"),
        ("inpaint", {"image": np.zeros((8, 8, 3), np.uint8),
                     "mask": np.full((16, 8), 255, np.uint8)}, "must be of one size"),
        ("controlnet", {}, "needs control=, or image=, whose edges are found"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_said_with_the_remedy(open_mode, mode, given, message):
    with pytest.raises(UsageError, match=message):
        open_mode(mode).generate([1], [0], **given)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_a_seed_that_is_none_is_refused(open_mode, seed):
    with pytest.raises(UsageError, match="seeds must be integers"):
        open_mode("text-to-image").generate([seed], [0])


def test_labels_are_those_of_the_classes(open_mode):
    with pytest.raises(UsageError, match="labels must be from 0 to 1, got 2"):
        open_mode("text-to-image").generate([1], [2])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "video"}, "mode must be one of text-to-image"),
        ({"mode": "controlnet"}, "needs controlnet=, a folder"),
        ({"rows": 0}, "rows must be an integer from 1 to 64"),
        ({"dtype": "int8"}, "dtype must be one of float32"),
        ({"device": "abacus"}, "device 'abacus' is unknown"),
        ({"safety": True}, "needs a safety checker, and .* has none"),
        ({"strength": 0.5}, "takes no strength"),
        ({"classes": ("a", "a")}, "different names"),
        ({"classes": "cat"}, "classes must be names"),
        ({"control": "pose"}, "control must be one of canny"),
        ({"control_scale": -1}, "control_scale must be from 0 to 10"),
        ({"size": 30}, "multiples of 8"),
        ({"memory": "lots"}, "memory"),
    ],
)
def test_an_argument_out_of_range_is_said_when_it_is_opened(base, more, message):
    with pytest.raises(UsageError, match=message):
        PretrainedPipeline.open(base, **({"prompt": "a"} | more))


def test_a_controlnet_is_refused_by_modes_without_one(base, controlnet):
    with pytest.raises(UsageError, match="takes no controlnet; with one there are"):
        PretrainedPipeline.open(base, controlnet=controlnet, prompt="a")


def test_it_says_what_it_is(base, controlnet):
    said = PretrainedPipeline.open(
        base, mode="controlnet", controlnet=controlnet, control="depth", prompt="a"
    ).describe()
    plain = PretrainedPipeline.open(base, prompt="a").describe()

    assert said["kind"] == "pretrained"
    assert said["licence"] == "mit"
    assert len(said["sha256"]) == 64
    assert said["sha256"] != plain["sha256"]  # its ControlNet counts
    assert said["params"]["control"] == "depth"
    assert said["params"]["dtype"] == "float32"
    assert said["device"] == "cpu"
