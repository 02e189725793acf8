"""Laws of samples: each field from its member, annotations on their pixels."""

import io
import itertools
import json
import pickle

import numpy as np
import pytest
from PIL import Image, ImageOps
from sets import photo

from fiberaug.decode import sample
from fiberaug.decode.fields import parse_fields
from fiberaug.decode.options import DecodeOptions
from fiberaug.decode.sample import SampleDecoder
from fiberaug.errors import LimitExceeded, SampleBroken

WIDTH, HEIGHT = 12, 8
BOX = [2, 1, 7, 4]
POINTS = [[2.5, 1.5], [11.5, 7.5]]


def file(pixels, kind="PNG", orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, exif=exif)
    return buffer.getvalue()


IMAGE = file(photo(0, HEIGHT, WIDTH))


def decoded(members, fields, **options):
    members = {"png": IMAGE} | {
        name: data if isinstance(data, bytes) else json.dumps(data).encode()
        for name, data in members.items()
    }
    decoder = SampleDecoder(specs=parse_fields({"image": "png"} | fields), **options)
    return decoder(members).fields


def label(members, source="cls", **options):
    return decoded(members, {"label": source}, **options)["label"]


def broken(members, fields, words, **options):
    with pytest.raises(SampleBroken, match=words) as caught:
        decoded(members, fields, **options)
    assert caught.value.stage == "decode"


def test_every_kind_of_label():
    ids = {"ok": 0, "Riß": 1}

    assert label({"cls": b"3\n"}) == 3
    assert label({"cls": b"\xef\xbb\xbf3"}) == 3, "a byte order mark"
    assert label({"cls": b"0.25"}) == 0.25
    assert label({"cls": "Riß".encode()}, classes=ids) == 1
    assert label({"json": {"label": "ok"}}, "json:label", classes=ids) == 0
    assert label({"json": {"a": {"b": [0, 1]}}}, "json:a.b").tolist() == [0, 1]
    assert label({"index": b"12"}, "index") == 12
    buffer = io.BytesIO()
    np.save(buffer, np.array([1.5, 2]))
    assert label({"npy": buffer.getvalue()}, "npy").tolist() == [1.5, 2]
    broken({"cls": b"scratch"}, {"label": "cls"}, "'scratch' is no number", classes=ids)
    broken({"cls": b"\xff"}, {"label": "cls"}, "no UTF-8")


def test_a_name_is_the_same_whichever_way_its_accents_are_written():
    assert label({"cls": "e\u0301".encode()}, classes={"\u00e9": 2}) == 2


def test_a_field_comes_from_its_first_source_that_has_it():
    source = "cls;json:label;json:class"

    assert label({"cls": b"1", "json": {"label": 2, "class": 3}}, source) == 1
    assert label({"json": {"label": 2, "class": 3}}, source) == 2
    assert label({"json": {"class": 3}}, source) == 3


def test_a_missing_field_is_an_error_unless_it_may_miss():
    broken({"json": {}}, {"label": "cls;json:label"}, "<- cls;json:label is missing")
    broken({}, {"label": "cls"}, r"the sample has \['png'\]; write 'label\?'")
    found = decoded({}, {"label?": "cls", "bboxes?": "json:b", "mask?": "mask.png",
                         "keypoints?": "json:k", "bbox_labels?": "json:l",
                         "caption?": "txt", "depth?": "npy"})  # fmt: skip

    assert (found["label"], found["mask"], found["caption"], found["depth"]) == (
        None,
    ) * 4
    assert (found["bboxes"].shape, found["bboxes"].dtype) == ((0, 4), np.float32)
    assert (found["keypoints"].shape, found["keypoints"].dtype) == ((0, 2), np.float32)
    assert (found["bbox_labels"].shape, found["bbox_labels"].dtype) == ((0,), np.int64)


def test_a_sample_without_its_image_is_broken():
    decoder = SampleDecoder(specs=parse_fields({"image": "png;jpg"}))

    with pytest.raises(SampleBroken, match="'image' <- png;jpg is missing"):
        decoder({"gif": b""})


BOXES = {"bboxes?": "json:objects[].bbox", "bbox_labels?": "json:objects[].label"}


def objects(*items):
    return decoded({"json": {"objects": list(items)}}, BOXES, classes={"cat": 4})


def test_boxes_and_their_labels():
    found = objects({"bbox": [0, 1, 2, 3], "label": 7}, {"bbox": BOX, "label": "cat"})

    assert found["bboxes"].tolist() == [[0, 1, 2, 3], [2, 1, 7, 4]]
    assert found["bboxes"].dtype == np.float32, "of integers, too"
    assert found["bbox_labels"].tolist() == [7, 4]
    assert found["bbox_labels"].dtype == np.int64
    assert objects({"bbox": BOX, "label": 3.0})["bbox_labels"].tolist() == [3]


