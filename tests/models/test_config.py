"""Laws of configurations: bounds hold, JSON brings them back."""

import json

import pytest

from fiberaug.errors import UsageError
from fiberaug.models import CriticConfig, Generator, GeneratorConfig
from fiberaug.models.config import Block
from fiberaug.models.counting import count_parameters
from fiberaug.models.limits import total_of


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(size=(28, 28)),
        GeneratorConfig(size=(96, 128), classes=3, places=True, block="grouped"),
        CriticConfig(size=(32, 32), channels=1, width=8, most_width=16, blocks=2),
    ],
)
def test_json_brings_a_config_back(config):
    told = json.loads(json.dumps(config.to_dict()))

    assert type(config).from_dict(told) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": -1}, "classes must be an integer from 0"),
        ({"classes": True}, "classes must be an integer"),
        ({"channels": 5}, "channels must be an integer from 1 to 4"),
        ({"width": 0}, "width must be"),
        ({"width": 8.0}, "width must be"),
        ({"z_dim": 10**9}, "z_dim must be"),
        ({"blocks": 17}, "blocks must be"),
        ({"most_width": 4}, "most_width is 4 and must be at least width, 8"),
        ({"most_width": 10**6}, "most_width must be"),
        ({"places": 1}, "places must be True or False"),
        ({"block": ["dense"]}, "block must be one of dense, grouped"),
        ({"size": [63, 84]}, "nearest sizes"),
        ({"size": None}, "size must be"),
        ({"colour": 1}, "has no colour; there are block"),
    ],
)
def test_a_value_out_of_range_is_refused(change, message):
    told = GeneratorConfig(size=(32, 32), width=8).to_dict() | change
    with pytest.raises(UsageError, match=message):
        GeneratorConfig.from_dict(told)


def test_what_is_left_out_has_its_default_but_for_the_size():
    assert CriticConfig.from_dict({"size": [8, 8]}) == CriticConfig(size=(8, 8))
    with pytest.raises(UsageError, match="size must be height and width"):
        CriticConfig.from_dict({})


def test_channels_double_towards_the_base_up_to_a_most():
    assert GeneratorConfig(size=(64, 64), width=8).widths == (32, 32, 32, 16, 8)
    narrow = CriticConfig(size=(64, 64), width=8, most_width=8)
    assert set(narrow.widths) == {8}


@pytest.mark.parametrize("block", ["dense", "grouped"])
def test_parameters_are_counted_without_their_memory(block: Block):
    config = GeneratorConfig(size=(24, 32), classes=5, width=6, block=block)

    assert count_parameters(config) == total_of(Generator.of(config))
    assert count_parameters(CriticConfig(size=(256, 256), width=256)) > 50_000_000


def test_an_absurd_network_is_refused_before_it_is_made():
    with pytest.raises(UsageError, match=r"[0-9,]{13} parameters, [0-9.]+ GB with gr"):
        Generator(4096, width=2048, most_width=16384)
    with pytest.raises(UsageError, match="critic would have"):
        count_parameters(CriticConfig(size=(64, 64), width=4096))
