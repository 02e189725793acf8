"""Laws of members: what can be stored comes back, and what cannot is refused."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sets import photo

from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.errors import SampleBroken, StoreError, UsageError
from fiberaug.jobs.encoding import encode_image, image_member, recode
from fiberaug.jobs.members import encode_sample

PIXELS = photo(3)
LIMITS = ImageLimits()
IDS = {"cat": 4, "dog": 7}


def members(**sample):
    return encode_sample(sample, IDS.__getitem__)


def metadata(**sample):
    return json.loads(members(**sample)["json"])


def saved(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("encoding", "close"), [("png", 0), ("jpeg", 9), ("webp", 9)])
@pytest.mark.parametrize("shape", ["color", "gray"])
def test_pixels_come_back_from_every_encoding(encoding, close, shape):
    pixels = PIXELS if shape == "color" else PIXELS[..., 0]

    found, header = decode_image(encode_image(pixels, encoding), limits=LIMITS)

    assert header.format == encoding
    expected = pixels if shape == "color" else np.repeat(pixels[..., None], 3, 2)
    assert np.abs(found.astype(int) - expected).mean() <= close


def test_less_quality_is_fewer_bytes():
    sizes = [len(encode_image(PIXELS, "jpeg", quality=q)) for q in (20, 60, 95)]

    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32),
     np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8),
     np.zeros((4, 4, 1), np.uint8)],
    ids=list("abcde"),
)  # fmt: skip
def test_pixels_that_are_no_image_are_refused(pixels):
    with pytest.raises(UsageError, match="uint8"):
        encode_image(pixels, "png")


def test_an_encoding_or_a_size_that_the_format_lacks_is_refused():
    with pytest.raises(UsageError, match="encoding"):
        encode_image(PIXELS, "gif")
    with pytest.raises(UsageError, match="webp"):
        encode_image(np.zeros((1, 16_390), np.uint8), "webp")


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"),
     ("TIFF", "tif"), ("PPM", "ppm")],
)  # fmt: skip
def test_an_image_is_kept_byte_for_byte_under_the_name_of_its_format(kind, extension):
    data = saved(kind)

    assert recode(data) == (extension, data)
    assert image_member(data)[0] == extension
    assert members(image=data) == {extension: data}
    assert recode(data, resize=40) == (extension, data), "it is not larger"


def test_an_image_is_encoded_again_only_where_it_must_be():
    jpeg = saved("JPEG")

    assert recode(jpeg, encoding="jpeg", quality=10) == ("jpg", jpeg)
    assert recode(jpeg, encoding="png")[0] == "png"
    assert recode(saved("GIF"), resize=8)[0] == "png"
    assert recode(jpeg, resize=8)[0] == "jpg"
    with pytest.raises(SampleBroken):
        recode(b"no image")


def test_an_image_is_bytes_or_a_path_or_pixels(tmp_path):
    data = saved("JPEG")
    (tmp_path / "a.jpg").write_bytes(data)

    for image in (data, bytearray(data), tmp_path / "a.jpg", str(tmp_path / "a.jpg")):
        assert members(image=image) == {"jpg": data}
    for image in (PIXELS, Image.fromarray(PIXELS), torch.from_numpy(PIXELS)):
        assert members(image=image) == {"png": encode_image(PIXELS, "png")}
    with pytest.raises(StoreError, match=r"gone\.jpg"):
        members(image=tmp_path / "gone.jpg")
    with pytest.raises(SampleBroken):
        members(image=b"no image")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (3, "3"),
        (2**60 + 1, str(2**60 + 1)),
        (np.int64(3), "3"),
        (np.array(3), "3"),
        (torch.tensor(3), "3"),
        (True, "1"),
        (3.0, "3.0"),
        (np.float32(3), "3.0"),
        (torch.tensor(0.5), "0.5"),
        ("dog", "7"),
    ],
    ids=list("abcdefghij"),
)
def test_a_label_keeps_its_kind(label, text):
    assert members(label=label) == {"cls": text.encode()}


@pytest.mark.parametrize(
    "vector",
    [[0, 1, 0], (0, 1, 0), np.array([0, 1, 0]), torch.tensor([0, 1, 0])],
    ids=list("abcd"),
)
def test_a_vector_stands_in_the_json(vector):
    assert metadata(label=vector) == {"label": [0, 1, 0]}
    assert metadata(label=vector, json={"a": 1}) == {"label": [0, 1, 0], "a": 1}
    assert metadata(json={"a": 1}, label=vector) == {"label": [0, 1, 0], "a": 1}


@pytest.mark.parametrize(
    "label",
    [
        float("nan"),
        float("inf"),
        {},
        b"3",
        object(),
        [float("nan")],
        ["a"],
        [[1]],
        [{}],
    ],
    ids=list("abcdefghi"),
)
def test_what_is_no_label_is_refused(label):
    with pytest.raises(UsageError, match="label"):
        members(label=label)


@pytest.mark.parametrize(
    ("most", "kind"), [(1, np.uint8), (255, np.uint8), (256, np.int32)]
)
def test_a_mask_comes_back(most, kind):
    mask = np.zeros((4, 5), np.int64)
    mask[1, 2] = most
    for value in (mask, torch.from_numpy(mask), mask.astype(np.uint16)):
        found = decode_mask(members(mask=value)["mask.png"], limits=LIMITS)
        assert np.array_equal(found, mask)
        assert found.dtype == kind
    truth = decode_mask(members(mask=mask > 0)["mask.png"], limits=LIMITS)
    assert np.array_equal(truth, mask > 0)


def test_a_mask_may_be_a_file():
    data = encode_image(PIXELS[..., 0], "png")

    assert members(mask=data) == members(mask=bytearray(data)) == {"mask.png": data}


@pytest.mark.parametrize(
    "mask",
    [np.zeros((2, 2, 3), int), np.zeros((2, 2)), np.full((2, 2), -1),
     np.zeros((0, 2), int), np.full((2, 2), 65_536)],
    ids=list("abcde"),
)  # fmt: skip
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(UsageError, match="mask"):
        members(mask=mask)


def test_boxes_and_points_stand_in_the_json():
    boxes = [[1, 2, 3, 4], [0.5, 1, 2, 3]]

    assert metadata(bboxes=np.array(boxes), bbox_labels=np.array([3, 0])) == {
        "objects": [{"bbox": boxes[0], "label": 3}, {"bbox": boxes[1], "label": 0}]
    }
    assert metadata(bboxes=boxes[:1], bbox_labels=["dog"])["objects"][0]["label"] == 7
    assert metadata(bboxes=boxes[:1], bbox_labels=[2.0])["objects"][0]["label"] == 2
    assert metadata(bboxes=boxes[:1]) == {"objects": [{"bbox": [1, 2, 3, 4]}]}
    assert metadata(keypoints=[[1, 2]]) == {"keypoints": [[1, 2]]}


@pytest.mark.parametrize("none", [[], np.zeros((0, 4)), ()], ids=list("abc"))
def test_a_negative_sample_says_that_it_has_no_boxes(none):
    assert metadata(bboxes=none, bbox_labels=[]) == {"objects": []}
    assert metadata(bboxes=none, bbox_labels=None) == {"objects": []}


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"bboxes": [[1, 2, 3]]}, r"\[N, 4\]"),
        ({"bboxes": [1, 2, 3, 4]}, r"\[N, 4\]"),
        ({"bboxes": [["a"] * 4]}, r"\[N, 4\]"),
        ({"bboxes": [[1, 2, 3, float("inf")]]}, "finite"),
        ({"bboxes": [[1, 2, 3, 4]], "bbox_labels": [1, 2]}, "1 bboxes, but 2"),
        ({"bboxes": [[1, 2, 3, 4]], "bbox_labels": [0.5]}, "ids or names"),
        ({"bboxes": [[1, 2, 3, 4]], "bbox_labels": [None]}, "ids or names"),
        ({"bbox_labels": [1]}, "1 bbox_labels, but no bboxes"),
        # COCO writes x, y and visibility: two columns of three would be nonsense
        ({"keypoints": [[1, 2, 1], [3, 4, 1]]}, r"\[N, 2\]"),
        ({"json": [1]}, "mapping"),
        ({"json": {"a": float("nan")}}, "JSON cannot hold"),
        ({"json": {"a": {1}}}, "JSON cannot hold"),
        ({"x": object()}, "'x' is a object"),
        ({"x": np.array([{}])}, "'x' is a ndarray"),
        ({"jpg": b"a", "image": saved("JPEG")}, r"two fields.*\.jpg"),
        ({"JPG": b"a", "jpg": b"b"}, r"two fields.*\.jpg"),
        ({"__key__": "a"}, "nothing to store"),
        ({"label": None}, "nothing to store"),
    ],
    ids=list("abcdefghijklmnopqr"),
)
def test_what_cannot_be_stored_is_refused(sample, words):
    with pytest.raises(UsageError, match=words):
        members(**sample)


def test_fields_of_other_names_are_stored_by_what_they_are():
    array = np.arange(3)
    found = members(
        caption="Töne", depth=array, score=0.5, name="x", tags=["a"], note=np.int64(3),
        raw=b"\0", jpg=PIXELS,
        **{"left.png": PIXELS, "x.npy": array, "y.json": {"b": 1}},
    )  # fmt: skip

    assert set(found) == {"txt", "depth.npy", "score.txt", "name.txt", "tags.json",
                          "note.txt", "raw", "jpg", "left.png", "x.npy",
                          "y.json"}  # fmt: skip
    assert found["txt"] == "Töne".encode()
    assert found["score.txt"] == b"0.5"
    assert found["note.txt"] == b"3"
    assert found["tags.json"] == b'["a"]'
    assert np.array_equal(np.load(io.BytesIO(found["depth.npy"])), array)
    assert decode_image(found["jpg"], limits=LIMITS)[1].format == "jpeg"


def test_members_of_another_shard_are_kept_byte_for_byte():
    """A sample as plain webdataset reads it."""
    raw = {"jpg": b"\xff\xd8", "cls": b"3\n", "json": b'{ "a": NaN }', "txt": b"\xff"}

    assert members(__key__="k", __url__="u", **raw) == raw
    assert members(json={}) == {"json": b"{}"}
    assert metadata(json=b'{"a": 1}', bboxes=[]) == {"a": 1, "objects": []}
    assert metadata(json='{"a": 1}') == {"a": 1}
