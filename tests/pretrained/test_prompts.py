"""Prompts are filled in, read to their end, and know their words."""

import pytest

from fiberaug.errors import UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.prompts import check_prompt, fill, texts_of
from fiberaug.synthetic.generator import sample_notes


@pytest.fixture(scope="module")
def pipeline(base):
    return PretrainedPipeline.open(base, classes=("cat", "red bird"), steps=2)


def prompts(pipeline, labels, **conditions):
    notes = sample_notes(pipeline, range(len(labels)), labels, **conditions)
    return [note["params"]["prompt"] for note in notes]


def test_a_prompt_is_filled_with_the_name_of_the_class_and_the_caption(pipeline):
    assert prompts(pipeline, [1, 0]) == ["a photo of a red bird", "a photo of a cat"]
    assert prompts(
        pipeline, [0, 1], prompt="{caption}: the {label}", caption=["blue", "of a dog"]
    ) == ["blue: the cat", "of a dog: the red bird"]
    assert prompts(pipeline, [0, 1], prompt=["a", "{label}"]) == ["a", "red bird"]


def test_what_is_put_in_is_not_filled_again():
    assert fill("{label} {caption}", "{caption}", "{label}") == "{caption} {label}"


@pytest.mark.parametrize(
    ("template", "message"),
    [("a {colour} cat", r"has \{colour\}; there are \{label\} and"),
     ("a {label}", "needs names of classes, by classes="),
     ("a {caption}", "needs the condition caption"),
     ("a {}", r"has \{\}")],
)  # fmt: skip
def test_a_placeholder_with_nothing_for_it_is_refused(template, message):
    with pytest.raises(UsageError, match=message):
        fill(template, None, None)


def test_without_a_prompt_and_classes_there_is_nothing_to_make(base):
    with pytest.raises(UsageError, match="a prompt is needed"):
        PretrainedPipeline.open(base, steps=2).generate([1])


def test_the_longest_prompt_is_read_to_its_end_and_a_longer_one_refused(pipeline):
    check_prompt("cat " * 75, pipeline.pipeline)
    with pytest.raises(UsageError, match=r"78 tokens.*reads 77: 'dog' would be left"):
        check_prompt("cat " * 75 + "dog", pipeline.pipeline)
    with pytest.raises(UsageError, match="the negative has 78 tokens"):
        pipeline.generate([1], [0], negative="cat " * 76)


def test_a_word_that_nobody_loaded_is_refused(pipeline):
    with pytest.raises(UsageError, match=r"has the token <scratch>, and no embedding"):
        pipeline.generate([1], [0], prompt="a photo of <scratch>")


@pytest.mark.parametrize("given", [3, ["a"], ["a", 1]])
def test_texts_are_one_or_one_an_image(given):
    with pytest.raises(UsageError, match="prompt must be"):
        texts_of(given, 2, "prompt")
