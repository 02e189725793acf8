"""An image that waits gives what is asked for, whatever was asked before."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import turned

from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.image import decode_image
from fiberaug.decode.opencv import decode_reduced
from fiberaug.decode.orientation import upright
from fiberaug.decode.pending import PendingImage

LAW = settings(deadline=None, max_examples=150)
SIDE = 120


def photo(orientation):
    noise = np.random.default_rng(orientation).integers(0, 256, (15, 15, 3), np.uint8)
    image = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92, restart_marker_rows=1)
    return turned(stream.getvalue(), orientation)


PHOTOS = [photo(orientation) for orientation in range(1, 9)]


@st.composite
def boxes(draw):
    x = sorted(
        draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True))
    )
    y = sorted(
        draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True))
    )
    return x[0], y[0], x[1], y[1]


def cut(pixels, box):
    return pixels[box[1] : box[3], box[0] : box[2]]


@LAW
@given(
    st.sampled_from(PHOTOS),
    st.booleans(),
    st.lists(boxes() | st.none(), max_size=3),
    st.lists(boxes(), min_size=1, max_size=4),
)
def test_windows_are_those_of_the_whole_in_any_order(data, sound, held, asked):
    whole, header = decode_image(data, limits=ImageLimits())
    image = PendingImage(data, header, sound=sound)
    if held:
        image.hold(held)
    for box in asked:
        assert np.array_equal(image.window(box), cut(whole, box))
    assert np.array_equal(image.whole(), whole)


@LAW
@given(st.sampled_from(PHOTOS), st.lists(boxes(), min_size=2, max_size=3))
def test_what_is_held_is_not_decoded_again(data, held):
    image = PendingImage(data, read_header(data), sound=True)
    image.hold(held)
    seconds = image.seconds
    for box in held:
        image.window(box)
    assert image.seconds == seconds > 0


@LAW
@given(
    st.sampled_from(PHOTOS),
    st.booleans(),
    boxes(),
    st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)),
)
def test_a_reduced_window_is_as_large_as_what_is_made_of_it(data, sound, box, fit):
    """By the largest factor that leaves as many pixels, and near to its place."""
    header = read_header(data)
    pixels = PendingImage(data, header, sound=sound, fast=True).window(box, fit)
    sides = box[3] - box[1], box[2] - box[0]
    shrunk = min(side // wanted for side, wanted in zip(sides, fit, strict=True))
    factor = max(f for f in (1, 2, 4, 8) if f == 1 or f <= shrunk)
    reduced = upright(decode_reduced(data, header, factor), header.orientation)
    for axis, (low, high) in enumerate(((box[1], box[3]), (box[0], box[2]))):
        assert abs(pixels.shape[axis] - (high - low) / factor) <= 1
    corners = [
        (y, x)
        for y in (box[1] // factor, -(-box[1] // factor))
        for x in (box[0] // factor, -(-box[0] // factor))
    ]
    height, width = pixels.shape[:2]
    assert any(
        np.array_equal(pixels, reduced[y : y + height, x : x + width])
        for y, x in corners
    )
