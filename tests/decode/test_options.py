"""Laws of decode=: what it says is what is done, and what it cannot say is named."""

import dataclasses
import pickle

import pytest

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.options import COLORS, DEPTHS, DecodeOptions, parse_decode
from fiberaug.errors import UsageError


def test_exact_and_an_empty_mapping_are_the_defaults():
    default = DecodeOptions()

    assert parse_decode("exact") == parse_decode({}) == default
    assert parse_decode({"scale": "exact"}) == default
    assert (default.color, default.depth) == ("rgb", "uint8")
    assert default.limits == ImageLimits()


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_mapping_is_the_options_that_it_names(color, depth):
    given = {"color": color, "depth": depth, "max_pixels": 100, "max_side": 20}

    found = parse_decode(given)

    assert dataclasses.asdict(found) == {**given, "scale": "exact"}
    assert found.limits == ImageLimits(pixels=100, side=20)
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_record_says_what_the_pixels_depend_on_and_nothing_else():
    assert DecodeOptions().describe() == {"decoder": "opencv"}
    assert DecodeOptions(max_pixels=9, max_side=3).describe() == {"decoder": "opencv"}
    assert DecodeOptions(color="gray").describe() == {
        "decoder": "opencv",
        "color": "gray",
    }
    assert parse_decode("fast").describe() == {"decoder": "opencv", "scale": "fast"}
    assert DecodeOptions(depth="keep").describe() == {
        "decoder": "opencv",
        "depth": "keep",
    }


@pytest.mark.parametrize(
    ("decode", "words"),
    [
        ({"scale": "fast", "color": "keep"}, "got color='keep', depth='uint8'"),
        ({"scale": "fast", "depth": "keep"}, "goes with color 'rgb' or 'gray'"),
        ("exakt", "got 'exakt'; did you mean 'exact'"),
        ("zzz", "scale must be one of exact, fast, got 'zzz'"),
        ({"scale": 2}, "must be one of exact, fast, got 2"),
        (None, "'exact', 'fast' or a mapping"),
        (["rgb"], "'exact', 'fast' or a mapping"),
        ({"colour": "rgb"}, "no 'colour'; did you mean 'color'"),
        ({"max_size": 3}, "did you mean 'max_side'"),
        ({3: 3}, "decode has no 3; it has color"),
        ({"color": "grey"}, "rgb, gray, keep, got 'grey'; did you mean 'gray'"),
        ({"color": "RGB"}, "did you mean 'rgb'"),
        ({"color": None}, "color must be one of rgb, gray, keep, got None"),
        ({"depth": "uint16"}, "uint8, keep, got 'uint16'; did you mean 'uint8'"),
        ({"depth": 8}, "depth must be one of"),
        ({"max_pixels": 0}, "max_pixels must be a whole number >= 1, got 0"),
        ({"max_side": -5}, "max_side must be a whole number >= 1, got -5"),
        ({"max_side": 1.5}, "got 1.5"),
        ({"max_side": True}, "got True"),
        ({"max_pixels": "64"}, "got '64'"),
    ],
)
def test_what_is_not_understood_is_named_with_the_nearest_that_is(decode, words):
    with pytest.raises(UsageError, match=words):
        parse_decode(decode)