def test_a_negative_sample_has_no_boxes():
    for metadata in ({"objects": []}, {}, {"objects": None}):
        found = decoded({"json": metadata}, BOXES)
        assert found["bboxes"].shape == (0, 4)
        assert found["bbox_labels"].shape == (0,)
    broken({"json": {}}, {"bboxes": "json:objects[].bbox"}, "'bboxes'.* is missing")


def test_boxes_of_no_class_have_label_minus_one():
    """Where the first sample has no object, ``auto`` cannot know that none has one."""
    assert objects({"bbox": BOX}, {"bbox": BOX})["bbox_labels"].tolist() == [-1, -1]
    unlabelled = {"json": {"objects": [{"bbox": BOX}]}}
    broken(unlabelled, {k.strip("?"): v for k, v in BOXES.items()}, "'bbox_labels'")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"bbox": BOX, "label": 1}, {"bbox": BOX}], "1 of 2 items lack 'label'"),
        ([{"bbox": [1, 2, 3]}], r"\[N, 4\]"),
        ([{"bbox": BOX}, {"bbox": [1]}], r"\[N, 4\]"),
        ([{"bbox": ["a", 1, 2, 3]}], r"\[N, 4\]"),
        ([{"bbox": [None, 1, 2, 3]}], r"\[N, 4\]"),
        ([{"bbox": [1e39, 1, 2, 3]}], "finite"),
        ([{"bbox": None}], r"\[N, 4\]"),
        ([{"bbox": BOX, "label": "dog"}], "'dog' is no number"),
        ([{"bbox": BOX, "label": 0.5}], "class ids or names"),
        ([{"bbox": BOX, "label": [1]}], "class ids or names"),
        ([{"bbox": BOX, "label": None}], "label"),
    ],
    ids=list("abcdefghijk"),
)
def test_boxes_that_are_none_break_their_sample(items, words):
    broken({"json": {"objects": items}}, BOXES, words)


def test_as_many_labels_as_boxes():
    fields = {"bboxes": "json:b", "bbox_labels": "json:l"}

    assert decoded({"json": {"b": [BOX], "l": [1]}}, fields)[
        "bbox_labels"
    ].tolist() == [1]
    broken({"json": {"b": [BOX], "l": [1, 2]}}, fields, "1 bboxes, but 2 bbox_labels")


# ---- orientation

FIELDS = {
    "mask": "mask.png",
    "bboxes": "json:objects[].bbox",
    "keypoints": "json:keypoints",
}


