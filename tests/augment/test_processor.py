"""A processor's arguments are its identity, and its generator the sample's."""

import copy
import pickle

import pytest

import fiberaug
from fiberaug.augment.processor import (
    Processor,
    processor_spec,
    registered_processors,
)


class Forwards(fiberaug.ImageProcessor):
    def __init__(self, input_path=None, output_path=None, level=3, **rest):
        super().__init__(input_path, output_path, **rest)
        self.level = level


class Forgets(fiberaug.ImageProcessor):
    """An __init__ that does not call the one above it."""

    def __init__(self, size, *, name="x"):
        self.size = size + 1


class Bare(fiberaug.ImageProcessor):
    """No __init__ at all."""


@pytest.mark.parametrize(
    ("made", "params"),
    [
        (lambda: Forwards("in", "out"), {"level": 3}),
        (lambda: Forwards("in", "out", 4, extra=[1, 2]), {"level": 4, "extra": [1, 2]}),
        (lambda: Forgets(5), {"size": 5, "name": "x"}),
        (lambda: Bare(k=3, tag="a"), {"k": 3, "tag": "a"}),
        (lambda: Bare("in/", k=3), {"k": 3}),
    ],
)
def test_the_arguments_are_noted_however_init_is_written(made, params):
    processor = made()

    assert processor.params == params
    for again in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):
        assert again.params == params
        assert vars(again).keys() == vars(processor).keys()
    spec = processor_spec(processor)
    assert spec == {"class": type(processor).name(), "params": params}
    assert registered_processors()[spec["class"]](**params).params == params


def test_parameters_without_an_init_become_attributes_and_hide_nothing():
    assert Bare(k=3).k == 3
    with pytest.raises(fiberaug.UsageError, match="cannot have a 'process'"):
        Bare(process=3)


def test_arguments_that_are_no_json_have_no_serialised_form():
    assert processor_spec(Bare(k=object())) is None
    assert processor_spec(Bare(k=float("nan"))) is None


def test_the_generator_is_there_only_while_a_sample_is_processed():
    with pytest.raises(fiberaug.UsageError, match="belongs to the sample"):
        Bare(k=1).rng  # noqa: B018  # the lookup is the test


def test_of_two_classes_with_one_name_the_one_defined_last_counts():
    """A cell of a notebook that is run again."""

    def define(number):
        class Cell(Processor):
            version = number

        return Cell

    kept = [define(1), define(2)]
    name = kept[0].name()

    assert kept[1].name() == name
    assert registered_processors()[name].version == 2


def test_the_base_classes_are_not_registered():
    assert not {"ImageProcessor", "TextProcessor"} & {
        name.rpartition(".")[2] for name in registered_processors()
    }
