"""Laws of refusal: one error, one line, the cause behind it."""

import struct

import cv2
import pytest

from fiberaug.decode.refusing import Refusing
from fiberaug.errors import LimitExceeded, SampleBroken


@pytest.mark.parametrize(
    "error",
    [cv2.error("two\nlines"), struct.error("short"), MemoryError(), ValueError("x" * 9),
     RecursionError("deep"), StopIteration(3), EOFError(), AssertionError("a")],
    ids=list("abcdefgh"),
)  # fmt: skip
def test_whatever_a_decoder_raises_is_one_named_error(error):
    with pytest.raises(SampleBroken) as caught, Refusing("the X cannot be decoded"):
        raise error

    assert caught.value.__cause__ is error
    assert caught.value.stage == "decode"
    start = f"the X cannot be decoded: {type(error).__name__}: "
    assert caught.value.message.startswith(start)
    assert "\n" not in caught.value.message


def test_a_long_story_is_cut():
    with pytest.raises(SampleBroken) as caught, Refusing("no"):
        raise ValueError("word " * 999)

    assert len(caught.value.message) < 400


@pytest.mark.parametrize("error", [SampleBroken("own words"), LimitExceeded("large")])
def test_an_error_that_has_a_name_keeps_it(error):
    with pytest.raises(type(error)) as caught, Refusing("no"):
        raise error

    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_stop_stops(error):
    with pytest.raises(error), Refusing("no"):
        raise error