def turned(orientation, metadata, mask=None, size=(WIDTH, HEIGHT), **fields):
    """Return the fields of a photo with a mask whose box is 9, and with that box."""
    width, height = size
    stored = np.zeros((height, width), np.uint8)
    stored[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 9
    mask = stored if mask is None else mask
    annotations = {"objects": [{"bbox": BOX}], "keypoints": POINTS[:1]}
    return decoded(
        {
            "png": file(np.repeat(stored[..., None], 3, 2), orientation=orientation),
            "json": annotations | metadata,
            "mask.png": file(mask),
        },
        FIELDS | fields,
    )


def box_of(pixels):
    rows, columns = np.nonzero(pixels == 9)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("said", ["size", "frame"])
def test_annotations_of_the_stored_frame_turn_with_the_pixels(orientation, said):
    metadata = {"frame": "stored"}
    if said == "size" and orientation >= 5:
        metadata = {"width": WIDTH, "height": HEIGHT}

    found = turned(orientation, metadata)

    assert found["bboxes"].tolist() == [box_of(found["image"][..., 0])]
    assert found["bboxes"].tolist() == [box_of(found["mask"])]
    (x, y) = found["keypoints"][0]  # in the corner pixel of the box, before turning
    assert found["mask"][int(y), int(x)] == 9
    corners = itertools.product(found["bboxes"][0][::2], found["bboxes"][0][1::2])
    assert min(abs(x - a) + abs(y - b) for a, b in corners) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_of_the_upright_frame_stay(orientation):
    """Labelling tools show photos upright."""
    upright = turned(orientation, {"frame": "stored"})["mask"]
    height, width = upright.shape
    for metadata in ({}, {"width": width, "height": height}, {"frame": "upright"}):
        if orientation < 5 and "width" in metadata:
            continue  # the same size either way
        found = turned(orientation, metadata, mask=upright)
        assert found["bboxes"].tolist() == [BOX]
        assert found["keypoints"].tolist() == POINTS[:1]
        assert np.array_equal(found["mask"], upright)


def test_a_stated_size_wins_over_the_stated_frame():
    stated = {"width": HEIGHT, "height": WIDTH, "frame": "stored"}

    assert turned(6, stated)["bboxes"].tolist() == [BOX]
    assert turned(6, {"width": 99, "height": 99})["bboxes"].tolist() == [BOX]


def test_a_square_photo_is_told_by_its_frame_alone():
    size = (HEIGHT, HEIGHT)
    square = {"width": HEIGHT, "height": HEIGHT}
    stored = turned(6, square | {"frame": "stored"}, size=size)
    upright = turned(6, square, size=size)

    assert stored["bboxes"].tolist() == [box_of(stored["image"][..., 0])]
    assert upright["bboxes"].tolist() == [BOX]
    assert box_of(upright["mask"]) == BOX


def test_a_mask_alone_turns_by_its_size_or_by_what_the_json_says():
    """Also where no field reads the JSON."""
    stored = np.zeros((HEIGHT, WIDTH), np.uint8)
    stored[1:4, 2:7] = 9
    for orientation, metadata, turns in (
        (6, {}, True), (3, {}, False), (3, {"frame": "stored"}, True),
    ):  # fmt: skip
        found = decoded(
            {
                "png": file(photo(0, HEIGHT, WIDTH), orientation=orientation),
                "json": metadata,
                "mask.png": file(stored),
            },
            {"mask": "mask.png"},
        )
        image = Image.fromarray(stored)
        image.getexif()[0x0112] = orientation if turns else 1
        assert np.array_equal(found["mask"], ImageOps.exif_transpose(image))


def test_a_mask_of_another_size_is_broken():
    small = np.zeros((3, 4), np.uint8)

    with pytest.raises(SampleBroken, match="mask is 4x3 px, the image 12x8"):
        turned(1, {}, mask=small)
    with pytest.raises(SampleBroken, match="mask is 4x3 px, the image 8x12"):
        turned(6, {}, mask=small)


# ---- members of other kinds


def test_other_fields_come_from_the_closed_table():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(3))
    found = decoded(
        {"npz": buffer.getvalue(), "json": [1], "xyz": b"\x00\xff", "left.png": IMAGE,
         "txt": "e\u0301".encode(), "x.json": {"a": [{"b": 1}, {"b": 2}]}},
        {"flow": "npz", "meta": "json", "raw": "xyz", "left": "left.png",
         "caption": "txt", "bs": "x.json:a[].b"},
    )  # fmt: skip

    assert found["flow"]["a"].tolist() == [0, 1, 2]
    assert found["meta"] == [1]
    assert found["raw"] == b"\x00\xff"
    assert np.array_equal(found["left"], found["image"])
    assert found["caption"] == "\u00e9"
    assert found["bs"] == [1, 2]


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize(
    "extension", ["pyd", "pkl", "pickle", "pth", "pt", "npy", "npz"]
)
def test_a_pickle_is_never_executed(tmp_path, extension):
    marker = tmp_path / "executed"
    payload = pickle.dumps(Bomb(marker))
    if extension in {"npy", "npz"}:
        buffer = io.BytesIO()
        save = np.save if extension == "npy" else np.savez
        save(buffer, np.array([Bomb(marker)]), allow_pickle=True)
        broken({extension: buffer.getvalue()}, {"x": extension}, "array")
        broken({extension: payload}, {"x": extension}, "array")
    else:
        assert decoded({extension: payload}, {"x": extension})["x"] == payload

    assert not marker.exists()
    pickle.loads(payload).close()
    assert marker.exists(), "the payload was a real one"


def test_the_users_own_decoders_come_first():
    own = {
        "png": lambda data: np.full((2, 3, 3), len(data), np.uint8),
        "xyz": bytes.hex,
    }

    found = decoded({"png": b"1234", "xyz": b"\x01"}, {"raw": "xyz"}, decoders=own)

    assert found["image"].tolist() == [[[4] * 3] * 3] * 2
    assert found["raw"] == "01"
    broken({}, {}, r"\[H, W, C\], got list", decoders={"png": list})
    broken({}, {}, r"\[H, W, C\], got ndarray \(2,\)",
           decoders={"png": lambda _: np.zeros(2)})  # fmt: skip


def test_limits_hold_for_every_image_of_the_sample():
    options = DecodeOptions(max_pixels=WIDTH * HEIGHT)
    large = file(np.zeros((HEIGHT + 1, WIDTH), np.uint8))

    decoded({"left.png": IMAGE}, {"left": "left.png"}, options=options)
    for fields in ({"left": "left.png"}, {"mask": "left.png"}):
        with pytest.raises(LimitExceeded, match="12x9"):
            decoded({"left.png": large}, fields, options=options)


def test_an_image_in_any_field_is_decoded_with_the_options():
    found = decoded({"left.png": IMAGE}, {"left": "left.png"},
                    options=DecodeOptions(color="gray"))  # fmt: skip

    assert found["left"].shape == found["image"].shape == (HEIGHT, WIDTH, 1)


@pytest.mark.parametrize(
    "error", [MemoryError("none left"), RecursionError("deep")], ids=["a", "b"]
)
def test_a_decoder_of_the_table_that_fails_breaks_one_sample(error, monkeypatch):
    def fails(_):
        raise error

    monkeypatch.setitem(sample._DECODERS, "npy", fails)
    monkeypatch.setattr(sample, "parse_json", fails)
    words = f".npy cannot be decoded: {type(error).__name__}: {error}"

    broken({"npy": b""}, {"depth": "npy"}, words)
    broken({"json": {}}, {"label": "json:a"}, words.replace("npy", "json"))
