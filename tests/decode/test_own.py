"""Laws of the user's own decoders: an array, or one named error with its cause."""

import numpy as np
import pytest

from fiberaug.decode.fields import parse_fields
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.own import call_own, own_image
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import LimitExceeded, SampleBroken


def fails(error):
    def decoder(_):
        raise error

    return decoder


@pytest.mark.parametrize(
    "error",
    [KeyError("band 7"), MemoryError("19 GiB"), RecursionError("x"), StopIteration()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("field", ["image", "depth"])
def test_what_a_decoder_raises_is_named_with_its_extension(field, error):
    specs = parse_fields({"image": "npy", "depth": "npy"} | {field: "tif"})
    good = lambda _: np.zeros((2, 2, 3), np.uint8)  # noqa: E731
    decoder = SampleDecoder(specs=specs, decoders={"tif": fails(error), "npy": good})

    with pytest.raises(SampleBroken) as caught:
        decoder({"tif": b"II", "npy": b""})

    assert "decoder of .tif" in caught.value.message
    assert type(error).__name__ in caught.value.message
    assert str(error) in caught.value.message
    assert caught.value.__cause__ is error
    assert caught.value.stage == "decode"


def test_an_error_that_refuses_the_sample_already_passes():
    for error in (SampleBroken("bands differ"), LimitExceeded("too many bands")):
        with pytest.raises(type(error), match="bands"):
            call_own(fails(error), b"", "tif")


def test_none_is_no_value():
    with pytest.raises(SampleBroken, match=r"decoder of \.tif returns None"):
        call_own(lambda _: None, b"", "tif")
    with pytest.raises(SampleBroken, match=r"decoder of \.tif returns None"):
        own_image(lambda _: None, b"", "tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 7)])
def test_pixels_of_three_dtypes_and_any_channels_are_an_image(dtype, shape):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    for options in (DecodeOptions(), DecodeOptions(color="gray", depth="keep")):
        decoder = SampleDecoder(
            specs=parse_fields({"image": "tif"}),
            decoders={"tif": lambda _: pixels},
            options=options,
        )
        fields, header = decoder({"tif": b""})
        assert np.array_equal(fields["image"], pixels.reshape(2, 3, -1))
        assert fields["image"].dtype == dtype
        assert header == ("tif", 3, 2, 1)


@pytest.mark.parametrize(
    "value",
    [[[1]], b"pixels", np.zeros(3, np.uint8), np.zeros((1, 2, 2, 3), np.uint8),
     np.zeros((2, 2, 3)), np.zeros((2, 2, 3), np.int64), np.zeros((2, 2, 3), bool),
     np.zeros((0, 2, 3), np.uint8), np.array([["a"]]), 7],
    ids=list("abcdefghij"),
)  # fmt: skip
def test_anything_else_is_no_image(value):
    with pytest.raises(SampleBroken, match=r"\[H, W, C\], got .*uint8, uint16, float"):
        own_image(lambda _: value, b"", "tif")


def test_a_decoder_gets_bytes():
    kinds = []
    call_own(lambda data: kinds.append(type(data)) or 1, memoryview(b"abc"), "xyz")

    assert kinds == [bytes]


def test_a_mask_of_a_users_decoder_is_checked_like_any_other():
    def decoded(mask):
        image = np.zeros((2, 3), np.uint8)
        return SampleDecoder(
            specs=parse_fields({"image": "png", "mask": "tif"}),
            decoders={"png": lambda _: image, "tif": lambda _: mask},
        )({"png": b"", "tif": b""}).fields["mask"]

    ids = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert np.array_equal(decoded(ids), ids)
    for mask in ("text", ids.astype(float), ids[None], [[0, 1, 2]] * 2):
        with pytest.raises(SampleBroken, match=r"class ids \[H, W\]"):
            decoded(mask)
    with pytest.raises(SampleBroken, match="mask is 2x3 px, the image 3x2"):
        decoded(ids.T)
