"""Laws of the parts of a bake: its arguments, its names, its bytes."""

import io
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from fiberaug.baking.carried import archive, base_name, carry, is_exact_text
from fiberaug.baking.comparing import difference
from fiberaug.baking.naming import baked_key, digits_of, shard_name
from fiberaug.baking.options import parse_epochs
from fiberaug.baking.pixels import encode_ids, encode_pixels
from fiberaug.baking.seen import Seen, record_field
from fiberaug.decode.fields import parse_fields
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.text import parse_json
from fiberaug.errors import UsageError

SIDE = st.integers(1, 20)
KEEP = {"limits": ImageLimits(), "color": "keep", "depth": "keep"}


@pytest.mark.parametrize(
    ("given_epochs", "expected"),
    [
        ("0-4", [0, 1, 2, 3, 4]), ("3", [3]), (6, [6]), ((2, 3), [2, 3]),
        ("7-7", [7]), (range(5, 8), [5, 6, 7]), (" 1 - 2 ", [1, 2]), ([4], [4]),
    ],
    ids=str,
)  # fmt: skip
def test_epochs_are_said_in_several_ways(given_epochs, expected):
    assert list(parse_epochs(given_epochs)) == expected


@pytest.mark.parametrize(
    "given_epochs",
    ["4-0", "-1", "a", "", "1-", "0-1-2", -1, (1, 2, 3), 1.5, True, None, range(0),
     range(0, 4, 2), "9" * 30, (0, 2**63), "٣"],
    ids=lambda value: f"{type(value).__name__}-{value!s:.12}",
)  # fmt: skip
def test_epochs_that_are_none_are_refused(given_epochs):
    with pytest.raises(UsageError, match="epochs"):
        parse_epochs(given_epochs)


@given(
    st.tuples(SIDE, SIDE, st.integers(1, 4)).flatmap(
        lambda shape: arrays.arrays(st.sampled_from([np.uint8, np.uint16]), shape)
    ),
    st.sampled_from(["png", "webp"]),
)
def test_pixels_come_back_whatever_their_form(pixels, encode):
    if pixels.dtype == np.uint16 and pixels.shape[2] == 2:
        with pytest.raises(UsageError, match="uint16 of 1, 3 or 4"):
            encode_pixels(pixels, encode)
        return
    extension, data = encode_pixels(pixels, encode)
    again, header = decode_image(data, **KEEP)

    assert difference(pixels, np.ascontiguousarray(again)) is None
    assert header.format == extension
    assert data == encode_pixels(pixels.copy(), encode)[1]
    plain = pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert extension == ("webp" if plain and encode == "webp" else "png")


def test_another_program_sees_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    for encode in ("png", "webp"):
        _, data = encode_pixels(pixels, encode)
        with Image.open(io.BytesIO(data)) as image:
            assert (np.asarray(image) == pixels).all()


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.int32]), st.tuples(SIDE, SIDE),
        elements=st.integers(0, 255),
    ),
    st.booleans(),
)  # fmt: skip
def test_class_ids_come_back_with_their_dtype(mask, large):
    if large and mask.dtype == np.int32:
        mask = mask * 257
    again = decode_mask(encode_ids(mask), limits=ImageLimits())
    assert difference(mask, again) is None


@pytest.mark.parametrize("value", [-1, 65_536])
def test_class_ids_that_a_png_cannot_hold_are_refused(value):
    with pytest.raises(UsageError, match="from 0 to 65535"):
        encode_ids(np.full((2, 2), value, np.int32))


def test_jpeg_refuses_what_it_cannot_hold():
    for pixels in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)):
        with pytest.raises(UsageError, match="JPEG holds uint8"):
            encode_pixels(pixels, "jpeg")
    extension, data = encode_pixels(np.full((8, 8, 1), 99, np.uint8), "jpeg")
    assert extension == "jpg"
    assert cv2.imdecode(np.frombuffer(data, np.uint8), -1).shape == (8, 8)


@given(st.text())
def test_a_text_is_exact_where_a_member_gives_it_again(text):
    if is_exact_text(text):
        from fiberaug.decode.sample import SampleDecoder

        decoder = SampleDecoder(specs=parse_fields({"image": "png", "note": "n.txt"}))
        _, pixels = encode_pixels(np.zeros((1, 1, 3), np.uint8), "png")
        found = decoder({"png": pixels, "n.txt": text.encode()}).fields["note"]
        assert found == text
    carried = carry("note", text, None)
    assert (carried.member is None) == (not is_exact_text(text))


@given(st.text(st.sampled_from("abAB"), min_size=1, max_size=4),
       st.text(st.sampled_from("abAB"), min_size=1, max_size=4))  # fmt: skip
def test_members_of_two_fields_never_have_one_name(one, other):
    assert (base_name(one) == base_name(other)) == (one == other)
    assert base_name(one) == base_name(one).lower()


def test_an_archive_is_what_numpy_reads_and_the_same_every_time():
    held = {"a b": np.arange(3), "file": np.zeros((0, 2)), "c": np.array(["x", "yz"])}
    data = archive(held)

    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        assert list(found) == list(held)
        assert all(difference(held[n], found[n]) is None for n in held)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert data == archive(held)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (0.0, -0.0), (True, 1), ([1], (1,)), ([1, 2], [1]), ({"a": 1}, {}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (None, False), ("a", b"a"),
        (np.zeros(2), np.zeros(2, np.float32)), (np.zeros((1, 2)), np.zeros((2, 1))),
        (np.zeros(1), -np.zeros(1)), ([{"a": [1.0]}], [{"a": [1]}]),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_quite_equal_is_different(one, other):
    assert difference(one, other) is not None
    assert difference(one, one) is difference(other, other) is None


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 10**10)), unique=True))
def test_keys_are_unique_and_sort_as_the_stream_goes(turns):
    digits = digits_of(max((epoch for epoch, _ in turns), default=0))
    keys = {
        baked_key("a/b-1", epoch, position, view, digits)
        for epoch, position in turns for view in (None, 0, 1)
    }  # fmt: skip
    assert len(keys) == 3 * len(turns)
    assert all(key.startswith("a/e") and key.endswith("-b-1") for key in keys)
    names = [shard_name(7, epoch, digits) for epoch, _ in sorted(turns)]
    assert names == sorted(names)


def test_the_field_of_records_is_always_a_new_one():
    assert record_field(["image"]) == "baked_record"
    names = ["baked_record", "baked_record_2"]
    assert record_field(names) == "baked_record_3"


SEEN = st.lists(
    st.dictionaries(
        st.sampled_from(["image", "x", "y"]),
        st.sampled_from(["png", "a.npy", "json:z"]),
    ),
    max_size=6,
)


@given(SEEN, st.integers(0, 6))
def test_what_was_seen_is_the_same_however_it_was_cut(rows, cut):
    def seen(part):
        found = Seen()
        for sources in part:
            found.add(sources, ["uint8 3"])
        return found

    whole, merged = seen(rows), seen(rows[:cut])
    line = seen(rows[cut:]).to_line()
    merged.merge(Seen.from_line(line))
    specs = parse_fields({"image": "png", "x?": "x"})
    assert merged.to_line() == whole.to_line()
    assert merged.fields(specs) == whole.fields(specs)
    assert parse_json(line["seen"].encode())["samples"] == len(rows[cut:])
    for name, sources in whole.fields(specs).items():
        bare = name.rstrip("?")
        missed = any(bare not in row for row in rows)
        assert name.endswith("?") == (missed or bare == "x")
        held = {row[bare] for row in rows if bare in row}
        assert set(sources.split(";")) == (held or {f"json:fields.{bare}"})
