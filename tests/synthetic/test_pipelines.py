"""Laws of the pipeline: what a generator saves, diffusers loads and makes alike."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.models import UNet
from fiberaug.synthetic.diffusions import DiffusionGenerator
from fiberaug.synthetic.noises import generators_of
from fiberaug.synthetic.pipelines import ClassConditionalPipeline
from fiberaug.synthetic.samplers import training_schedule


def maker(classes=3, channels=3, **options):
    torch.manual_seed(0)
    unet = UNet((8, 12), classes, width=8, channels=channels)
    nn.init.normal_(unet.inner.conv_out.weight, std=0.3)
    return DiffusionGenerator(unet, rows=2, steps=4, **options)


def loaded(folder):
    pipeline = ClassConditionalPipeline.from_pretrained(
        folder, use_safetensors=True, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    made = maker()
    return made, loaded(made.save(tmp_path_factory.mktemp("model")))


def near(one, two):
    """Batches are of other shapes, so values are rounded otherwise."""
    difference = np.abs(one.astype(int) - two.astype(int))
    return difference.max() <= 1 and (difference > 0).mean() < 0.02


@pytest.mark.parametrize("sampler", ["dpmsolver++", "ddim", "ddpm", "unipc"])
def test_it_makes_what_the_generator_makes(sampler, tmp_path):
    made = maker(sampler=sampler)
    pipeline = loaded(made.save(tmp_path))
    for guidance in (1.0, 2.0):
        found = pipeline(
            [1, 0, 2], generator=generators_of([7, 3, 5]), num_inference_steps=4,
            guidance_scale=guidance, output_type="np",
        ).images  # fmt: skip
        expected = made.generate([7, 3, 5], [1, 0, 2], guidance=guidance)
        assert near(found, expected)


def test_it_changes_images_as_the_generator_does(both):
    made, pipeline = both
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    found = pipeline(
        [1, 0], generator=generators_of([7, 3]), num_inference_steps=4, image=image,
        strength=0.6, output_type="np", return_dict=False,
    )[0]  # fmt: skip
    expected = made.generate([7, 3], [1, 0], image=image, strength=0.6)
    assert near(found, expected)


def test_no_class_is_the_generators(both):
    made, pipeline = both
    (found,) = pipeline(
        batch_size=2, generator=generators_of([7, 3]), num_inference_steps=4,
        output_type="np", return_dict=False,
    )  # fmt: skip
    assert near(found, made.generate([7, 3]))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_images_are_pillows_where_nothing_else_is_asked_for(channels, mode):
    made = maker(classes=0, channels=channels)
    pipeline = ClassConditionalPipeline(made.unet.inner, training_schedule())
    one = pipeline(generator=torch.Generator().manual_seed(1), num_inference_steps=2)
    two = pipeline(generator=torch.Generator().manual_seed(1), num_inference_steps=2)
    assert one.images[0].mode == mode
    assert one.images[0].size == (12, 8)
    assert one.images[0].tobytes() == two.images[0].tobytes()


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerDiscreteScheduler])
def test_it_takes_other_schedulers_of_diffusers(both, kind):
    _, pipeline = both
    scheduler = kind.from_config(training_schedule().config)
    other = ClassConditionalPipeline(pipeline.unet, scheduler)
    seen = []
    made = other(
        torch.tensor([0, 1]), generator=torch.Generator().manual_seed(1),
        num_inference_steps=3, output_type="pt", guidance_scale=2.0,
        callback=lambda step, images: seen.append((step, images.shape)),
    ).images  # fmt: skip
    assert made.isfinite().all()
    assert seen == [(i, (2, 3, 8, 12)) for i in range(4)]


def test_it_comes_back_from_a_folder_of_its_own(both, tmp_path):
    _, pipeline = both
    pipeline.save_pretrained(tmp_path)
    again = loaded(tmp_path)
    one, two = (
        each([2], generator=generators_of([1]), num_inference_steps=2, output_type="np")
        for each in (pipeline, again)
    )
    np.testing.assert_array_equal(one.images, two.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_labels": [3]}, "0 to 2, got 3"),
        ({"class_labels": [0], "batch_size": 2}, "2 seeds, 1 labels"),
        ({"class_labels": [0], "generator": []}, "1 images need 1 generators"),
        ({"output_type": "latent"}, "output_type must be one of pil, np, pt"),
        ({"num_inference_steps": 0}, "steps must be"),
        ({"guidance_scale": -1}, "guidance must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"image": np.zeros((8, 8, 3), np.uint8)}, "image must be uint8"),
        ({"image": np.zeros((8, 12, 3), np.uint8), "strength": 2}, "strength must"),
    ],
)
def test_what_cannot_be_made_is_refused(both, options, message):
    with pytest.raises(UsageError, match=message):
        both[1](**options)


def test_without_classes_there_is_no_guidance():
    pipeline = ClassConditionalPipeline(maker(classes=0).unet.inner, None)
    with pytest.raises(UsageError, match="needs classes, and the UNet has none"):
        pipeline(guidance_scale=2.0)


def test_diffusers_is_imported_when_it_is_needed_only():
    code = (
        "import sys, fiberaug.models.unet, fiberaug.synthetic.diffusions;"
        " assert 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
