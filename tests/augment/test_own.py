"""A user's operation may return what it likes, as long as it is a sample."""

import numpy as np
import pytest
import torch

import fiberaug
from fiberaug.augment.own import CallableStage, ProcessorStage
from fiberaug.sample import Sample

KEY = bytes(range(16))
IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
SAMPLE = Sample({"image": IMAGE, "label": 2, "caption": None}, key="k", url="a.tar")


def sets_a_field(sample):
    sample["image"] = 255 - sample["image"]
    sample["new"] = sample.key
    return sample


def returns_a_dict(sample):
    return {**sample, "image": 255 - sample["image"], "new": sample["__key__"]}


def replaces(sample):
    return sample.replace(image=255 - sample["image"], new="k")


@pytest.mark.parametrize("function", [sets_a_field, returns_a_dict, replaces])
def test_a_sample_is_changed_in_place_as_a_dict_or_by_replacement(function):
    made, params = CallableStage(function)(SAMPLE, KEY)

    assert np.array_equal(made["image"], 255 - IMAGE)
    assert (made["label"], made["new"], made.key) == (2, "k", "k")
    assert np.array_equal(SAMPLE["image"], IMAGE)
    assert "new" not in SAMPLE
    assert len(params["source"]) == 16


def test_a_field_that_is_deleted_or_left_out_is_gone():
    def deletes(sample):
        del sample["label"]
        return sample

    assert set(CallableStage(deletes)(SAMPLE, KEY)[0]) == {"image", "caption"}
    made, _ = CallableStage(lambda sample: {"image": sample["image"]})(SAMPLE, KEY)
    assert set(made) == {"image"}


@pytest.mark.parametrize(
    "function",
    [lambda image: 255 - image, lambda img, top=255: top - img],
    ids=["image", "img"],
)
def test_a_function_of_an_image_gets_the_image(function):
    made, _ = CallableStage(function)(SAMPLE, KEY)

    assert np.array_equal(made["image"], 255 - IMAGE)
    assert made["label"] == 2


def test_a_tensor_and_a_gray_image_become_arrays_with_channels_last():
    def tensor(image):
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255

    made, _ = CallableStage(tensor)(SAMPLE, KEY)
    assert made["image"].dtype == np.float32
    assert np.array_equal(made["image"], IMAGE.astype(np.float32) / 255)
    gray, _ = CallableStage(lambda image: image[..., 0])(SAMPLE, KEY)
    assert gray["image"].shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda sample: None, "must return the sample"),
        (lambda sample: sample["image"], "must return the sample"),
        (lambda sample: {"label": 1}, "must return an image"),
        (lambda image: "x", "must return an image: .* got str"),
        (lambda image: image[0, 0], r"got ndarray \(3,\)"),
    ],
    ids=["none", "an image", "no image", "text", "a row"],
)
def test_anything_else_is_an_error_that_names_the_function(function, words):
    with pytest.raises(fiberaug.UsageError, match=words) as caught:
        CallableStage(function)(SAMPLE, KEY)
    assert "test_own" in str(caught.value)


class Draws(fiberaug.ImageProcessor):
    def _process(self, image):
        self.drawn = float(self.rng.random())
        return image

    def _process_info(self):
        return {"drawn": self.drawn}


def test_a_processor_draws_from_the_key_and_gives_its_generator_back():
    processor = Draws()
    stage = ProcessorStage(processor)
    infos = [stage(SAMPLE, key)[1] for key in (KEY, KEY[::-1], KEY)]

    assert infos[0] == infos[2] != infos[1]
    with pytest.raises(fiberaug.UsageError):
        processor.rng  # noqa: B018  # the lookup is the test


def test_a_processor_that_says_nothing_of_use_is_an_error():
    class Odd(Draws):
        def _process_info(self):
            return [1]

    with pytest.raises(fiberaug.UsageError, match="_process_info must return a dict"):
        ProcessorStage(Odd())(SAMPLE, KEY)
