"""Laws of generators: what they return is checked, what they say is plain."""

import numpy as np
import pytest
from generators import Shapes, Unlabelled

from fiberaug.errors import UsageError
from fiberaug.synthetic.generator import (
    ImageGenerator,
    call,
    class_names,
    describe,
    sample_notes,
    source_type,
)


class Returns:
    """Returns whatever it was given."""

    def __init__(self, value):
        self.value = value

    def generate(self, seeds, labels, **conditions):
        return self.value


def test_what_has_generate_is_a_generator():
    assert isinstance(Shapes(), ImageGenerator)
    assert isinstance(Unlabelled(), ImageGenerator)
    assert not isinstance(object(), ImageGenerator)


def test_a_sample_is_the_same_in_any_batch():
    together = call(Shapes(), [5, 6, 7], [0, 1, 2])
    alone = [call(Shapes(), [5 + i], [i])[0] for i in range(3)]

    assert together.shape == (3, 24, 32, 3)
    assert np.array_equal(together, alone)


def test_conditions_reach_the_generator():
    assert call(Shapes(), [5], [0], dark=200).mean() < call(Shapes(), [5], [0]).mean()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.zeros((2, 4, 4, 3), np.float32),
            r"float32 \[2, 4, 4, 3\]; scale to 0..255",
        ),
        (np.full((2, 4, 4, 3), np.nan), r"float64 .* with 96 values NaN"),
        (np.zeros((2, 4, 4, 3), np.int64), r"got int64"),
        (np.zeros((2, 4, 4), np.uint8), r"got \[2, 4, 4\]"),
        (np.zeros((3, 4, 4, 3), np.uint8), r"got 3 images for 2 seeds"),
        (np.zeros((2, 3, 4, 4), np.uint8)[:, :, :, :2], r"put the channels last"),
        (np.zeros((2, 4, 4, 2), np.uint8), r"C 1, 3 or 4, got \[2, 4, 4, 2\]"),
        (np.zeros((2, 0, 4, 3), np.uint8), r"which has no pixel"),
        (None, r"got object \[\]"),
        ("images", r"got <U6 \[\]"),
    ],
)
def test_what_a_generator_must_not_return_is_named(value, message):
    with pytest.raises(UsageError, match=message) as caught:
        call(Returns(value), [70, 71], [8, 9])

    assert "Returns.generate(seeds=[70, 71], labels=[8, 9])" in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gray_rgb_and_alpha_are_images(channels):
    made = np.zeros((1, 5, 4, channels), np.uint8)

    assert call(Returns(made), [1], [0]).shape == made.shape


def test_what_is_returned_is_no_view_of_the_generators_memory():
    memory = np.zeros((1, 4, 4, 3), np.uint8)
    made = call(Returns(memory), [1], [0])
    memory += 9

    assert not made.any()


def test_the_error_of_a_generator_says_what_was_asked():
    class Broken:
        def generate(self, seeds, labels, **conditions):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        call(Broken(), range(100), [0] * 100)

    (note,) = caught.value.__notes__
    assert "Broken.generate(seeds=[0, 1, 2, 3, 4, 5, 6, 7, ...]" in note


def test_seeds_and_labels_are_as_many():
    with pytest.raises(UsageError, match="2 seeds, 1 labels"):
        call(Shapes(), [1, 2], [0])


def test_a_description_has_its_class_and_a_hash():
    said = describe(Shapes())

    assert said["kind"] == "procedural"
    assert said["class"] == "generators.Shapes"
    assert said["source"] == describe(Shapes((8, 8)))["source"]
    assert said["source"] != describe(Unlabelled())["source"]
    assert said["params"] != describe(Shapes((8, 8)))["params"]
    assert said == describe(Shapes())
    assert describe(Unlabelled())["kind"] == "code"


def test_a_hash_of_weights_stands_for_the_source():
    generator = Unlabelled()
    generator.describe = lambda: {"sha256": "0" * 64}

    assert "source" not in describe(generator)


def test_what_a_generator_counts_does_not_change_what_it_is():
    generator = Unlabelled()
    before = describe(generator)
    generator.calls = 3

    assert describe(generator) == before


@pytest.mark.parametrize("classes", ["cat", ("a", "a"), (1, 2), ("",), 7])
def test_classes_are_different_texts(classes):
    generator = Unlabelled()
    generator.classes = classes

    with pytest.raises(UsageError, match="classes of generators"):
        class_names(generator)


def test_what_is_not_said_has_a_default():
    assert class_names(Unlabelled()) == ()
    assert source_type(Unlabelled()) == "trainedAlgorithmicMedia"
    assert source_type(Shapes()) == "algorithmicMedia"
    assert sample_notes(Unlabelled(), [1, 2], [0, 0]) == [{}, {}]


@pytest.mark.parametrize("notes", [[{}], [{}, {}, {}], [1, 2]])
def test_notes_are_a_mapping_for_each_sample(notes):
    generator = Unlabelled()
    generator.sample_notes = lambda seeds, labels: notes

    with pytest.raises(UsageError, match="must return 2 mappings"):
        sample_notes(generator, [1, 2], [0, 0])


@pytest.mark.parametrize(
    ("name", "value"), [("source_type", 3), ("describe", lambda: 3)]
)
def test_what_is_said_wrongly_is_named(name, value):
    generator = Unlabelled()
    setattr(generator, name, value)

    with pytest.raises(UsageError, match=name):
        (source_type if name == "source_type" else describe)(generator)
